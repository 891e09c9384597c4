package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func TestFirstBatch(t *testing.T) {
	c := charter()
	whole := sign(t, policy.DocCharter, c, "custodian-1", "custodian-2", "custodian-3")
	start := func(root policy.Digest) *world {
		return &world{t: t, fold: ledger.NewFold(root), root: root, author: "appliance-1", term: 1, now: noon}
	}
	t.Run("another charter than the root", func(t *testing.T) {
		start(policy.DigestOf([]byte("other"))).refused(ledger.ReasonDocument, "charter 1 is", ledger.Record{Charter: whole})
	})
	t.Run("one custodian did not sign", func(t *testing.T) {
		e := sign(t, policy.DocCharter, c, "custodian-1", "custodian-2")
		start(whole.PayloadDigest()).refused(ledger.ReasonEnvelope, "custodian-3", ledger.Record{Charter: e})
	})
	t.Run("one custodian signed for two", func(t *testing.T) {
		e := sign(t, policy.DocCharter, c, "custodian-1", "custodian-2", "custodian-2's other")
		start(whole.PayloadDigest()).refused(ledger.ReasonEnvelope, "custodian-3", ledger.Record{Charter: e})
	})
	t.Run("something before the charter", func(t *testing.T) {
		w := start(whole.PayloadDigest())
		w.refused(ledger.ReasonConflict, "the first record is charter 1", ledger.Record{Cancel: &ledger.Cancel{OperationID: opAt(noon, 1), Reason: "expired"}})
	})
	t.Run("sequence 2", func(t *testing.T) {
		w := start(whole.PayloadDigest())
		b := w.batch(ledger.Record{Charter: whole})
		b.Sequence = 2
		_, err := w.fold.Apply(w.encode(w.signed(b)))
		w.isRefusal(err, ledger.ReasonLink, "sequence 2, want 1")
	})
	t.Run("a previous batch", func(t *testing.T) {
		w := start(whole.PayloadDigest())
		b := w.batch(ledger.Record{Charter: whole})
		b.Previous = policy.DigestOf(nil)
		_, err := w.fold.Apply(w.encode(w.signed(b)))
		w.isRefusal(err, ledger.ReasonLink, "previous")
	})
	t.Run("another instance than the charter's", func(t *testing.T) {
		w := start(whole.PayloadDigest())
		b := w.batch(ledger.Record{Charter: whole})
		b.Instance = "dev-2"
		_, err := w.fold.Apply(w.encode(w.signed(b)))
		w.isRefusal(err, ledger.ReasonLink, "the charter says dev-1")
	})
	t.Run("epoch 2", func(t *testing.T) {
		w := start(whole.PayloadDigest())
		b := w.batch(ledger.Record{Charter: whole})
		b.Epoch = 2
		_, err := w.fold.Apply(w.encode(w.signed(b)))
		w.isRefusal(err, ledger.ReasonLink, "epoch 2, want 1")
	})
	t.Run("signed by a key that the charter does not name", func(t *testing.T) {
		w := start(whole.PayloadDigest())
		b := w.batch(ledger.Record{Charter: whole})
		forged := *b
		forged.Author = "mallory"
		b.Signature = w.signed(&forged).Signature
		_, err := w.fold.Apply(w.encode(b))
		w.isRefusal(err, ledger.ReasonAuthor, "does not hold")
		require.Empty(t, w.fold.Instance())
	})
	t.Run("as it must be", func(t *testing.T) {
		w := start(whole.PayloadDigest())
		w.commit(ledger.Record{Charter: whole})
		_, digest := w.fold.Charter()
		require.Equal(t, whole.PayloadDigest(), digest)
		require.Equal(t, "dev-1", w.fold.Instance())
		require.Equal(t, ledger.FirstEpoch, w.fold.Epoch())
		sequence, ok := w.fold.Recorded(digest)
		require.True(t, ok)
		require.Equal(t, uint64(1), sequence)
	})
}

// next is the charter that replaces the one in force.
func (w *world) next(change func(*policy.Charter)) *policy.Charter {
	in, digest := w.fold.Charter()
	c := *in
	c.Version, c.Replaces = in.Version+1, &digest
	change(&c)
	return &c
}

