package sealed

import (
	"context"
	"slices"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Renew takes one custodian's part in a renewal of the shares, on a document that he
// signed, or says how far it is. With the last part this process ends: the keeper has
// the token take new PINs.
//
// Who the custodians are that get shares, the ledger says, which must have been read and
// not be in doubt. Who was one before, and has a share still, gives it under the key
// that custody.json knows; he has no other say.
func (r *room) Renew(ctx context.Context, q seal.RenewRequest) (_ *seal.Renewal, err error) {
	defer r.count(seal.OpRenew, &err)
	if r.custody.keeper == nil {
		return nil, seal.Errorf(seal.KindInvalid, "this seal has no keeper, and so no custody")
	}
	known := r.known()
	if known.fold != nil && !known.ready {
		return nil, seal.Errorf(seal.KindStore, "who the custodians are is in the ledger, which is not read, or in doubt: %v", known.doubt)
	}
	if known.fold == nil || headOf(known.fold) == 0 {
		return nil, seal.Errorf(seal.KindInvalid, "there is no charter that would say who gets shares")
	}
	charter, digest := known.fold.Charter()
	if err := r.renewable(known.fold, charter); err != nil {
		return nil, err
	}
	part := &renewPart{Charter: digest, Instance: charter.Instance, Custodians: charter.Custodians}
	if q.Envelope != nil {
		if err := r.renewDocument(charter, digest, q.Envelope, part); err != nil {
			return nil, err
		}
	}
	out, err := r.custody.keeper.renew(ctx, part)
	if _, told := seal.KindOf(err); err != nil && !told {
		return nil, seal.Errorf(seal.KindStore, "whether it was taken is not known: %v", err)
	}
	if err != nil {
		return nil, err
	}
	out.UnsealKey = r.unsealKey
	return out, nil
}

// renewable refuses where the token's PINs are not this appliance's alone: others'
// custodies hold them, too, and could not unseal any more. One that is suspended is
// given a custody of the new ones before it takes part again.
func (r *room) renewable(fold *ledger.Fold, c *policy.Charter) error {
	seen, err := readCustodians(r.custody.state)
	if err != nil {
		return seal.Errorf(seal.KindStore, "who the custodians were is not known: %v", err)
	}
	if seen != nil && seen.Version > c.Version {
		return seal.Errorf(seal.KindStore, "the store shows charter %d, and this appliance has seen %d", c.Version, seen.Version)
	}
	other, err := r.usesToken(fold, c)
	if err == nil && other != "" {
		err = seal.Errorf(seal.KindInvalid, "appliance %s uses the same token: its custody would hold PINs that the token takes no more; a custodian suspends it first", other)
	}
	return err
}

// usesToken is another appliance of the charter that reaches this one's token and is
// not suspended. A seal that is shown a log without its suspension is not the author:
// the anchor that they share names a later batch.
func (r *room) usesToken(fold *ledger.Fold, c *policy.Charter) (other string, err error) {
	return r.sharesTokenWith(c, func(id string) bool { return !fold.Frozen(policy.Subject{ApplianceID: id}) })
}

// sharesToken is another appliance of the charter that reaches this one's token, if
// there is one.
func (r *room) sharesToken(c *policy.Charter) (other string, err error) {
	return r.sharesTokenWith(c, func(string) bool { return true })
}

func (r *room) sharesTokenWith(c *policy.Charter, counts func(id string) bool) (other string, err error) {
	me, ok := c.Appliance(r.appliance)
	if !ok {
		return "", seal.Errorf(seal.KindInvalid, "appliance %s is not in the charter", r.appliance)
	}
	for _, a := range c.Appliances {
		if a.ID != me.ID && a.Token.Serial == me.Token.Serial && counts(a.ID) {
			return a.ID, nil
		}
	}
	return "", nil
}

// renewDocument fills part with what the document says, once who signed it is verified.
func (r *room) renewDocument(c *policy.Charter, charter policy.Digest, e *policy.Envelope, part *renewPart) error {
	invalid := func(format string, args ...any) error { return seal.Errorf(seal.KindInvalid, format, args...) }
	names, err := c.VerifyCustodians(policy.DocRenew, e)
	former := false
	if err != nil {
		had, custodyErr := r.verifyMembers(policy.DocRenew, e)
		if custodyErr != nil {
			return invalid("%v", err)
		}
		names, former = had, true
	}
	if len(names) != 1 {
		return invalid("a part in a renewal is one custodian's, the document is signed by %v", names)
	}
	d, err := policy.ParseRenew(e.Payload)
	switch {
	case err != nil:
		return invalid("%v", err)
	case d.Instance != c.Instance || d.ApplianceID != r.appliance:
		return invalid("custodian %s: the document is for appliance %s of instance %s, this is %s of %s", names[0], d.ApplianceID, d.Instance, r.appliance, c.Instance)
	case d.Charter != charter:
		return invalid("custodian %s: the document is for the custodians of charter %s, in force is %s", names[0], d.Charter, charter)
	case former && (len(d.ReceiveKey) > 0 || d.Received != ""):
		return invalid("%s signs with a key that is none of the charter's custodians': he gives his share, and gets none", names[0])
	}
	part.Custodian, part.Nonce, part.Document = names[0], d.Nonce, e.PayloadDigest()
	part.Share, part.ReceiveKey, part.Received = d.Share, d.ReceiveKey, d.Received
	return nil
}

// verifyMembers names the members of the custody who signed.
func (r *room) verifyMembers(document string, e *policy.Envelope) ([]string, error) {
	members, err := seal.ReadCustody(r.custody.state)
	if err != nil {
		return nil, err
	}
	ids, err := e.Verify(policy.PayloadType(document), func(keyid string) (policy.PublicKey, bool) {
		_, key, ok := members.MemberByKey(keyid)
		return key, ok
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, id := range ids {
		m, _, _ := members.MemberByKey(id)
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
