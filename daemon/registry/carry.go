package registry

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// carryLanes is how many resources of one batch are carried at once. Records of
// one resource stay in order; different resources do not meet in the store.
const carryLanes = 8

// Keys of what only the ledger tells.
const (
	bindingPrefix  = "/mw/binding/"
	freezePrefix   = "/mw/freeze/"
	instancePrefix = "/mw/instance/"
)

// carry is the registry's own carrier: charter, policies, bindings, wallets,
// freezes, joins and recoveries. The rest of a batch is the operations'.
func (s *Service) carry(ctx context.Context, b *ledger.Batch) error {
	lanes := map[string][]func(context.Context) error{}
	var order []string
	for i := range b.Records {
		at := Carried{b.Sequence, i}
		lane, work, err := s.carrier(&b.Records[i], b, at)
		if err != nil {
			return err
		}
		if work == nil {
			continue
		}
		if lanes[lane] == nil {
			order = append(order, lane)
		}
		lanes[lane] = append(lanes[lane], work)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(carryLanes)
	for _, lane := range order {
		g.Go(func() error {
			for _, work := range lanes[lane] {
				if err := work(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// carrier is what makes one record true and the lane in which it stays in
// order; nil for records that are not the registry's.
func (s *Service) carrier(r *ledger.Record, b *ledger.Batch, at Carried) (lane string, work func(context.Context) error, err error) {
	switch {
	case r.Charter != nil:
		return "charter", func(ctx context.Context) error { return s.carryCharter(ctx, r.Charter, b, at) }, nil
	case r.Wallet != nil:
		return "wallet " + r.Wallet.WalletID, func(ctx context.Context) error { return s.carryWallet(ctx, r.Wallet, b, at) }, nil
	case r.Policy != nil:
		doc, err := policy.ParsePolicy(r.Policy.Payload)
		if err != nil {
			return "", nil, err
		}
		return "policy " + doc.ID, func(ctx context.Context) error { return s.carryPolicy(ctx, doc, r.Policy, b, at) }, nil
	case r.DeployBinding != nil:
		return "binding " + r.DeployBinding.TokenID, func(ctx context.Context) error { return s.carryBinding(ctx, r.DeployBinding, at) }, nil
	case r.Binding != nil:
		doc, err := policy.ParseBinding(r.Binding.Payload)
		if err != nil {
			return "", nil, err
		}
		return "binding " + doc.TokenID, func(ctx context.Context) error {
			if err := s.carryBinding(ctx, doc, at); err != nil {
				return err
			}
			return s.carryImported(ctx, doc, r.Binding, b, at)
		}, nil
	case r.Freeze != nil:
		doc, err := policy.ParseFreeze(r.Freeze.Payload)
		if err != nil {
			return "", nil, err
		}
		kind, id := subjectOf(doc.Subject)
		return kind + " " + id, func(ctx context.Context) error { return s.carryFreeze(ctx, kind, id, doc.Frozen, "", at) }, nil
	case r.EventFreeze != nil:
		f := r.EventFreeze
		return "token " + f.TokenID, func(ctx context.Context) error { return s.carryFreeze(ctx, "token", f.TokenID, true, f.Event, at) }, nil
	case r.Join != nil:
		return "join", func(ctx context.Context) error { return s.carryInstance(ctx, "join", "appliance.joined", r.Join, at) }, nil
	case r.Recover != nil:
		return "recover", func(ctx context.Context) error {
			return s.carryInstance(ctx, "recover", "ledger.recovered", r.Recover, at)
		}, nil
	}
	return "", nil, nil
}

// carryWallet makes a wallet active. One that the ledger knows and the store
// does not, made at the first start or before the store was lost, is taken as
// it is, with its vault account if that is missing too.
func (s *Service) carryWallet(ctx context.Context, r *ledger.Wallet, b *ledger.Batch, at Carried) error {
	var active *Wallet
	err := carryInto(ctx, s, s.wallets, store.Wallet(r.WalletID), at, func(old *Wallet) (*Wallet, happening) {
		w := &Wallet{ID: r.WalletID, CreatedBy: SystemActor().Name, CreatedAt: b.Time}
		if old != nil {
			*w = *old
		}
		w.VaultAccountID, w.Network, w.Scheme, w.Status = r.VaultAccountID, r.Network, r.Scheme, WalletActive
		w.Address, w.PublicKey, w.Protection, w.Carried = r.Address, r.PublicKey, protectionOf(r.Scheme), at
		active = w
		return w, happening{"wallet.created", "wallet", w.ID, map[string]any{
			"vaultAccountId": w.VaultAccountID, "network": w.Network, "scheme": string(w.Scheme), "address": w.Address.String(),
		}}
	}, func(t *store.Tx, w *Wallet) error {
		_, _, ok, err := s.store.Get(ctx, store.Vault(w.VaultAccountID))
		if err != nil || ok {
			return err
		}
		t.PutIfAbsent(store.Vault(w.VaultAccountID), encode(&VaultAccount{
			ID: w.VaultAccountID, Name: w.VaultAccountID, Status: VaultActive, CreatedBy: SystemActor().Name, CreatedAt: b.Time,
		}))
		return nil
	})
	if err == nil && active != nil {
		s.greet(active)
	}
	return err
}

// protectionOf is the path of a key of that scheme where the token has no
// post-quantum mechanism (spec: hsm), which is what the ledger does not say.
func protectionOf(scheme tx.Scheme) Protection {
	if scheme == tx.Secp256k1 {
		return ProtectionNative
	}
	return ProtectionWrapped
}

// carryPolicy puts a version in force, supersedes the one before and every open
// proposal beside it, all in one transaction.
func (s *Service) carryPolicy(ctx context.Context, doc *policy.Policy, e *policy.Envelope, b *ledger.Batch, at Carried) error {
	for {
		head, rev, err := load[policyHead](ctx, s.store, policyHeadKey(doc.ID))
		if err != nil {
			return err
		}
		if head == nil {
			head = &policyHead{ID: doc.ID, Open: []string{}}
		} else if !head.precedes(at) {
			return nil
		}
		known, err := s.policyVersions(ctx, head)
		if err != nil {
			return err
		}
		t := s.store.Tx()
		p := s.stageActive(t, doc, e, b, known)
		superseded := 0
		for _, other := range append(known.open, known.active) {
			if other == nil || other.name == p.name {
				continue
			}
			other.Status, other.SupersededBy, other.UpdatedAt = PolicySuperseded, p.DocumentDigest, b.Time
			other.stageState(t)
			superseded++
		}
		head.Active, head.Open, head.Carried = p.name, []string{}, at
		if head.Latest < p.name {
			head.Latest = p.name
		}
		t.PutIf(policyHeadKey(doc.ID), encode(head), rev)
		action := "policy.activated"
		if doc.Retired {
			action = "policy.retired"
		}
		t.Audit(sealDraft(happening{action, "policy", doc.ID, map[string]any{
			"version": doc.Version, "documentDigest": string(p.DocumentDigest), "signedBy": p.SignedBy, "superseded": superseded,
		}}, at))
		done, err := t.Commit(ctx)
		if lostRace(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("carrying batch %d into policy %s: %w", at.LedgerSeq, doc.ID, err)
		}
		s.policies.wrote(policyHeadKey(doc.ID), head, done)
		return nil
	}
}

// stageActive writes the version that the ledger put in force: the proposal
// that was signed, or one that this store never saw, with the signatures that
// the ledger holds.
func (s *Service) stageActive(t *store.Tx, doc *policy.Policy, e *policy.Envelope, b *ledger.Batch, known versions) *Policy {
	digest := e.PayloadDigest()
	var p *Policy
	for _, open := range known.open {
		if open.DocumentDigest == digest {
			p = open
		}
	}
	if p == nil {
		p = &Policy{
			ID: doc.ID, Version: doc.Version, Name: doc.Name, Scope: doc.Scope, Rules: doc.Rules, Retired: doc.Retired,
			Document: e.Payload, DocumentDigest: digest, ProposedBy: SystemActor().Name, CreatedAt: doc.CreatedAt, name: newVersionName(),
		}
		if doc.Replaces != nil {
			p.Replaces = *doc.Replaces
		}
	}
	if charter, _ := s.fold.Charter(); charter != nil {
		p.SignedBy = custodiansOf(charter, e)
	}
	p.Signatures, p.Status, p.LedgerSeq, p.UpdatedAt = e.Signatures, PolicyActive, b.Sequence, b.Time
	t.PutIf(policyVersionKey(p.ID, p.name), encode(p), p.rev)
	p.stageState(t)
	return p
}

// storedBinding is what a token id is, as the ledger has it.
type storedBinding struct {
	Binding *policy.Binding `json:"binding"`
	Carried
}

func (s *Service) carryBinding(ctx context.Context, d *policy.Binding, at Carried) error {
	return carryInto[storedBinding](ctx, s, nil, bindingPrefix+d.TokenID, at, func(*storedBinding) (*storedBinding, happening) {
		return &storedBinding{d, at}, happening{"token.bound", "token", d.TokenID, map[string]any{
			"network": d.Network, "chainId": d.ChainID, "contractAddress": d.ContractAddress.String(), "templateId": d.TemplateID,
			"policyId": d.PolicyID, "performers": d.Performers, "version": d.Version, "verified": d.Verified,
		}}
	}, nil)
}

// storedFreeze is whether a subject is frozen, as the ledger has it.
type storedFreeze struct {
	Frozen bool   `json:"frozen"`
	Event  string `json:"event,omitzero"` // what was seen, where no custodian signed
	Carried
}

func subjectOf(sub policy.Subject) (kind, id string) {
	switch {
	case sub.TokenID != "":
		return "token", sub.TokenID
	case sub.Person != "":
		return "person", sub.Person
	}
	return "appliance", sub.ApplianceID
}

func (s *Service) carryFreeze(ctx context.Context, kind, id string, frozen bool, event string, at Carried) error {
	action := kind + ".unfrozen_by_custodians"
	if frozen {
		action = kind + ".frozen_in_ledger"
	}
	return carryInto[storedFreeze](ctx, s, nil, freezePrefix+kind+"/"+id, at, func(*storedFreeze) (*storedFreeze, happening) {
		return &storedFreeze{frozen, event, at}, happening{action, kind, id, map[string]any{"frozen": frozen, "event": event}}
	}, nil)
}

// storedEvent is the latest join or recovery, kept so that its audit entry is
// written once.
type storedEvent struct {
	Document []byte `json:"document"`
	Carried
}

func (s *Service) carryInstance(ctx context.Context, kind, action string, e *policy.Envelope, at Carried) error {
	return carryInto[storedEvent](ctx, s, nil, instancePrefix+kind, at, func(*storedEvent) (*storedEvent, happening) {
		return &storedEvent{e.Payload, at}, happening{action, "ledger", s.fold.Instance(), map[string]any{"documentDigest": string(e.PayloadDigest())}}
	}, nil)
}
