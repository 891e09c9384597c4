package callback

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

const (
	// refusedFor is how long what was refused is not looked at again: a policy may have a window that opens.
	refusedFor = 10 * time.Minute
	// maxRefusals bounds what is refused, and written into the audit log, in one round.
	maxRefusals = 20
	// failedFor is how long what nothing could be learned of makes room for what is behind it.
	failedFor = 30 * time.Second
	// maxFailures is after how many a round is over: each may have taken as long as a question may.
	maxFailures = 3
	// maxRemembered bounds the refusals that are remembered; what is forgotten is judged, and told of, once more.
	maxRemembered = 4096
)

// reason says why a transaction is refused. The zero value is invalid.
type reason string

// The reasons, as the metric has them.
const (
	reasonBlind     reason = "blind"     // only a hash, or nothing, is there to be signed
	reasonMalformed reason = "malformed" // the answer is not what is published
	reasonStranger  reason = "stranger"  // its sender is no wallet that signs for Qustody
	reasonCall      reason = "call"      // it is no call that we sign
	reasonShown     reason = "shown"     // what is shown is not what would be signed
	reasonChanged   reason = "changed"   // it became an operation before, with other bytes
	reasonRefused   reason = "operation" // the operation is refused: by policy, the chain, the token's state
)

var reasons = []reason{reasonBlind, reasonMalformed, reasonStranger, reasonCall, reasonShown, reasonChanged, reasonRefused}

// refusals remembers what was refused lately, here or by Qustody. Safe for concurrent use.
type refusals struct {
	mu    sync.Mutex
	of    map[string]refusal
	order []string // oldest first
}

type refusal struct {
	text  string
	until time.Time
}

func newRefusals() *refusals { return &refusals{of: map[string]refusal{}} }

// lately is why something was refused so lately that it is not looked at again.
func (r *refusals) lately(ref string, now time.Time) (text string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	have, ok := r.of[ref]
	return have.text, ok && now.Before(have.until)
}

// put remembers a refusal and reports whether it is news.
func (r *refusals) put(ref, text string, until time.Time) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	have, ok := r.of[ref]
	if !ok {
		if len(r.order) == maxRemembered {
			delete(r.of, r.order[0])
			r.order = r.order[1:]
		}
		r.order = append(r.order, ref)
	}
	r.of[ref] = refusal{text, until}
	return !ok || have.text != text
}

// takeAll takes what Qustody lists, page by page. One transaction's trouble holds up no other, but what fails
// again and again is left for the next round. A round goes on where the one before stopped, and from the list's end the
// next one begins anew: what is refused stays in the list, and hides nothing behind it, however much it is.
func (s *Service) takeAll(ctx context.Context) error {
	refused := 0
	var failed []error
	first := s.page
	s.page = 0
	for page := first; page < first+maxPages; page++ {
		listed, err := s.client.pending(ctx, page*pageSize)
		if err != nil {
			return errors.Join(append(failed, err)...)
		}
		// gofail: var callbackAfterList struct{}
		if len(listed) > pageSize {
			return errors.Join(append(failed, fmt.Errorf("%w: %d transactions on a page of %d", errAnswer, len(listed), pageSize))...)
		}
		for _, t := range listed {
			ok, err := s.take(ctx, t.ID)
			switch {
			case err != nil:
				// Those behind it come first in the next rounds.
				s.failures.put(t.ID, "", s.now().Add(failedFor))
				failed = append(failed, fmt.Errorf("transaction %s: %w", t.ID, err))
			case !ok:
				refused++
			}
			if refused == maxRefusals || len(failed) == maxFailures || ctx.Err() != nil {
				s.page = page
				return errors.Join(failed...)
			}
		}
		if len(listed) < pageSize {
			return errors.Join(failed...)
		}
	}
	s.page = first + maxPages
	return errors.Join(failed...)
}

