package api_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func TestIdempotency(t *testing.T) {
	s := newHouse(t).serve()
	vault, _ := s.vault("treasury")
	body := s.tokenBody(vault, nil)
	token := s.token(vault)
	deploy := "/v1/tokens/" + token + "/deploy"

	t.Run("missing where it is required", func(t *testing.T) {
		s := s.in(t)
		require.Contains(t, s.as("operator", "POST", deploy, "{}").fails(400, 1101), "Idempotency-Key")
		require.Zero(t, is[api.OperationList](s.as("viewer", "GET", "/v1/token-operations", ""), 200).Pagination.Total)
	})
	t.Run("malformed", func(t *testing.T) {
		s := s.in(t)
		for _, k := range []string{"", "with space", "tab\t", "ü"} {
			s.as("operator", "POST", "/v1/tokens", body, key(k)).fails(400, 1100)
		}
		s.as("operator", "POST", "/v1/tokens", body, key(strings.Repeat("k", 256))).fails(400, 1110)
		s.as("operator", "POST", "/v1/tokens", body, header("Idempotency-Key", "a", "b")).fails(400, 1100)
	})
	t.Run("replayed byte for byte", func(t *testing.T) {
		s := s.in(t)
		first := s.as("operator", "POST", "/v1/tokens", body, key("one"))
		is[api.Token](first, 201)
		require.Empty(t, first.header.Get("Idempotency-Replayed"))
		before := s.count("/v1/tokens")
		spaced := strings.ReplaceAll(body, `,"`, ` , "`) // the same value, other bytes
		again := s.as("operator", "POST", "/v1/tokens", spaced, key("one"))
		require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
		require.Equal(t, first.status, again.status)
		require.Equal(t, first.body, again.body)
		require.Equal(t, before, s.count("/v1/tokens"))
	})
	t.Run("in the body", func(t *testing.T) {
		s := s.in(t)
		inBody := strings.Replace(body, "{", `{"idempotencyKey":"two",`, 1)
		first := s.as("operator", "POST", "/v1/tokens", inBody)
		is[api.Token](first, 201)
		// The field is no part of the body that is compared.
		require.Equal(t, first.body, s.as("operator", "POST", "/v1/tokens", body, key("two")).body)
		require.Equal(t, first.body, s.as("operator", "POST", "/v1/tokens", inBody, key("two")).body)
		require.Contains(t, s.as("operator", "POST", "/v1/tokens", inBody, key("three")).fails(400, 1100), "agree")
	})
	t.Run("another body", func(t *testing.T) {
		s := s.in(t)
		is[api.Token](s.as("operator", "POST", "/v1/tokens", body, key("four")), 201)
		s.as("operator", "POST", "/v1/tokens", s.tokenBody(vault, map[string]any{"name": "Other"}), key("four")).fails(422, 1601)
	})
	t.Run("another path is another key", func(t *testing.T) {
		s := s.in(t)
		is[api.VaultAccount](s.as("operator", "POST", "/v1/vault/accounts", `{"name":"a"}`, key("one")), 201)
	})
	t.Run("16 at once", func(t *testing.T) {
		s := s.in(t)
		before := s.count("/v1/tokens")
		answers := make([]answer, 16)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() { answers[i] = s.as("operator", "POST", "/v1/tokens", body, key("five")) })
		}
		wg.Wait()
		made := 0
		for _, a := range answers {
			if a.status == 409 {
				a.fails(409, 1602)
				require.NotEmpty(t, a.header.Get("Retry-After"))
				continue
			}
			is[api.Token](a, 201)
			if a.header.Get("Idempotency-Replayed") == "" {
				made++
			}
		}
		require.Equal(t, 1, made)
		require.Equal(t, before+1, s.count("/v1/tokens"))
	})
	t.Run("16 at once on two appliances", func(t *testing.T) {
		s := s.in(t)
		other := s.serve()
		before := s.count("/v1/tokens")
		answers := make([]answer, 16)
		var wg sync.WaitGroup
		for i := range answers {
			one := s
			if i%2 == 0 {
				one = other
			}
			wg.Go(func() { answers[i] = one.as("operator", "POST", "/v1/tokens", body, key("six")) })
		}
		wg.Wait()
		bodies := map[string]bool{}
		for _, a := range answers {
			if a.status != 409 {
				is[api.Token](a, 201)
				bodies[string(a.body)] = true
			}
		}
		require.Len(t, bodies, 1)
		require.Equal(t, before+1, s.count("/v1/tokens"))
	})
	t.Run("a wallet", func(t *testing.T) {
		s := s.in(t)
		path := "/v1/vault/accounts/" + vault + "/wallets"
		first := s.as("operator", "POST", path, `{"network":"`+network+`"}`, key("seven"))
		w := is[api.Wallet](first, 201)
		require.Equal(t, first.body, s.as("operator", "POST", path, `{"network":"`+network+`"}`, key("seven")).body)
		is[api.Wallet](s.as("viewer", "GET", "/v1/wallets/"+w.ID, ""), 200)
	})
	t.Run("an API key's secret is not kept", func(t *testing.T) {
		s := s.in(t)
		ask := `{"userId":"` + s.users["viewer"] + `"}`
		first := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", ask, key("eight")), 201)
		again := s.as("admin", "POST", "/v1/credentials", ask, key("eight"))
		require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
		second := is[api.CredentialCreated](again, 201)
		require.Equal(t, first.ID, second.ID)
		require.NotNil(t, first.Key)
		require.Nil(t, second.Key)
	})
}