func TestCharterChanges(t *testing.T) {
	w := begun(t)
	_, first := w.fold.Charter()
	without := func(c *policy.Charter) {
		c.Persons, c.Groups = c.Persons[1:], map[string][]string{"approvers": {"bob", "cat"}}
	}
	w.refused(ledger.ReasonEnvelope, "signed by 1", ledger.Record{Charter: sign(t, policy.DocCharter, w.next(without), "custodian-2", "custodian-2's other")})
	w.refused(ledger.ReasonEnvelope, "not known here", ledger.Record{Charter: sign(t, policy.DocCharter, w.next(without), "custodian-1", "custodian-2", "mallory")})
	w.refused(ledger.ReasonDocument, "version 3 after 1", ledger.Record{Charter: sign(t, policy.DocCharter, w.next(func(c *policy.Charter) { c.Version++ }), "custodian-1", "custodian-2")})

	i := w.mint(w.op())
	second := sign(t, policy.DocCharter, w.next(without), "custodian-1", "custodian-2")
	w.commit(ledger.Record{Charter: second})
	_, digest := w.fold.Charter()
	require.Equal(t, second.PayloadDigest(), digest)
	require.True(t, w.fold.CharterKnown(first))
	require.True(t, w.fold.CharterKnown(digest))
	require.False(t, w.fold.CharterKnown(policy.DigestOf(nil)))
	w.refused(ledger.ReasonDuplicate, "recorded already", ledger.Record{Charter: second})

	// Who left decides nothing any more, not even on an intent of before; who stayed does.
	w.refused(ledger.ReasonEnvelope, "not known here", w.approve(i, "ann"))
	w.commit(w.approve(i, "bob"))

	// A key that was given up is not taken back, whoever's it would be.
	w.refused(ledger.ReasonDocument, "a key of person ann was removed", ledger.Record{Charter: sign(t, policy.DocCharter, w.next(func(c *policy.Charter) {
		c.Persons = charter().Persons
	}), "custodian-1", "custodian-2")})
	w.refused(ledger.ReasonDocument, "a key of person eve was removed", ledger.Record{Charter: sign(t, policy.DocCharter, w.next(func(c *policy.Charter) {
		c.Persons = append(c.Persons[:len(c.Persons):len(c.Persons)], policy.Person{Name: "eve", Keys: keys("ann"), Users: []string{id("user", 7)}})
	}), "custodian-1", "custodian-2")})
}

func TestAuthorLeaves(t *testing.T) {
	w := begun(t)
	c := w.next(func(c *policy.Charter) { c.Appliances = c.Appliances[1:] })
	w.commit(ledger.Record{Charter: sign(t, policy.DocCharter, c, "custodian-1", "custodian-2")})
	w.refused(ledger.ReasonAuthor, "appliance-1 is no appliance", ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})
	w.author, w.term = "appliance-2", 2
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})
}

func TestPolicyVersions(t *testing.T) {
	w := begun(t)
	first, ok := w.fold.Policy(id("pol", 1))
	require.True(t, ok)
	version := func(n uint64, replaces *policy.Digest, change ...func(*policy.Policy)) ledger.Record {
		p := w.policy()
		p.Version, p.Replaces = n, replaces
		for _, f := range change {
			f(p)
		}
		return ledger.Record{Policy: sign(t, policy.DocPolicy, p, "custodian-1", "custodian-2")}
	}
	other := policy.DigestOf(nil)
	w.refused(ledger.ReasonConflict, "version 3, want 2", version(3, &first.Digest))
	w.refused(ledger.ReasonConflict, "does not replace version 1", version(2, &other))
	w.refused(ledger.ReasonConflict, "version 1, want 2", version(1, nil, func(p *policy.Policy) { p.Name = "other" }))
	w.refused(ledger.ReasonConflict, "version 2, want 1", version(2, &other, func(p *policy.Policy) { p.ID = id("pol", 2) }))
	w.refused(ledger.ReasonDocument, "instance", version(2, &first.Digest, func(p *policy.Policy) { p.Instance = "dev-2" }))
	w.refused(ledger.ReasonDocument, "group traders", version(2, &first.Digest, func(p *policy.Policy) { p.Rules[0].ApproverGroup = "traders" }))
	alone := w.policy()
	alone.Version, alone.Replaces = 2, &first.Digest
	w.refused(ledger.ReasonEnvelope, "threshold is 2", ledger.Record{Policy: sign(t, policy.DocPolicy, alone, "custodian-1")})
	w.refused(ledger.ReasonEnvelope, "payload type", ledger.Record{Policy: sign(t, policy.DocBinding, alone, "custodian-1", "custodian-2")})

	second := version(2, &first.Digest, func(p *policy.Policy) { p.Name = "stricter" })
	sibling := version(2, &first.Digest, func(p *policy.Policy) { p.Name = "sibling" })
	w.commit(second)
	w.refused(ledger.ReasonConflict, "version 2, want 3", sibling)
	w.refused(ledger.ReasonDuplicate, "in batch 4", second)
	now, _ := w.fold.Policy(id("pol", 1))
	require.Equal(t, uint64(2), now.Policy.Version)
	before, ok := w.fold.PolicyVersion(id("pol", 1), 1)
	require.True(t, ok)
	require.Equal(t, first, before)
	_, ok = w.fold.PolicyVersion(id("pol", 1), 3)
	require.False(t, ok)

	w.commit(version(1, nil, func(p *policy.Policy) { p.ID, p.Scope = id("pol", 2), policy.Scope{TokenID: id("token", 1)} }),
		version(1, nil, func(p *policy.Policy) { p.ID, p.Scope = id("pol", 3), policy.Scope{VaultAccountID: id("vault", 2)} }))
	inScope := func(token, performer, source string) (ids []string) {
		for _, p := range w.fold.PoliciesInScope(token, performer, source) {
			ids = append(ids, p.Policy.ID)
		}
		return ids
	}
	require.Equal(t, []string{id("pol", 1), id("pol", 2)}, inScope(id("token", 1), id("vault", 1), ""))
	require.Equal(t, []string{id("pol", 1), id("pol", 3)}, inScope(id("token", 2), id("vault", 1), id("vault", 2)))

	w.commit(version(3, &now.Digest, func(p *policy.Policy) { p.Retired = true }))
	require.Equal(t, []string{id("pol", 2)}, inScope(id("token", 1), id("vault", 1), ""))
	require.Len(t, w.fold.Policies(), 3)
}

