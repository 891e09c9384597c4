package api_test

import (
	"context"
	"encoding/base64"
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

	// A key that takes another's place stays beside it for good, too.
	newest := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", fmt.Sprintf(`{"userId":%q}`, s.users["viewer"])), 201).ID
	rotate := func() answer {
		return s.as("admin", "POST", "/v1/credentials/rotate", fmt.Sprintf(`{"credentialId":%q}`, newest))
	}
	for range 2 {
		newest = is[api.CredentialCreated](rotate(), 201).ID
	}
	require.Contains(t, rotate().fails(429, 1604), "admin added 4096 bytes")
}

// What lets things end, or stops them, a store near its quota takes from one user up to a bound: each answer is kept for
// its key, and whoever says again and again what was said already, or suspends and lets go, would have it refuse everybody
// the next freeze.
func TestAttack_OneKeyFillsWhatIsLeftOfTheStore(t *testing.T) {
	h := houseWith(t, options{period: poll, inProcess: true, quota: 32 << 20})
	const most = 6
	s := h.serve(func(d *api.Deps) { d.Limits.Lasting = most * 16 << 10 })
	// refused is what the one write too many is told, and the answer to the first.
	refused := func(t *testing.T, write func(n int) answer) (first answer, message string) {
		first = write(0)
		for n, a := 1, first; ; n++ {
			require.LessOrEqual(t, n, most, "%d %s", a.status, a.body)
			if a = write(n); a.status >= 300 {
				require.NotEmpty(t, a.header.Get("Retry-After"))
				return first, a.fails(429, 1604)
			}
		}
	}
	vault, _ := s.vault("treasury")
	op := s.asked("/v1/tokens/"+s.deployed(vault, nil)+"/mint", fmt.Sprintf(`{"amount":"1","recipient":%s}`, toAddress(somebody)), "mint")
	rejection := s.decision("approver-1", policy.Reject, op)
	charter := s.nextCharter(func(c *policy.Charter) {
		for i := range 6 {
			c.Persons = append(c.Persons, policy.Person{Name: fmt.Sprint("person-", i), Keys: []policy.PublicKey{signer(t, policy.MLDSA65).Public()}, Users: []string{store.NewID("user_")}})
		}
	})
	signature := s.signedBy(policy.DocCharter, charter, "custodian-1")
	proposed := func(who string) func(n int) answer {
		return func(n int) answer {
			return s.as(who, "PUT", "/v1/charter", fmt.Sprintf(`{"document":%q}`, base64.StdEncoding.EncodeToString(charter)), key(fmt.Sprint(who, n)))
		}
	}
	_, message := refused(t, proposed("custodian-3"))
	require.Contains(t, message, "charters", "what is large is bounded before that")
	h.fill()
	suspended := map[bool]string{true: `{"status":"SUSPENDED"}`, false: `{"status":"ACTIVE"}`}
	for name, write := range map[string]func(n int) answer{
		"a decision": func(n int) answer {
			return s.as("approver-1", "POST", "/v1/token-operations/"+op+"/reject", rejection, key(fmt.Sprint(n)))
		},
		"a signature": func(n int) answer {
			return s.as("custodian-1", "POST", "/v1/charter/sign", signature, key(fmt.Sprint(n)))
		},
		"a charter": proposed("custodian-2"),
		"a retirement": func(n int) answer {
			return s.as("operator", "DELETE", "/v1/policies/"+s.policyID, "", key(fmt.Sprint(n)))
		},
		"a user": func(n int) answer {
			return s.as("admin", "PATCH", "/v1/users/"+s.users["viewer"], suspended[n%2 == 0], key(fmt.Sprint(n)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			first, message := refused(t, write)
			require.Contains(t, message, "near its quota")
			again := write(0)
			require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
			require.Equal(t, first.body, again.body)
		})
	}
	is[api.User](s.as("root", "PATCH", "/v1/users/"+s.users["approver-3"], `{"status":"SUSPENDED"}`), 200)
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
