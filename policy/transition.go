package policy

import (
	"fmt"
	"slices"
)

// CheckFirstCharter takes charter 1: version 1, signed by every custodian that it names, each with
// a key of his own. Errors wrap ErrDocument or ErrEnvelope.
func CheckFirstCharter(e *Envelope) (*Charter, error) {
	c, err := ParseCharter(e.Payload)
	if err != nil {
		return nil, err
	}
	if c.Version != 1 {
		return nil, fmt.Errorf("%w: charter: version %d, the first is 1", ErrDocument, c.Version)
	}
	signed, err := c.VerifyCustodians(DocCharter, e)
	if err != nil {
		return nil, err
	}
	for _, m := range c.Custodians.Members {
		if !slices.Contains(signed, m.Name) {
			return nil, fmt.Errorf("%w: charter 1 is not signed by custodian %s", ErrEnvelope, m.Name)
		}
	}
	return c, nil
}

// CheckCharter takes the charter that replaces old, whose payload has the digest: next version,
// same instance, environment and tenant, carrying the signatures of old's threshold and of nobody
// who is not a custodian of old. Errors wrap ErrDocument or ErrEnvelope.
func CheckCharter(old *Charter, digest Digest, e *Envelope) (*Charter, error) {
	if _, err := old.VerifyThreshold(DocCharter, e); err != nil {
		return nil, err
	}
	c, err := ParseCharter(e.Payload)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Version != old.Version+1:
		err = fmt.Errorf("version %d after %d", c.Version, old.Version)
	case c.Replaces == nil || *c.Replaces != digest:
		err = fmt.Errorf("version %d does not replace the charter in force, %s", c.Version, digest)
	case c.Instance != old.Instance:
		err = fmt.Errorf("instance %s, this is %s", c.Instance, old.Instance)
	case c.Environment != old.Environment:
		err = fmt.Errorf("environment %s, which cannot change from %s", c.Environment, old.Environment)
	case c.TenantID != old.TenantID:
		err = fmt.Errorf("tenant %s, this is %s", c.TenantID, old.TenantID)
	}
	if err != nil {
		return nil, refused("charter", err)
	}
	return c, nil
}

// VerifyCustodians checks an envelope of that kind of document and names the distinct custodians
// who signed it, sorted: one seat each, however many keys. Errors wrap ErrEnvelope.
func (c *Charter) VerifyCustodians(document string, e *Envelope) ([]string, error) {
	ids, err := e.Verify(PayloadType(document), func(keyid string) (PublicKey, bool) {
		_, key, ok := c.CustodianByKey(keyid)
		return key, ok
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, id := range ids {
		m, _, _ := c.CustodianByKey(id)
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// VerifyThreshold is VerifyCustodians, and an error where fewer than the threshold signed.
func (c *Charter) VerifyThreshold(document string, e *Envelope) ([]string, error) {
	names, err := c.VerifyCustodians(document, e)
	if err != nil {
		return nil, err
	}
	if len(names) < int(c.Custodians.Threshold) || c.Custodians.Threshold == 0 {
		return nil, fmt.Errorf("%w: signed by %d custodians, the threshold is %d", ErrEnvelope, len(names), c.Custodians.Threshold)
	}
	return names, nil
}

// verifyPerson checks an envelope that one person of the charter signed, with one key or several,
// and names him.
func (c *Charter) verifyPerson(document string, e *Envelope) (string, error) {
	ids, err := e.Verify(PayloadType(document), func(keyid string) (PublicKey, bool) {
		_, key, ok := c.PersonByKey(keyid)
		return key, ok
	})
	if err != nil {
		return "", err
	}
	person, _, _ := c.PersonByKey(ids[0])
	for _, id := range ids[1:] {
		if other, _, _ := c.PersonByKey(id); other.Name != person.Name {
			return "", fmt.Errorf("%w: signed by %s and %s, want one person", ErrEnvelope, person.Name, other.Name)
		}
	}
	return person.Name, nil
}

// VerifyDecision checks a decision's envelope: signed by one person of the charter, whom it names
// as its approver. Whether the approver counts is Judge's question. Errors wrap ErrDocument or
// ErrEnvelope.
func (c *Charter) VerifyDecision(e *Envelope) (*Decision, error) {
	d, _, err := c.OpenDecision(e)
	return d, err
}

// OpenDecision is VerifyDecision, and the decision's intent, read.
func (c *Charter) OpenDecision(e *Envelope) (*Decision, *Intent, error) {
	signer, err := c.verifyPerson(DocDecision, e)
	if err != nil {
		return nil, nil, err
	}
	d, i, err := parseDecision(e.Payload)
	if err != nil {
		return nil, nil, err
	}
	if d.Approver != signer {
		return nil, nil, fmt.Errorf("%w: the decision names %s, the signature is %s's", ErrEnvelope, d.Approver, signer)
	}
	return d, i, nil
}

// VerifyRequest checks a request's envelope: signed by one person of the charter, the requester.
// Errors wrap ErrDocument or ErrEnvelope.
func (c *Charter) VerifyRequest(e *Envelope) (*Request, error) {
	signer, err := c.verifyPerson(DocRequest, e)
	if err != nil {
		return nil, err
	}
	r, err := ParseRequest(e.Payload)
	if err != nil {
		return nil, err
	}
	if r.Requester != signer {
		return nil, fmt.Errorf("%w: the request names %s, the signature is %s's", ErrEnvelope, r.Requester, signer)
	}
	return r, nil
}