func TestBindings(t *testing.T) {
	w := begun(t)
	_, first, used, ok := w.fold.BindingDocument(id("token", 1))
	require.True(t, ok)
	require.True(t, used, "the custodians signed it")
	bind := func(change func(*policy.Binding), by ...string) ledger.Record {
		b := w.binding()
		change(b)
		if by == nil {
			by = []string{"custodian-1", "custodian-2"}
		}
		return ledger.Record{Binding: sign(t, policy.DocBinding, b, by...)}
	}
	second := func(b *policy.Binding) { b.Version, b.Replaces = 2, &first }
	w.refused(ledger.ReasonEnvelope, "threshold is 2", bind(second, "custodian-3"))
	w.refused(ledger.ReasonConflict, "is token "+id("token", 1), bind(func(b *policy.Binding) { b.TokenID = id("token", 2) }))
	w.refused(ledger.ReasonDocument, "no network", bind(func(b *policy.Binding) { second(b); b.ChainID = 1 }))
	w.refused(ledger.ReasonUnknown, id("wallet", 9), bind(func(b *policy.Binding) { second(b); b.Performers = []string{id("wallet", 9)} }))
	w.refused(ledger.ReasonDocument, "instance", bind(func(b *policy.Binding) { second(b); b.Instance = "dev-2" }))

	w.commit(bind(func(b *policy.Binding) { second(b); b.ContractAddress = account("moved") }))
	_, ok = w.fold.BindingByContract(chainID, account("contract"))
	require.False(t, ok)
	moved, ok := w.fold.BindingByContract(chainID, account("moved"))
	require.True(t, ok)
	require.Equal(t, id("token", 1), moved.TokenID)
	// The contract of before is free for another id, and still one counter.
	w.commit(bind(func(b *policy.Binding) { b.TokenID = id("token", 2) }))
	require.Len(t, w.fold.Bindings(), 2)
}

func TestWallets(t *testing.T) {
	w := genesis(t, func(c *policy.Charter) { c.Limits.WalletsPerHour, c.Limits.WalletsTotal = 3, 4 })
	record := func(n int, change ...func(*ledger.Wallet)) ledger.Record {
		v := wallet(n)
		for _, f := range change {
			f(v)
		}
		return ledger.Record{Wallet: v}
	}
	w.refused(ledger.ReasonUnknown, "network elsewhere", record(1, func(v *ledger.Wallet) { v.Network = "elsewhere" }))
	w.refused(ledger.ReasonValue, "its public key has", record(1, func(v *ledger.Wallet) { v.Address = account("mallory") }))
	w.commit(record(1))
	w.refused(ledger.ReasonDuplicate, "in batch 2", record(1))
	w.refused(ledger.ReasonConflict, "is wallet "+id("wallet", 1), record(1, func(v *ledger.Wallet) { v.WalletID = id("wallet", 2) }))
	w.commit(record(2), record(3))
	w.refused(ledger.ReasonLimit, "3 wallets were made in the last hour", record(4))
	w.pass(time.Hour)
	w.commit(record(4))
	w.pass(time.Hour)
	w.refused(ledger.ReasonLimit, "4 wallets were made", record(5))
	found, ok := w.fold.WalletByAddress(network, wallet(3).Address)
	require.True(t, ok)
	require.Equal(t, id("wallet", 3), found.WalletID)
	require.Equal(t, ledger.Moment{Sequence: 3, Time: noon}, found.Recorded)
	require.Len(t, w.fold.Wallets(), 4)
}

