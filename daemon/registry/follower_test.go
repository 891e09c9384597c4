package registry_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func TestWhatTheLedgerHoldsIsServed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	vault, wallet := store.NewID("vault_"), store.NewID("wallet_")
	made, err := h.room.WalletCreate(t.Context(), seal.WalletCreateRequest{WalletID: wallet, VaultAccountID: vault, Network: network, Scheme: "dilithium3"})
	require.NoError(t, err)
	p := devDefault()
	h.apply(p)

	s, stop := h.serve()
	c, err := s.Charter(t.Context())
	require.NoError(t, err)
	require.Equal(t, h.charter1, c.Digest)
	require.Equal(t, h.charter1, policy.DigestOf(c.Document))
	require.Equal(t, []string{"custodian-1", "custodian-2", "custodian-3"}, c.SignedBy)
	require.EqualValues(t, 1, c.Sequence)

	w, err := s.Wallet(t.Context(), wallet)
	require.NoError(t, err)
	require.Equal(t, made.Address, w.Address)
	require.Equal(t, registry.ProtectionWrapped, w.Protection)
	oldest, err := s.OldestWallet(t.Context(), vault, network)
	require.NoError(t, err, "the vault account that only the ledger knew is there too")
	require.Equal(t, wallet, oldest.ID)

	got, err := s.Policy(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, registry.PolicyActive, got.Status)
	require.Equal(t, []string{"custodian-1", "custodian-3"}, got.SignedBy)
	require.EqualValues(t, 3, got.LedgerSeq)
	require.EqualValues(t, 3, s.Carried())

	before := h.audits("policy.activated") + h.audits("wallet.created") + h.audits("charter.applied")
	require.Equal(t, 3, before)
	stop()
	again, _ := h.serve()
	require.EqualValues(t, 3, again.Carried())
	other, _ := h.serve()
	require.EqualValues(t, 3, other.Carried())
	require.Equal(t, before, h.audits("policy.activated")+h.audits("wallet.created")+h.audits("charter.applied"),
		"a record is told of once, however often and by whomever it is carried")
}

func TestCarryingAgainAfterTheCursorWasLost(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.apply(devDefault())
	_, stop := h.serve()
	stop()
	tx := h.store.Tx()
	tx.Delete(store.LedgerCarried)
	_, err := tx.Commit(t.Context())
	require.NoError(t, err)
	s, _ := h.serve()
	require.EqualValues(t, 2, s.Carried())
	require.Equal(t, 1, h.audits("policy.activated"))
	require.Equal(t, 1, h.audits("charter.applied"))
}

func TestNothingIsReadyBeforeACharter(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, err := registry.New(registry.Deps{
		Store: h.store, Seal: h.room, Chains: h.chains, Charter1: h.charter1, Tenant: "test", Log: discard(), Registerer: registerer(),
	})
	require.NoError(t, err)
	require.Error(t, s.Ready())
	_, err = s.ProposePolicy(t.Context(), operator, registry.PolicySpec{Name: "x", Rules: twoOfApprovers()}, nil)
	require.Error(t, err)
}

func TestCarriersSeeEveryBatchInOrderAndAreCalledAgainUntilTheySucceed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 5 {
		h.apply(devDefault())
	}
	var mu sync.Mutex
	var seen []uint64
	failures := 2
	ctx, cancel := context.WithCancel(t.Context())
	s, err := registry.New(registry.Deps{
		Store: h.store, Seal: h.room, Chains: h.chains, Charter1: h.charter1, Tenant: "test", Log: discard(), Registerer: registerer(),
	})
	require.NoError(t, err)
	s.OnBatch(func(_ context.Context, b *ledger.Batch) error {
		mu.Lock()
		defer mu.Unlock()
		head, _ := s.Fold().Head()
		require.Equal(t, b.Sequence, head, "the fold stands at the batch that is carried")
		if b.Sequence == 3 && failures > 0 {
			failures--
			return errors.New("not now")
		}
		seen = append(seen, b.Sequence)
		return nil
	})
	done := make(chan error, 1)
	go func() { done <- s.Follow(ctx) }()
	require.NoError(t, s.WaitReady(ctx))
	h.apply(devDefault())
	require.NoError(t, s.WaitCarried(ctx, 7))
	require.Equal(t, []uint64{1, 2, 3, 4, 5, 6, 7}, seen)
	cancel()
	require.NoError(t, <-done)
	require.ErrorIs(t, s.WaitCarried(ctx, 8), context.Canceled)
}

