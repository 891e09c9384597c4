package dev_test

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// lawReader reads the ledger from its first batch and judges every authorization
// by what stood before it. It shares neither the fold nor the engine with the
// appliance, so that one mistake in those does not answer for itself; it knows
// only the rules that the soak's custodians write.
type lawReader struct {
	h   *soakHouse
	ops map[string]client.Operation

	charter     *policy.Charter
	digest      policy.Digest
	charters    map[policy.Digest]bool
	inForce     map[string]policy.Digest // by policy
	versions    map[policy.Digest]*policy.Policy
	documents   map[policy.Digest]uint64 // of custodians, and the batch that holds them
	frozen      map[policy.Subject]bool
	said        map[string][]saying // by operation
	refused     map[string]string   // who rejected, by operation, while he was of a group
	tokens      map[string]string   // by authorized operation
	wallets     map[string]string   // likewise, while it is not settled
	charged     map[counter]*big.Int
	nonces      map[string]uint64 // the next, by wallet
	outstanding map[string]int
	judged      int
}

// saying is a decision as it stands in the ledger.
type saying struct {
	who     string
	verb    policy.Verb
	intent  policy.Digest
	at      time.Time
	batch   uint64
	grouped bool // he was of a group then
}

// counter is what is added up for a daily limit.
type counter struct {
	contract  tx.Address
	operation policy.OperationType
	day       string
}

// readLaw reads the whole ledger.
func (h *soakHouse) readLaw(ops map[string]client.Operation) *lawReader {
	h.t.Helper()
	l := &lawReader{h: h, ops: ops, charters: map[policy.Digest]bool{}, inForce: map[string]policy.Digest{}, versions: map[policy.Digest]*policy.Policy{},
		documents: map[policy.Digest]uint64{}, frozen: map[policy.Subject]bool{}, said: map[string][]saying{}, refused: map[string]string{}, tokens: map[string]string{},
		wallets: map[string]string{}, charged: map[counter]*big.Int{}, nonces: map[string]uint64{}, outstanding: map[string]int{}}
	for value, err := range h.boxes[0].as("viewer").Batches(h.boxes[0].context(), 1) {
		if err != nil {
			h.t.Fatal(err)
		}
		b, err := ledger.ParseBatch(value)
		if err != nil {
			h.t.Fatal(err)
		}
		for n := range b.Records {
			if err := l.record(b, &b.Records[n]); err != nil {
				h.t.Fatalf("batch %d: %v", b.Sequence, err)
			}
		}
	}
	return l
}

// record takes one in. An error is of the reader: it did not understand.
func (l *lawReader) record(b *ledger.Batch, r *ledger.Record) (err error) {
	for _, e := range []*ledger.Enveloped{r.Charter, r.Policy, r.Freeze} {
		if e != nil {
			l.documents[e.PayloadDigest()] = b.Sequence
		}
	}
	switch {
	case r.Charter != nil:
		if l.charter, err = policy.ParseCharter(r.Charter.Payload); err == nil {
			l.digest = r.Charter.PayloadDigest()
			l.charters[l.digest] = true
		}
	case r.Policy != nil:
		var p *policy.Policy
		if p, err = policy.ParsePolicy(r.Policy.Payload); err == nil {
			l.inForce[p.ID] = r.Policy.PayloadDigest()
			l.versions[l.inForce[p.ID]] = p
		}
	case r.Freeze != nil:
		var f *policy.Freeze
		if f, err = policy.ParseFreeze(r.Freeze.Payload); err == nil {
			l.frozen[f.Subject] = f.Frozen
		}
	case r.EventFreeze != nil:
		l.h.t.Errorf("batch %d freezes %s, for %s", b.Sequence, r.EventFreeze.TokenID, r.EventFreeze.Event)
		l.frozen[policy.Subject{TokenID: r.EventFreeze.TokenID}] = true
	case r.Decision != nil:
		err = l.decision(b, r.Decision)
	case r.Authorize != nil:
		err = l.authorize(b, r.Authorize)
	case r.Bump != nil:
		l.mayAct(b, "bumps "+r.Bump.OperationID, l.tokens[r.Bump.OperationID])
	case r.Settle != nil:
		if wallet, ok := l.wallets[r.Settle.OperationID]; ok {
			l.outstanding[wallet]--
			delete(l.wallets, r.Settle.OperationID)
		}
	}
	return err
}