// take makes one transaction an operation; ok is false if it was refused now. An error is nobody's fault but the
// network's or the store's: it is tried again.
func (s *Service) take(ctx context.Context, ref string) (ok bool, err error) {
	for _, r := range []*refusals{s.refusals, s.failures} {
		if _, ok := r.lately(ref, s.now()); ok {
			return true, nil
		}
	}
	// Whether it still is what it was is asked when it is to be signed.
	if _, known, err := s.operations.OfForeign(ctx, ref); known || err != nil {
		return err == nil, err
	}
	// What a store near its quota does not take waits at Qustody.
	if err := s.store.Room(); err != nil {
		return false, err
	}
	// gofail: var callbackBeforePayload struct{}
	p, err := s.client.payload(ctx, ref)
	// gofail: var callbackAfterPayload struct{}
	var answer *refusedError
	switch {
	case errors.As(err, &answer) && (answer.Status == http.StatusNotFound || answer.Status == http.StatusConflict || answer.Status == http.StatusGone):
		return true, nil // it went on meanwhile
	case errors.Is(err, errAnswer):
		return s.refuse(ctx, ref, reasonMalformed, err.Error(), nil)
	case err != nil:
		return false, err
	case !p.Status.signable():
		return true, nil
	case len(p.unsigned) == 0:
		return s.refuse(ctx, ref, reasonBlind, "the payload has no unsignedTransaction; no hash is signed that was not computed here", nil)
	}
	wallet, err := s.sender(ctx, p.SourceAddress)
	if err != nil {
		return false, err
	}
	seen := map[string]any{"signingHash": tx.HashOf(p.unsigned).String()}
	if wallet == nil {
		return s.refuse(ctx, ref, reasonStranger, fmt.Sprintf("sourceAddress is %s, no wallet that signs for Qustody", said(p.SourceAddress)), seen)
	}
	seen["walletId"] = wallet.ID
	read, err := policy.ReadForeign(wallet.Scheme.Kind(), wallet.Address, p.unsigned)
	if err != nil {
		return s.refuse(ctx, ref, reasonCall, err.Error(), seen)
	}
	if why := p.shown(ref, wallet.Address, read); why != "" {
		return s.refuse(ctx, ref, reasonShown, why, seen)
	}
	o, err := s.operations.SubmitForeign(ctx, s.actor, operation.Foreign{Ref: ref, WalletID: wallet.ID, Unsigned: p.unsigned})
	var no *registry.Refusal
	var changed *operation.ChangedError
	switch {
	case errors.As(err, &changed):
		seen["operationId"] = changed.OperationID
		return s.refuse(ctx, ref, reasonChanged, changed.Error(), seen)
	case errors.As(err, &no) && no.Type != registry.RateLimited && no.Type != registry.NodeUnavailable:
		return s.refuse(ctx, ref, reasonRefused, no.Error(), seen)
	case err != nil:
		return false, err
	}
	s.metrics.taken.Inc()
	s.log.Info("callback: a transaction became an operation", "transaction", ref, "operation", o.ID, "type", o.Type)
	return true, nil
}

// sender is the wallet of the config that has the address; nil if none has.
func (s *Service) sender(ctx context.Context, address string) (*registry.Wallet, error) {
	for _, w := range s.wallets {
		have, err := s.registry.Wallet(ctx, w.ID)
		if err != nil {
			return nil, err
		}
		if have.Status == registry.WalletActive && sameAddress(address, &have.Address) {
			return have, nil
		}
	}
	return nil, nil
}

// refuse remembers a refusal and, if it is news, writes it into the audit log.
func (s *Service) refuse(ctx context.Context, ref string, why reason, text string, seen map[string]any) (ok bool, err error) {
	s.metrics.refused.WithLabelValues(string(why)).Inc()
	if !s.refusals.put(ref, text, s.now().Add(refusedFor)) {
		return false, nil
	}
	s.log.Warn("callback: a transaction is refused", "transaction", ref, "reason", string(why), "message", text)
	metadata := map[string]any{"reason": string(why), "message": text}
	for k, v := range seen {
		metadata[k] = v
	}
	t := s.store.Tx()
	t.Audit(s.draft("callback.refused", "transaction", ref, metadata))
	if _, err = t.Commit(ctx); err != nil {
		s.refusals.put(ref, "", time.Time{}) // told of once more, for nobody knows whether it was
	}
	return false, err
}