// TestAWithdrawalOfBefore: the ledger holds a withdrawal before its key holds the answer. Whoever comes again after what
// was between is told what he did; who comes with another key finds the operation over.
func TestAWithdrawalOfBefore(t *testing.T) {
	s := newHouse(t).serve()
	vault, _ := s.vault("treasury")
	withdraw := func(s *server, operation, reason, k string) answer {
		return s.as("operator", "POST", "/v1/token-operations/"+operation+"/cancel", `{"reason":"`+reason+`"}`, key(k))
	}
	submit := func(s *server) string {
		return is[api.DeployAccepted](s.as("operator", "POST", "/v1/tokens/"+s.token(vault)+"/deploy", "{}", key("deploy")), 202).OperationID
	}
	over := func(s *server, operation string) {
		require.Eventually(s.t, func() bool {
			return is[api.Operation](s.as("viewer", "GET", "/v1/token-operations/"+operation, ""), 200).Status == api.OperationStatusCANCELLED
		}, patience, poll)
	}

	t.Run("recorded, and not answered", func(t *testing.T) {
		s := s.in(t)
		op := submit(s)
		s.room.set(func() { s.room.cutOff = true })
		withdraw(s, op, "wrong name", "one").fails(503, 1605)
		s.room.set(func() { s.room.cutOff = false })
		over(s, op)
		withdraw(s, op, "wrong name", "another").fails(409, 1715)
		withdraw(s, op, "wrong amount", "one").fails(422, 1601)
		first := withdraw(s, op, "wrong name", "one")
		require.Equal(t, "withdrawn by operator: wrong name", *is[api.Operation](first, 200).FailureReason)
		require.Empty(t, first.header.Get("Idempotency-Replayed"))
		again := withdraw(s, op, "wrong name", "one")
		require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
		require.Equal(t, first.body, again.body)
	})
	t.Run("somebody else came first", func(t *testing.T) {
		s := s.in(t)
		op := submit(s)
		s.room.set(func() { s.room.refuses = seal.ErrUnreachable })
		withdraw(s, op, "wrong name", "two").fails(503, 1605)
		s.room.set(func() { s.room.refuses = nil })
		is[api.Operation](withdraw(s, op, "not needed", "three"), 200)
		withdraw(s, op, "wrong name", "two").fails(409, 1715)
	})
	t.Run("refused, so that the key is free", func(t *testing.T) {
		s := s.in(t)
		op := submit(s)
		s.room.set(func() { s.room.refuses = seal.Errorf(seal.KindInvalid, "no such reason") })
		withdraw(s, op, "wrong name", "four").fails(400, 1100)
		s.room.set(func() { s.room.refuses = nil })
		is[api.Operation](withdraw(s, op, "wrong amount", "four"), 200)
	})
}

// TestARetirementThatIsProposedAlready: who asks for what was proposed before has his answer kept, too, whatever becomes of it.
func TestARetirementThatIsProposedAlready(t *testing.T) {
	s := newHouse(t).serve()
	path := "/v1/policies/" + s.policyID
	retire := func(who string) answer { return s.as(who, "DELETE", path, "", key(who)) }
	proposed := is[api.Policy](retire("custodian-1"), 202)
	first := retire("custodian-2")
	require.Equal(t, proposed.DocumentDigest, is[api.Policy](first, 202).DocumentDigest)
	is[api.Policy](s.as("custodian-1", "POST", path+"/sign", s.signedBy(policy.DocPolicy, proposed.Document, "custodian-1")), 200)
	again := retire("custodian-2")
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	require.Equal(t, first.body, again.body)
}

func (s *server) count(path string) int {
	s.t.Helper()
	return is[struct {
		Data       []any          `json:"data"`
		Pagination api.Pagination `json:"pagination"`
	}](s.as("viewer", "GET", path+"?limit=1", ""), 200).Pagination.Total
}

// waits is a seal whose Status waits until it is let go, so that a request can
// be held in the middle.
type waits struct {
	*room
	arrived, leave chan struct{}
}

