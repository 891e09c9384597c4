package api_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// fill writes until the store has room for nothing new, and gives what to delete. Every half MiB is waited for:
// etcd's size is that of its last commit to the disk, of which there are ten a second.
func (h *house) fill() (prefix string) {
	h.t.Helper()
	prefix = "/mw/fill/"
	for n := 0; ; {
		before, err := h.store.Look(h.t.Context())
		require.NoError(h.t, err)
		if h.store.Room() != nil {
			return prefix
		}
		for range 32 {
			n++
			tx := h.store.Tx()
			tx.Put(fmt.Sprint(prefix, n), make([]byte, 16<<10))
			_, err := tx.Commit(h.t.Context())
			require.NoError(h.t, err, "etcd refuses before the store says that it is short")
		}
		h.looks(func(now store.Space) bool { return now.InUse >= before.InUse+256<<10 })
	}
}

// looks waits until etcd's size is as wanted.
func (h *house) looks(holds func(store.Space) bool) {
	h.t.Helper()
	require.Eventually(h.t, func() bool {
		now, err := h.store.Look(h.t.Context())
		return err == nil && holds(now)
	}, patience, poll)
}

// One user's key does not fill the store with what stays there for good. What was refused is not counted; other users, and
// what he asks for otherwise, are not held up; and what he has is answered as before.
func TestAttack_OneKeyFillsTheStoreForGood(t *testing.T) {
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits.Lasting = 4 << 10 })
	vault := func(who, k string) answer { return s.as(who, "POST", "/v1/vault/accounts", `{"name":"more"}`, key(k)) }
	for range 8 {
		s.as("operator", "POST", "/v1/vault/accounts", `{"name":""}`).fails(400, 1100)
	}
	first := vault("operator", "lasting-0")
	is[api.VaultAccount](first, 201)
	for n := 1; n < 4; n++ {
		is[api.VaultAccount](vault("operator", fmt.Sprint("lasting-", n)), 201)
	}
	full := vault("operator", "lasting-4")
	require.Contains(t, full.fails(429, 1604), "operator added 4096 bytes")
	require.NotEmpty(t, full.header.Get("Retry-After"))
	s.as("operator", "POST", "/v1/policies", `{"name":"p","rules":[{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"approvers"}]}`).fails(429, 1604)
	require.Equal(t, first.body, vault("operator", "lasting-0").body)
	is[api.VaultAccount](vault("admin", "lasting-5"), 201)
	is[api.PolicyList](s.as("operator", "GET", "/v1/policies", ""), 200)
}

// While the store is near its quota what would add to it is turned away with
// nothing stored, and its key not burnt; what was begun goes on, what stops things
// is done, replays and reads are answered; and once there is room again, all is.
func TestAFullStoreTakesWhatStopsThings(t *testing.T) {
	const quota = 32 << 20
	h := houseWith(t, options{period: poll, inProcess: true, quota: quota})
	s := h.serve()
	vault, _ := s.vault("treasury")
	token := s.deployed(vault, nil)
	mint := "/v1/tokens/" + token + "/mint"
	body := fmt.Sprintf(`{"amount":"1","recipient":%s}`, toAddress(somebody))
	goesOn, stops, withdrawn := s.asked(mint, body, "goes-on"), s.asked(mint, body, "stops"), s.asked(mint, body, "withdrawn")
	leaver := is[api.User](s.as("admin", "POST", "/v1/users", `{"name":"leaver","role":"operator"}`), 201).ID
	operations := s.count("/v1/token-operations")

	filler := h.fill()
	for name, write := range map[string]func() answer{
		"mint":  func() answer { return s.as("operator", "POST", mint, body, key("new")) },
		"vault": func() answer { return s.as("operator", "POST", "/v1/vault/accounts", `{"name":"more"}`, key("vault")) },
		"grant": func() answer {
			return s.as("operator", "POST", "/v1/tokens/"+token+"/roles/grant", fmt.Sprintf(`{"role":"MINTER","subject":%s}`, toAddress(somebody)), key("grant"))
		},
	} {
		a := write()
		require.Contains(t, a.fails(429, 1604), "nothing was stored", name)
		require.Equal(t, "30", a.header.Get("Retry-After"), name)
	}
	require.EqualValues(t, 3, s.turnedAway("store"))
	require.Equal(t, operations, s.count("/v1/token-operations"))
	require.Equal(t, 1, s.count("/v1/vault/accounts"))

	require.Equal(t, "true", s.as("operator", "POST", mint, body, key("stops")).header.Get("Idempotency-Replayed"))
	require.Equal(t, api.OperationStatusREJECTED, is[api.Operation](s.as("approver-1", "POST", "/v1/token-operations/"+stops+"/reject", s.decision("approver-1", policy.Reject, stops)), 200).Status)
	require.Equal(t, api.OperationStatusCANCELLED, is[api.Operation](s.as("operator", "POST", "/v1/token-operations/"+withdrawn+"/cancel", "{}"), 200).Status)
	s.asked("/v1/tokens/"+token+"/pause", "{}", "pause")
	is[api.User](s.as("admin", "PATCH", "/v1/users/"+leaver, `{"status":"SUSPENDED"}`), 200)
	s.approved(goesOn)

	_, err := h.etcd.Root().Delete(context.Background(), filler, clientv3.WithPrefix())
	require.NoError(t, err)
	h.etcd.Compact()
	require.NoError(t, h.etcd.Defragment())
	h.looks(func(store.Space) bool { return h.store.Room() == nil })
	a := s.as("operator", "POST", mint, body, key("new"))
	require.Equal(t, 202, a.status, "%s", a.body)
	require.Empty(t, a.header.Get("Idempotency-Replayed"), "what was turned away did not burn its key")
}
