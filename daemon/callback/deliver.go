package callback

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// Wanted asks Qustody once more for a transaction that is to be signed now: it is [operation.Courier]'s.
func (s *Service) Wanted(ctx context.Context, ref string, unsigned []byte) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	// gofail: var callbackBeforeWanted struct{}
	p, err := s.client.payload(ctx, ref)
	// gofail: var callbackAfterWanted struct{}
	var answer *refusedError
	if errors.As(err, &answer) && (answer.Status == http.StatusNotFound || answer.Status == http.StatusConflict || answer.Status == http.StatusGone) {
		return s.gone(ctx, ref, err)
	}
	if err != nil {
		return err
	}
	changed := func(format string, args ...any) error {
		return &operation.Unwanted{Changed: true, Reason: fmt.Sprintf("transaction "+ref+" changed after it was taken: "+format, args...)}
	}
	switch {
	case p.Status.givenUp() || p.Status.taken():
		return &operation.Unwanted{Reason: fmt.Sprintf("transaction %s is %s at Qustody and asks for no signature any more", ref, p.Status)}
	case !p.Status.signable():
		return fmt.Errorf("callback: transaction %s is in another state at Qustody", ref)
	case p.TransactionID != ref:
		return changed("the payload is another transaction's")
	case !bytes.Equal(p.unsigned, unsigned):
		return changed("its bytes are those of %s, people were shown %s", tx.HashOf(p.unsigned), tx.HashOf(unsigned))
	case !strings.EqualFold(p.SigningHash, tx.HashOf(unsigned).String()):
		return changed("its signingHash is %s", said(p.SigningHash))
	}
	return nil
}

// gone says whether a transaction that has no payload any more will ever have one again.
func (s *Service) gone(ctx context.Context, ref string, cause error) error {
	t, err := s.client.transaction(ctx, ref)
	var answer *refusedError
	switch {
	case errors.As(err, &answer) && (answer.Status == http.StatusNotFound || answer.Status == http.StatusGone):
		return &operation.Unwanted{Reason: fmt.Sprintf("transaction %s is not known to Qustody any more", ref)}
	case err != nil:
		return err
	case t.Status.givenUp() || t.Status.taken():
		return &operation.Unwanted{Reason: fmt.Sprintf("transaction %s is %s at Qustody and asks for no signature any more", ref, t.Status)}
	}
	return cause
}

// delivered is the value of an operation's key that says so.
type delivered struct {
	At time.Time `json:"at"`
}

// Deliver posts an operation's signature until Qustody has it: it is [operation.Courier]'s. A post whose
// answer was lost is repeated; one that comes second finds out by the transaction's state.
func (s *Service) Deliver(ctx context.Context, o *operation.Operation, signed *tx.Signed) (send bool, err error) {
	_, _, done, err := s.store.Get(ctx, store.OpDelivered(o.ID))
	if done || err != nil {
		return s.broadcast, err
	}
	if why, ok := s.unposted.lately(o.ID, s.now()); ok {
		return false, &operation.Undelivered{Reason: why}
	}
	leave, err := s.enter()
	if err != nil {
		return false, err
	}
	defer leave()
	// gofail: var callbackBeforePost struct{}
	err = s.client.sign(ctx, o.Foreign, o.ID, signature{hex.EncodeToString(signed.Signature), hex.EncodeToString(signed.PublicKey)})
	// gofail: var callbackAfterPost struct{}
	if err := s.posted(ctx, o, err); err != nil {
		return false, err
	}
	if err := s.noteDelivered(ctx, o, signed); err != nil {
		return false, err
	}
	// gofail: var callbackAfterDelivery struct{}
	s.metrics.signatures.WithLabelValues(outcomeTaken).Inc()
	s.log.Info("callback: a signature was delivered", "transaction", o.Foreign, "operation", o.ID)
	return s.broadcast, nil
}

// noteDelivered writes that Qustody has the signature, once, and beside the operation's state alone: where that left the
// store for the archive a moment ago, a key of its own would stay behind for good, and nobody would look at it.
func (s *Service) noteDelivered(ctx context.Context, o *operation.Operation, signed *tx.Signed) error {
	b, err := json.Marshal(delivered{s.now().UTC().Truncate(time.Millisecond)})
	if err != nil {
		return err
	}
	for {
		kvs, _, err := s.store.GetMany(ctx, store.OpState(o.ID), store.OpDelivered(o.ID))
		if err != nil {
			return err
		}
		state, noted := kvs[0], kvs[1]
		if state.ModRevision == 0 || noted.ModRevision != 0 {
			return nil
		}
		t := s.store.Tx()
		t.Require(state.Key, state.ModRevision)
		t.PutIfAbsent(noted.Key, b)
		t.Audit(s.draft("callback.delivered", "operation", o.ID, map[string]any{"foreignTransaction": o.Foreign, "transactionHash": signed.Hash.String()}))
		if _, err := t.Commit(ctx); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// posted says what became of a post: nil if Qustody has the signature.
func (s *Service) posted(ctx context.Context, o *operation.Operation, err error) error {
	var answer *refusedError
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.Status {
	case http.StatusConflict:
		t, err := s.client.transaction(ctx, o.Foreign)
		switch {
		case err != nil:
			return err
		case t.Status.taken():
			return nil
		case t.Status.givenUp():
			return s.undelivered(o, "transaction %s is %s at Qustody, which will not send it; its nonce %d stays spent, and what comes after it on wallet %s waits",
				o.Foreign, t.Status, o.Nonce, o.WalletID)
		}
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone, http.StatusUnprocessableEntity:
		return s.undelivered(o, "Qustody refuses the signature of transaction %s (%d); its nonce %d stays spent, and what comes after it on wallet %s waits",
			o.Foreign, answer.Status, o.Nonce, o.WalletID)
	}
	return err
}

// undeliveredFor is how long a signature that Qustody refused is not posted again.
const undeliveredFor = time.Minute

func (s *Service) undelivered(o *operation.Operation, format string, args ...any) error {
	s.metrics.signatures.WithLabelValues(outcomeRefused).Inc()
	why := fmt.Sprintf(format, args...)
	s.unposted.put(o.ID, why, s.now().Add(undeliveredFor))
	return &operation.Undelivered{Reason: why}
}