func (w *waits) Status(ctx context.Context) (*seal.Status, error) {
	w.arrived <- struct{}{}
	<-w.leave
	return w.room.Status(ctx)
}

func TestKeyInProgress(t *testing.T) {
	h := newHouse(t)
	gate := &waits{room: h.room, arrived: make(chan struct{}, 2), leave: make(chan struct{})}
	s := h.serve(func(d *api.Deps) { d.Seal = gate })
	first := make(chan answer, 1)
	go func() { first <- s.as("operator", "POST", "/v1/vault/accounts", `{"name":"a"}`, key("k")) }()
	soon(t, gate.arrived, "the first request does not come to the seal")
	a := s.as("operator", "POST", "/v1/vault/accounts", `{"name":"a"}`, key("k"))
	a.fails(409, 1602)
	require.Equal(t, "1", a.header.Get("Retry-After"))
	close(gate.leave)
	is[api.VaultAccount](soon(t, first, "the first request is not answered"), 201)
	replayed := s.as("operator", "POST", "/v1/vault/accounts", `{"name":"a"}`, key("k"))
	require.Equal(t, "true", replayed.header.Get("Idempotency-Replayed"))
	require.Equal(t, 1, s.count("/v1/vault/accounts"))
}

// TestSealStates: every write but unsealing is refused while the seal is sealed,
// every read is answered.
func TestSealStates(t *testing.T) {
	s := newHouse(t).serve()
	vault, _ := s.vault("treasury")
	token := s.token(vault)
	s.userWith("compliance-1", "compliance_officer")
	// All at once: each waits for a seal that is away, as long as one of them would.
	writes := func() []answer {
		calls := slices.DeleteFunc(s.calls(), func(c call) bool {
			return !c.writes() || c.op.OperationID == "unsealSeal" // the one write that a sealed appliance takes
		})
		out := make([]answer, len(calls))
		var asked sync.WaitGroup
		for i, c := range calls {
			asked.Go(func() { out[i] = s.send(c) })
		}
		asked.Wait()
		return out
	}
	s.room.set(func() { s.room.sealed = true })
	for _, a := range writes() {
		require.Contains(t, a.fails(503, 1603), "custodians")
	}
	st := is[api.Seal](s.as("viewer", "GET", "/v1/seal", ""), 200)
	require.True(t, st.Sealed)
	require.True(t, st.Reachable)
	is[api.TokenDetail](s.as("viewer", "GET", "/v1/tokens/"+token, ""), 200)
	is[api.LedgerPage](s.as("viewer", "GET", "/v1/ledger", ""), 200)

	for kind, code := range map[error]int{
		seal.ErrUnreachable:                            1605,
		seal.Errorf(seal.KindHSM, "gone"):              1605,
		seal.Errorf(seal.KindStore, "no quorum"):       1606,
		fmt.Errorf("dialing: %w", seal.ErrUnreachable): 1605,
	} {
		s.room.set(func() { s.room.sealed, s.room.refusal = false, kind })
		for _, a := range writes() {
			a.fails(503, code)
			require.NotEmpty(t, a.header.Get("Retry-After"))
		}
		require.False(t, is[api.Seal](s.as("viewer", "GET", "/v1/seal", ""), 200).Reachable)
	}
	s.room.set(func() { s.room.refusal = nil })
	require.Equal(t, 1, s.count("/v1/tokens"))
}

// TestStoreDown: without etcd everything that needs it is 1606, and the process
// goes on when it is back.
func TestStoreDown(t *testing.T) {
	h := houseWith(t, options{period: poll, storeTimeout: 5 * time.Second})
	s := h.serve()
	vault, _ := s.vault("treasury")
	h.etcd.Close()
	a := s.as("operator", "POST", "/v1/vault/accounts", `{"name":"a"}`, key("k"))
	a.fails(503, 1606)
	require.NotEmpty(t, a.header.Get("Retry-After"))
	s.as("viewer", "GET", "/v1/vault/accounts/"+vault, "").fails(503, 1606)
	h.etcd.Restart()
	require.Eventually(t, func() bool {
		return s.as("operator", "POST", "/v1/vault/accounts", `{"name":"a"}`, key("k")).status == 201
	}, patience, poll)
	require.Equal(t, 2, s.count("/v1/vault/accounts"))
}

// TestNodeDown: what is read from the chain is 1500 while no node answers.
func TestNodeDown(t *testing.T) {
	h := newHouse(t)
	s := h.serve()
	_, wallet := s.vault("treasury")
	is[api.WalletBalance](s.as("viewer", "GET", "/v1/wallets/"+wallet+"/balance", ""), 200)
	require.NoError(t, h.node.Close())
	s.as("viewer", "GET", "/v1/wallets/"+wallet+"/balance", "").fails(503, 1500)
}