func (l *lawReader) decision(b *ledger.Batch, e *ledger.Enveloped) error {
	d, err := policy.ParseDecision(e.Payload)
	if err != nil {
		return err
	}
	i, err := policy.ParseIntent(d.Intent)
	if err != nil {
		return err
	}
	if l.frozen[policy.Subject{Person: d.Approver}] {
		l.h.t.Errorf("batch %d records %s of %s on %s, who is suspended", b.Sequence, d.Decision, d.Approver, i.OperationID)
	}
	s := saying{who: d.Approver, verb: d.Decision, intent: policy.DigestOf(d.Intent), at: b.Time, batch: b.Sequence, grouped: l.grouped(d.Approver)}
	l.said[i.OperationID] = append(l.said[i.OperationID], s)
	if d.Decision != policy.Approve && s.grouped {
		l.refused[i.OperationID] = d.Approver
	}
	return nil
}

// grouped is true of a person who is of any group.
func (l *lawReader) grouped(person string) bool {
	for group := range l.charter.Groups {
		if l.member(group, person) {
			return true
		}
	}
	return false
}

func (l *lawReader) member(group, person string) bool {
	return slices.Contains(l.charter.Groups[group], person)
}

// mayAct holds that who wrote something that goes to the chain was not suspended,
// and the token not frozen.
func (l *lawReader) mayAct(b *ledger.Batch, what, token string) {
	if l.frozen[policy.Subject{ApplianceID: b.Author}] {
		l.h.t.Errorf("batch %d %s, by %s, which is suspended", b.Sequence, what, b.Author)
	}
	if l.frozen[policy.Subject{TokenID: token}] {
		l.h.t.Errorf("batch %d %s, of token %s, which is frozen", b.Sequence, what, token)
	}
}

func (l *lawReader) authorize(b *ledger.Batch, a *ledger.Authorize) error {
	op, known := l.ops[a.OperationID]
	if !known {
		l.h.t.Errorf("batch %d authorizes %s, of which nobody knows", b.Sequence, a.OperationID)
		return nil
	}
	wrong := func(format string, args ...any) {
		l.h.t.Errorf("batch %d authorizes %s %s: %s", b.Sequence, op.OperationType, a.OperationID, fmt.Sprintf(format, args...))
	}
	i, err := policy.ParseIntent(op.Intent)
	if err != nil {
		return err
	}
	if l.judged++; policy.DigestOf(op.Intent) != a.Intent || i.OperationID != a.OperationID {
		wrong("the intent is not the one that it shows")
	}
	if l.tokens[a.OperationID] != "" {
		wrong("it was authorized before")
	}
	l.tokens[a.OperationID], l.wallets[a.OperationID] = i.Token.ID, a.WalletID
	if a.Nonce != l.nonces[a.WalletID] {
		wrong("nonce %d, the next is %d", a.Nonce, l.nonces[a.WalletID])
	}
	l.nonces[a.WalletID] = a.Nonce + 1
	if l.outstanding[a.WalletID]++; l.outstanding[a.WalletID] > l.charter.MaxOutstanding() {
		wrong("%d of wallet %s wait, at most %d may", l.outstanding[a.WalletID], a.WalletID, l.charter.MaxOutstanding())
	}
	l.mayAct(b, "authorizes "+a.OperationID, i.Token.ID)
	if who := l.refused[a.OperationID]; who != "" {
		wrong("%s rejected it", who)
	}
	if !l.charters[i.Charter] {
		wrong("charter %s was not in force before", i.Charter)
	}
	for _, c := range a.Charges {
		at := counter{c.Contract, c.Operation, b.Time.UTC().Format(time.DateOnly)}
		if l.charged[at] == nil {
			l.charged[at] = new(big.Int)
		}
		l.charged[at].Add(l.charged[at], c.Amount.Big())
	}
	if i.Params.Amount != nil && !slices.ContainsFunc(a.Charges, func(c ledger.Charge) bool {
		return c.Operation == i.OperationType && c.Contract == *i.Token.ContractAddress && c.Amount.Cmp(*i.Params.Amount) == 0
	}) && slices.Contains([]policy.OperationType{policy.OpMint, policy.OpBurn}, i.OperationType) {
		wrong("%s is charged with %+v", i.Params.Amount, a.Charges)
	}
	// What is in force now, and what was when it was asked for.
	laws := map[policy.Digest]string{}
	for id, digest := range l.inForce {
		scope := l.versions[digest].Scope
		if scope.All || scope.TokenID == i.Token.ID {
			laws[digest] = "in force, " + id
		} else if scope.VaultAccountID != "" {
			return fmt.Errorf("policy %s is of a vault account", id)
		}
	}
	if len(laws) == 0 {
		wrong("no policy is in force for it")
	}
	for _, ref := range i.Policies {
		if l.versions[ref.Digest] == nil {
			wrong("version %d of %s was never in force", ref.Version, ref.ID)
		} else if laws[ref.Digest] == "" {
			laws[ref.Digest] = "when it was asked for, " + ref.ID
		}
	}
	bare := true // no MAX_FEE stands in the place of the charter's limit
	for _, digest := range slices.Sorted(maps.Keys(laws)) {
		p := l.versions[digest]
		bare = bare && !slices.ContainsFunc(p.Rules, func(r policy.Rule) bool { return r.Type == policy.RuleMaxFee })
		if err := l.judge(b, a, i, p, func(format string, args ...any) {
			wrong("against version %d of policy %s (%s): %s", p.Version, p.Name, laws[digest], fmt.Sprintf(format, args...))
		}); err != nil {
			return err
		}
	}
	if n, ok := l.charter.Network(i.Network); !ok || bare && i.FeeCap.Cmp(n.DefaultMaxFee) > 0 {
		wrong("a fee cap of %s on network %s, by no MAX_FEE", i.FeeCap, i.Network)
	}
	return nil
}

