package main

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// joinInstance lets this appliance take part in an instance that is there. The
// ceremony's file names the same instance, people and threshold. Token, custody and
// keys are made as for a first appliance; then the charter must have this appliance,
// and the custodians' threshold signs what its seal finds in the store.
func (f *founding) joinInstance(ctx context.Context) error {
	status, err := f.door.Status(ctx)
	if err != nil {
		return sealAway(f.seal.Socket, err)
	}
	if f.seal.Charter1 == "" {
		return usagef("%s names no charter1; an appliance that joins is rooted in the instance's: write its digest there and start the seal again", f.plan.SealConfig)
	}
	if status.ApplianceID != f.seal.Appliance {
		return usagef("%s is of appliance %s, the seal at %s is of %s", f.plan.SealConfig, f.seal.Appliance, f.seal.Socket, status.ApplianceID)
	}
	return f.run(ctx, []step{
		{"shares", f.splitPINs},
		{"token", f.makeToken},
		{"unsealed", f.unseal},
		{"credential", f.writeCredential},
		{"keys", f.makeKeys},
		{"in the charter", f.inCharter},
		{"joined", f.signJoin},
	})
}

// inCharter ends the run until a charter is in force that has this appliance.
func (f *founding) inCharter(ctx context.Context) error {
	if f.c.charter1 == "" {
		f.c.charter1 = string(f.seal.Charter1)
	}
	_, fold, err := f.c.verified(ctx)
	if err != nil {
		return err
	}
	charter, _ := fold.Charter()
	want := f.appliance()
	have, ok := charter.Appliance(want.ID)
	if ok && have.LedgerKey == want.LedgerKey && string(have.UnsealKey) == string(want.UnsealKey) {
		return nil
	}
	text, err := json.Marshal(want, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return err
	}
	path := f.path("appliance.json")
	if err := writeWhole(path, append(text, '\n'), 0o644, nil); err != nil {
		return err
	}
	return refused("the charter in force has no appliance %s with these keys. Its entry is in %s: the custodians put it among the charter's appliances (mintwarden charter show --next, propose, sign); then run this again", want.ID, path)
}

// signJoin collects the threshold's signatures over what this seal found in the
// store, and hands them to it.
func (f *founding) signJoin(ctx context.Context) error {
	_, fold, err := f.c.verified(ctx)
	if err != nil {
		return err
	}
	if stands, err := f.takesPart(ctx, fold); err != nil {
		return err
	} else if stands {
		return f.c.tell(f.joined(), "Appliance %s takes part already.", f.seal.Appliance)
	}
	charter, _ := fold.Charter()
	e, err := f.joinEnvelope(ctx, charter, fold)
	if err != nil {
		return err
	}
	if _, err := f.await(ctx, "unsealed", func(s *seal.Status) bool { return !s.Sealed }); err != nil {
		return err
	}
	done, err := f.door.Join(ctx, e)
	if kind, _ := seal.KindOf(err); kind == seal.KindNotAuthor {
		return refused("%w; bring %s there: mintwarden charter admit --document %s --socket SOCKET", err, f.joinFile(), f.joinFile())
	}
	if err != nil {
		return err
	}
	// The seal goes by it once it has read it.
	if _, err := f.await(ctx, "through with the store", func(s *seal.Status) bool { return !s.Sealed && s.Doubt == nil }); err != nil {
		return err
	}
	return f.c.tell(f.joined(), "Appliance %s takes part since batch %d.", f.seal.Appliance, done.Sequence)
}

func (f *founding) joined() *begunInstance {
	return &begunInstance{Instance: f.plan.Instance, ApplianceID: f.seal.Appliance, Charter1: f.seal.Charter1}
}

