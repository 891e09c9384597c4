package operation

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

const (
	// papersKept is how many documents of each kind are kept read.
	papersKept = 1024
	// paperSize bounds one that is kept, in bytes: ordinary intents have less than 2 KiB.
	paperSize = 8 << 10
)

// papers keeps what was read of intents and decisions, by the digest of their exact bytes, for the same ones
// come by many times: at the request, with each approval, with what the ledger records of them, at the
// signature. What is kept is never changed. Safe for concurrent use.
type papers struct {
	mu        sync.Mutex
	intents   shelf[intentPaper]
	decisions shelf[decisionPaper]
}

type intentPaper struct {
	body   []byte
	intent *policy.Intent
}

type decisionPaper struct {
	decision *policy.Decision
	intent   *policy.Intent
}

func newPapers() *papers {
	return &papers{intents: newShelf[intentPaper](), decisions: newShelf[decisionPaper]()}
}

// shelf is the last papersKept values.
type shelf[T any] struct {
	at    map[policy.Digest]T
	order []policy.Digest
	next  int
}

func newShelf[T any]() shelf[T] {
	return shelf[T]{at: map[policy.Digest]T{}, order: make([]policy.Digest, papersKept)}
}

func (s *shelf[T]) put(d policy.Digest, v T) {
	if _, known := s.at[d]; known {
		return
	}
	delete(s.at, s.order[s.next])
	s.at[d], s.order[s.next] = v, d
	s.next = (s.next + 1) % len(s.order)
}

func (p *papers) keepIntent(d policy.Digest, body []byte, i *policy.Intent) {
	if len(body) > paperSize {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intents.put(d, intentPaper{body, i})
}

func (p *papers) keepDecision(d policy.Digest, doc *policy.Decision, i *policy.Intent) {
	if len(doc.Intent) > paperSize {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decisions.put(d, decisionPaper{doc, i})
}

// decision reads the decision in an envelope, and its intent. It verifies nothing.
func (p *papers) decision(e *policy.Envelope) (*policy.Decision, *policy.Intent, error) {
	digest := e.PayloadDigest()
	p.mu.Lock()
	known, ok := p.decisions.at[digest]
	p.mu.Unlock()
	if ok {
		return known.decision, known.intent, nil
	}
	d, err := policy.ParseDecision(e.Payload)
	if err != nil {
		return nil, nil, err
	}
	i, err := policy.ParseIntent(d.Intent)
	if err != nil {
		return nil, nil, err
	}
	p.keepDecision(digest, d, i)
	return d, i, nil
}

// intentOf is an operation's intent: its exact bytes, and what they say.
func (s *Service) intentOf(ctx context.Context, o *Operation) ([]byte, *policy.Intent, error) {
	s.papers.mu.Lock()
	known, ok := s.papers.intents.at[o.IntentDigest]
	s.papers.mu.Unlock()
	if ok {
		return known.body, known.intent, nil
	}
	kvs, err := s.stored(ctx, o.ID, store.OpIntent(o.ID), "")
	if err != nil || len(kvs) != 1 {
		return nil, nil, errors.Join(err, missing(false, "the intent of "+o.ID))
	}
	body, err := IntentText(kvs[0].Value)
	if err != nil {
		return nil, nil, err
	}
	i, err := policy.ParseIntent(body)
	if err != nil {
		return nil, nil, fmt.Errorf("operation: stored intent of %s: %w", o.ID, err)
	}
	if policy.DigestOf(body) == o.IntentDigest {
		s.papers.keepIntent(o.IntentDigest, body, i)
	}
	return body, i, nil
}