func TestALedgerThatDoesNotVerifyStopsTheFollower(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(h *house){
		"a byte changed": func(h *house) {
			value, seq := h.room.batch(policyRecord(h))
			value[len(value)/2] ^= 1
			h.room.write(seq, value)
		},
		"another author's signature": func(h *house) {
			key := h.room.key
			h.room.key = newKey(h.t)
			value, seq := h.room.batch(policyRecord(h))
			h.room.key = key
			h.room.write(seq, value)
		},
		"a gap": func(h *house) {
			value, seq := h.room.batch(policyRecord(h))
			h.room.write(seq+1, value)
		},
		"a batch written again": func(h *house) {
			value, _ := h.room.batch(policyRecord(h))
			h.room.write(1, value)
		},
		"a batch deleted": func(h *house) {
			tx := h.room.store.Tx()
			tx.Delete(ledger.Key(1))
			_, err := tx.Commit(h.t.Context())
			require.NoError(h.t, err)
		},
		"a key that is no batch's": func(h *house) {
			tx := h.room.store.Tx()
			tx.Put(ledger.LogPrefix+"9", []byte("{}"))
			_, err := tx.Commit(h.t.Context())
			require.NoError(h.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s, _ := h.serve()
			require.NoError(t, s.Ready())
			spoil(h)
			require.ErrorIs(t, s.WaitCarried(soon(t), 2), registry.ErrLedger)
			require.ErrorIs(t, s.Ready(), registry.ErrLedger)
			require.EqualValues(t, 1, s.Carried(), "nothing behind it was carried")
			_, _, err := s.Vaults(t.Context(), 50, 0)
			require.NoError(t, err, "reads go on")
		})
	}
}

func TestALogThatIsShorterOrOtherThanWhatWasCarriedIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.apply(devDefault())
	_, stop := h.serve()
	stop()
	head, digest := h.room.fold.Head()
	for name, cursor := range map[string]string{
		"shorter": `{"sequence":` + "3" + `,"digest":"` + string(digest) + `"}`,
		"other":   `{"sequence":2,"digest":"` + string(ledger.NoDigest) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			require.EqualValues(t, 2, head)
			tx := h.store.Tx()
			tx.Put(store.LedgerCarried, []byte(cursor))
			_, err := tx.Commit(t.Context())
			require.NoError(t, err)
			s, stop := h.open(nil)
			defer stop()
			require.ErrorIs(t, s.WaitReady(soon(t)), registry.ErrLedger)
		})
	}
}

func TestFollowingSurvivesTheStore(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	h.etcd.Close()
	h.etcd.Restart()
	require.Eventually(t, func() bool { // etcd's clients find it again in their own time
		_, _, _, err := h.room.store.Get(t.Context(), ledger.Key(1))
		return err == nil
	}, waitLimit, waitStep)
	p := devDefault()
	h.apply(p)
	require.NoError(t, s.WaitCarried(soon(t), 2))
	got, err := s.Policy(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, registry.PolicyActive, got.Status)
}

// Whoever waits for the log sees all that stood in it when he asked.
func TestWaitLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	for range 5 {
		p := devDefault()
		h.apply(p)
		require.NoError(t, s.WaitLog(soon(t)))
		got, err := s.Policy(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, registry.PolicyActive, got.Status)
	}
	require.NoError(t, s.WaitLog(soon(t)), "nothing is new")
}