// lawHolds: what custodians were told is in force stands in the ledger, what too
// few signed does not, and both appliances show the law that the ledger ends with.
func (l *lawReader) lawHolds(c *crowd) {
	h := l.h
	h.t.Helper()
	ends, same := map[string]int{}, map[policy.Digest]int{}
	for _, d := range c.decrees {
		same[d.digest]++
	}
	for _, d := range c.decrees {
		at, there := l.documents[d.digest]
		switch {
		case there && same[d.digest] > 1: // two custodians wrote the same bytes in one second; who signed counts for both
		case d.told && !there:
			h.t.Errorf("%s was told that %s is in force, and it is not in the ledger", d.key, d.digest)
		case there && d.signed < d.need:
			h.t.Errorf("%s, signed by %d of %d, is in force since batch %d", d.key, d.signed, d.need, at)
		case there && d.last != nil && d.vague == 0 && !d.told:
			h.t.Errorf("%s was refused (%v), and is in force since batch %d", d.key, d.last, at)
		}
		why := ""
		if d.last != nil {
			why = fmt.Sprint(", refused ", d.last.Code)
		}
		ends[fmt.Sprintf("in force %v%s", there, why)]++
	}
	h.t.Logf("%d authorizations judged by %d versions of policies and %d charters; custodians' %d changes: %v", l.judged, len(l.versions), len(l.charters), len(c.decrees), ends)
	for at, sum := range l.charged {
		h.t.Logf("on %s %s of %s: %s charged", at.day, at.operation, at.contract, sum)
	}
	for n, id := range applianceIDs {
		h.eventually(func() error {
			shown, err := h.boxes[n].as("viewer").GetCharter(h.boxes[n].context())
			if err == nil && policy.Digest(shown.DocumentDigest) != l.digest {
				err = fmt.Errorf("%s shows charter %s, the ledger ends with %s", id, shown.DocumentDigest, l.digest)
			}
			return err
		})
		for _, which := range slices.Sorted(maps.Keys(l.inForce)) {
			h.eventually(func() error {
				shown, err := h.boxes[n].as("viewer").GetPolicy(h.boxes[n].context(), which)
				if err == nil && (policy.Digest(shown.DocumentDigest) != l.inForce[which] || shown.Status != client.PolicyStatusACTIVE) {
					err = fmt.Errorf("%s shows version %d of policy %s, %s; the ledger ends with %s", id, shown.Version, which, shown.Status, l.inForce[which])
				}
				return err
			})
		}
	}
}
