package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	// ErrUnavailable says that etcd did not answer, has no quorum, or is full: nothing is known about a
	// write that ended so, and the caller reads again before it goes on.
	ErrUnavailable = errors.New("store: etcd is not available")

	// ErrFull says that etcd reached its quota and refuses every write until its operator compacted and
	// defragmented it and disarmed the alarm NOSPACE. Nothing was written. errors.Is(err, ErrUnavailable)
	// holds too.
	ErrFull = fmt.Errorf("%w: it is full (alarm NOSPACE): compact and defragment it, then disarm the alarm", ErrUnavailable)

	// ErrShort says that etcd is near its quota, and takes what is under way only. The error is a *ShortError.
	ErrShort = errors.New("store: etcd is near its quota")

	// ErrConflict says that a transaction's comparison failed and nothing was written. The error is a
	// *ConflictError and names the key.
	ErrConflict = errors.New("store: conflict")

	// ErrIdempotencyLost says that another request with the same idempotency key committed first; its
	// record is there to be read. errors.Is(err, ErrConflict) holds too.
	ErrIdempotencyLost = fmt.Errorf("another request with this idempotency key came first: %w", ErrConflict)

	// ErrTooLarge says that a transaction has more than 100 operations or 1 MiB. Nothing was written.
	ErrTooLarge = errors.New("store: transaction too large")

	// ErrCompacted says that a watch asked for revisions that are compacted away: list again.
	ErrCompacted = errors.New("store: revision compacted")

	// ErrFenceLost says that a fence is no longer held.
	ErrFenceLost = errors.New("store: fence lost")

	// ErrRights says that this certificate may do something that it must not.
	ErrRights = errors.New("store: wrong rights")
)

// ConflictError names the key whose comparison failed. It is ErrConflict.
type ConflictError struct{ Key string }

func (e *ConflictError) Error() string { return fmt.Sprintf("store: %s is not as expected", e.Key) }

// Is makes every ConflictError an ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// wrap maps etcd's errors to ours. An error of the caller's own context stays that error.
func wrap(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("store: %s: %w", what, ctx.Err())
	}
	if errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("%s: %w", what, ErrCompacted)
	}
	if errors.Is(err, rpctypes.ErrNoSpace) {
		return fmt.Errorf("%s: %w", what, ErrFull)
	}
	if unavailable(err) {
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
	}
	return fmt.Errorf("store: %s: %w", what, err)
}

// raftStopped is what a server that is being stopped says of a write; etcd has no code for it.
const raftStopped = "raft: stopped"

func unavailable(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	if s, ok := status.FromError(err); ok && s.Message() == raftStopped {
		return true
	}
	var e rpctypes.EtcdError
	code := status.Code(err)
	if errors.As(err, &e) {
		code = e.Code()
	}
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Canceled, codes.Aborted, codes.Internal:
		return true
	}
	return false
}