func TestLedgerBatchesAreTheExactBytes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 4 {
		h.apply(devDefault())
	}
	s, _ := h.serve()
	all, head, begin, err := s.LedgerBatches(t.Context(), 0, 200)
	require.NoError(t, err)
	require.Nil(t, begin)
	require.Len(t, all, 5)
	require.EqualValues(t, 5, head.Sequence)
	require.Equal(t, head.Hash, policy.DigestOf(all[4]))
	fold := ledger.NewFold(h.charter1)
	for _, b := range all {
		_, err := fold.Apply(b)
		require.NoError(t, err)
	}
	some, _, _, err := s.LedgerBatches(t.Context(), 3, 2)
	require.NoError(t, err)
	require.Equal(t, all[2:4], some)
	none, _, _, err := s.LedgerBatches(t.Context(), 6, 10)
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestAppliancesThatCarryAtOnceTellOfEachRecordOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	here, _ := h.serve()
	there, _ := h.serve()
	first := devDefault()
	doc, err := first.Encode()
	require.NoError(t, err)
	digest := policy.DigestOf(doc)
	next := *first
	next.Version, next.Replaces, next.Name = 2, &digest, "second of the same batch"
	records := []ledger.Record{signed(h, first), signed(h, &next)}
	for range 20 {
		records = append(records, policyRecord(h))
	}
	at := h.room.record(records...)
	for _, s := range []*registry.Service{here, there} {
		require.NoError(t, s.WaitCarried(soon(t), at))
		p, err := s.Policy(t.Context(), first.ID)
		require.NoError(t, err)
		require.Equal(t, "second of the same batch", p.Name)
		require.Equal(t, registry.PolicyActive, p.Status)
	}
	require.Equal(t, 22, h.audits("policy.activated"))
	all, total, err := there.Policies(t.Context(), 5, 0)
	require.NoError(t, err)
	require.Len(t, all, 5)
	require.Equal(t, 21, total)
}

func TestAFreezeIsCarried(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	doc, err := (&policy.Freeze{Format: 1, Instance: "test-1", Subject: policy.Subject{Person: "approver-1"}, Frozen: true, CreatedAt: time.Now().UTC().Truncate(time.Second)}).Encode()
	require.NoError(t, err)
	env, err := policy.Sign(policy.PayloadType(policy.DocFreeze), doc, h.custodians["custodian-2"])
	require.NoError(t, err)
	at := h.room.record(ledger.Record{Freeze: env})
	require.NoError(t, s.WaitCarried(soon(t), at))
	require.True(t, s.Fold().Frozen(policy.Subject{Person: "approver-1"}))
	require.Equal(t, 1, h.audits("person.frozen_in_ledger"))
}

func TestReadsNeedNoFollower(t *testing.T) {
	d := newDesk(t)
	made, err := d.s.CreateToken(t.Context(), operator, d.spec(), nil)
	require.NoError(t, err)
	admin := &registry.Principal{Actor: registry.SystemActor()}
	u, err := d.s.CreateUser(t.Context(), admin, registry.UserSpec{Name: "operator", Role: registry.Operator}, nil)
	require.NoError(t, err)
	key, _, err := d.s.CreateCredential(t.Context(), admin, registry.CredentialSpec{UserID: u.ID}, nil)
	require.NoError(t, err)
	s, err := registry.New(registry.Deps{
		Store: d.store, Seal: d.room, Chains: d.chains, Charter1: d.charter1, Tenant: "test", Log: discard(), Registerer: registerer(),
	})
	require.NoError(t, err)
	tokens, total, err := s.Tokens(t.Context(), registry.TokenFilter{}, 50, 0)
	require.NoError(t, err)
	require.Equal(t, 1, total)
	require.Equal(t, made, tokens[0])
	p, err := s.Authenticate(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, u.ID, p.UserID)
}

func TestANetworkThatTheCharterDoesNotName(t *testing.T) {
	d := newDesk(t)
	s, _ := d.open(func(deps *registry.Deps) {
		deps.Chains = map[string]*chain.Client{network: d.chains[network], "elsewhere": d.chains[network]}
	})
	require.NoError(t, s.WaitReady(soon(t)))
	spec := d.spec()
	spec.Network = "elsewhere"
	_, err := s.CreateToken(t.Context(), operator, spec, nil)
	require.Contains(t, refused(t, err, registry.Validation), "charter")
}
