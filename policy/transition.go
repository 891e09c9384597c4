package policy

import "fmt"

// Check is nil if the charter is consistent in itself. Errors wrap ErrDocument.
func (c *Charter) Check() error {
	if err := c.check(); err != nil {
		return refused("charter", err)
	}
	return nil
}

// CheckFirstCharter takes charter 1: version 1, signed by every custodian that it names, each with
// a key of his own. Errors wrap ErrDocument or ErrEnvelope.
func CheckFirstCharter(e *Envelope) (*Charter, error) { return nil, fmt.Errorf("%w", ErrEnvelope) }

// CheckCharter takes the charter that replaces old, whose payload has the digest: next version,
// same instance, environment and tenant, carrying the signatures of old's threshold and of nobody
// who is not a custodian of old. Errors wrap ErrDocument or ErrEnvelope.
func CheckCharter(old *Charter, digest Digest, e *Envelope) (*Charter, error) {
	return nil, fmt.Errorf("%w", ErrEnvelope)
}

// VerifyCustodians checks an envelope of the kind of document and names the distinct custodians
// who signed it, sorted. Errors wrap ErrEnvelope.
func (c *Charter) VerifyCustodians(document string, e *Envelope) ([]string, error) {
	return nil, fmt.Errorf("%w", ErrEnvelope)
}

// VerifyThreshold is VerifyCustodians, and an error where fewer than the threshold signed.
func (c *Charter) VerifyThreshold(document string, e *Envelope) ([]string, error) {
	return nil, fmt.Errorf("%w", ErrEnvelope)
}

// VerifyDecision checks a decision's envelope: signed by one person of the charter, whom it names
// as its approver. Errors wrap ErrDocument or ErrEnvelope.
func (c *Charter) VerifyDecision(e *Envelope) (*Decision, error) {
	return nil, fmt.Errorf("%w", ErrEnvelope)
}

// VerifyRequest checks a request's envelope: signed by one person of the charter, the requester.
// Errors wrap ErrDocument or ErrEnvelope.
func (c *Charter) VerifyRequest(e *Envelope) (*Request, error) {
	return nil, fmt.Errorf("%w", ErrEnvelope)
}

func (c *Charter) check() error { return checkFormat(c.Format) }

// CheckPolicy is nil if the policy, well-formed in itself, may be in force under the charter.
// Errors wrap ErrDocument.
func CheckPolicy(p *Policy, c *Charter) error { return fmt.Errorf("%w", ErrDocument) }

// Check is nil if the rule is well-formed in itself. Errors wrap ErrDocument.
func (r *Rule) Check() error { return fmt.Errorf("%w", ErrDocument) }