// takesPart is true of an appliance that joined, and needs no other join. One that
// another appliance recorded stands in for its memory until it writes a batch itself:
// from then on its seal alone can tell whether it remembers that.
func (f *founding) takesPart(ctx context.Context, fold *ledger.Fold) (bool, error) {
	if _, ok := fold.Joined(f.seal.Appliance); !ok {
		return false, nil
	}
	unused := false
	for value, err := range keptBatches(f.c.dir) {
		if err != nil {
			return false, err
		}
		b, err := ledger.ParseBatch(value)
		if err != nil {
			return false, err
		}
		if b.Author == f.seal.Appliance {
			unused = false
			continue
		}
		for _, r := range b.Records {
			if r.Join == nil {
				continue
			}
			j, err := ledger.ParseJoin(r.Join.Payload)
			if err != nil {
				return false, err
			}
			unused = unused || j.ApplianceID == f.seal.Appliance
		}
	}
	if unused {
		return true, nil
	}
	status, err := f.await(ctx, "unsealed and through with the store", func(s *seal.Status) bool {
		return !s.Sealed && (s.Doubt == nil || s.Doubt.Kind == "stranger")
	})
	return err == nil && status.Doubt == nil, err
}

// joinFile is where the document and its signatures are.
func (f *founding) joinFile() string {
	if f.opts.document != "" {
		return f.opts.document
	}
	return f.path("join.json")
}

// joinEnvelope is the join document with enough signatures: those in the file, and
// those of custodians whose keys are reached from here.
func (f *founding) joinEnvelope(ctx context.Context, charter *policy.Charter, fold *ledger.Fold) (*policy.Envelope, error) {
	g := &gathering{file: f.joinFile(), consent: consent{yes: f.opts.yes}}
	e, err := g.begin(act{kind: policy.DocJoin, draft: func() (interface{ Encode() ([]byte, error) }, error) {
		sequence, head := fold.Head()
		return &ledger.Join{Format: policy.Format, Instance: charter.Instance, ApplianceID: f.seal.Appliance, LedgerKey: f.me.LedgerKey, UnsealKey: f.me.UnsealKey,
			Sequence: sequence, Head: head, CreatedAt: policy.Seconds(time.Now())}, nil
	}}, charter)
	if err != nil {
		return nil, err
	}
	d, err := ledger.ParseJoin(e.Payload)
	if err != nil || d.ApplianceID != f.seal.Appliance || d.LedgerKey != f.me.LedgerKey {
		return nil, unverified("%s is no join of this appliance; take it away, and %s", g.file, g.file+draftEnding)
	}
	if sequence, ok := fold.Recorded(e.PayloadDigest()); ok {
		return nil, refused("the join in %s was recorded in batch %d, and the appliance has lost its memory since; take it and %s away and run this again for a new one", g.file, sequence, g.file+draftEnding)
	}
	return f.completeJoin(ctx, g, charter, d, e)
}

// completeJoin adds the signatures of custodians whose keys are reached from here.
func (f *founding) completeJoin(ctx context.Context, g *gathering, charter *policy.Charter, d *ledger.Join, e *policy.Envelope) (*policy.Envelope, error) {
	for _, m := range charter.Custodians.Members {
		if len(signers(charter, e)) >= int(charter.Custodians.Threshold) {
			break
		}
		s, err := f.signer(ctx, m.Name)
		if err != nil {
			return nil, err
		}
		if s == nil {
			continue
		}
		f.c.people().printf("Appliance %s, with the ledger key %s, takes part from batch %d on, whose hash is %s.\n", printable(d.ApplianceID), d.LedgerKey, d.Sequence, d.Head)
		if err := f.c.ask(ctx, &g.consent, "Does "+m.Name+" sign this?"); err != nil {
			return nil, err
		}
		if err := e.AddSignature(s); err != nil {
			return nil, err
		}
		if err := writeWhole(g.file, append(e.Encode(), '\n'), 0o644, nil); err != nil {
			return nil, err
		}
	}
	if have := len(signers(charter, e)); have < int(charter.Custodians.Threshold) {
		return nil, refused("the join has %d of %d signatures; the others sign with: mintwarden charter admit --document %s --key FILE (where nobody signed yet, %s goes with it); then run this again", have, charter.Custodians.Threshold, g.file, g.file+draftEnding)
	}
	return e, nil
}