func TestFreeze(t *testing.T) {
	w := begun(t)
	token, person, appliance := policy.Subject{TokenID: id("token", 1)}, policy.Subject{Person: "ann"}, policy.Subject{ApplianceID: "appliance-1"}
	frozen := func(s policy.Subject, frozen bool, at time.Time, by ...string) ledger.Record {
		return ledger.Record{Freeze: sign(t, policy.DocFreeze, freezeOf(s, frozen, at), by...)}
	}
	i := w.mint(w.op())
	w.commit(w.approve(i, "ann"), w.approve(i, "bob"))

	stop := frozen(token, true, w.now, "custodian-3")
	w.refused(ledger.ReasonDocument, "of the future", frozen(token, true, w.now.Add(time.Minute), "custodian-3"))
	w.refused(ledger.ReasonEnvelope, "not known here", frozen(token, true, w.now, "ann"))
	w.commit(stop, frozen(person, true, w.now, "custodian-1"))
	require.True(t, w.fold.Frozen(token))
	require.Equal(t, []string{"ann"}, w.fold.Suspended())
	w.refused(ledger.ReasonFrozen, "token "+id("token", 1), w.authorize(i))
	other := w.mint(w.op())
	w.refused(ledger.ReasonFrozen, "ann is suspended", w.approve(other, "ann"))
	w.refused(ledger.ReasonDuplicate, "recorded already", stop)

	w.pass(time.Minute)
	w.refused(ledger.ReasonEnvelope, "threshold is 2", frozen(token, false, w.now, "custodian-3"))
	w.refused(ledger.ReasonConflict, "not newer", frozen(token, false, w.now.Add(-time.Minute), "custodian-1", "custodian-2"))
	thaw := frozen(token, false, w.now, "custodian-1", "custodian-2")
	w.commit(thaw)
	require.False(t, w.fold.Frozen(token))
	w.commit(w.authorize(i))

	// Frozen again, this time on the word of serve: the thawing of before does not count again.
	w.pass(time.Minute)
	event := ledger.Record{EventFreeze: &ledger.EventFreeze{TokenID: id("token", 1), Event: "a mint that nobody authorized"}}
	w.commit(event)
	require.True(t, w.fold.Frozen(token))
	w.refused(ledger.ReasonDuplicate, "frozen already", event)
	w.refused(ledger.ReasonDuplicate, "recorded already", thaw)

	w.commit(frozen(appliance, true, w.now, "custodian-2"))
	j := w.mint(w.op(), grantTo(account("bert")))
	w.commit(w.approve(j, "bob"), w.approve(j, "cat"))
	w.refused(ledger.ReasonAuthor, "appliance appliance-1 is suspended", w.authorize(j))
	w.refused(ledger.ReasonAuthor, "appliance appliance-1 is suspended", ledger.Record{Wallet: wallet(3)})
	w.refused(ledger.ReasonUnknown, "is not bound", ledger.Record{EventFreeze: &ledger.EventFreeze{TokenID: id("token", 9), Event: "seen"}})
}

func TestCheckpoints(t *testing.T) {
	w := genesis(t)
	root := func(s string) policy.Digest { return policy.DigestOf([]byte(s)) }
	checkpoint := func(size uint64, r string) ledger.Record {
		return ledger.Record{Checkpoint: &ledger.Checkpoint{Size: size, Root: root(r)}}
	}
	w.commit(checkpoint(5, "a"), checkpoint(7, "b"))
	w.refused(ledger.ReasonConflict, "6 leaves, the last one has 7", checkpoint(6, "c"))
	w.refused(ledger.ReasonConflict, "two roots of 7 leaves", checkpoint(7, "c"))
	w.refused(ledger.ReasonDuplicate, "7 leaves is recorded", checkpoint(7, "b"))
	require.Equal(t, uint64(7), w.fold.LastCheckpoint().Size)
}
