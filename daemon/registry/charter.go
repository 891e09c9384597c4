package registry

import (
	"context"
	"fmt"

	"github.com/mintwarden/mintwarden/policy"
)

// Charter is the charter in force, as the ledger holds it.
type Charter struct {
	Body   *policy.Charter
	Digest policy.Digest
	// Document is the exact bytes that the custodians signed.
	Document []byte
	// SignedBy names the custodians who signed, sorted.
	SignedBy []string
	// Sequence is the batch that put it in force.
	Sequence uint64
}

// Charter is the charter in force. Before the ledger is carried in, the error
// is the same as [Service.Ready]'s.
func (s *Service) Charter(ctx context.Context) (*Charter, error) {
	v, _, err := load[storedCharter](ctx, s.store, charterKey)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, errNotReady
	}
	body, err := policy.ParseCharter(v.Document)
	if err != nil {
		return nil, fmt.Errorf("registry: the value of %s: %w", charterKey, err)
	}
	return &Charter{Body: body, Digest: v.Digest, Document: v.Document, SignedBy: v.SignedBy, Sequence: v.LedgerSeq}, nil
}
