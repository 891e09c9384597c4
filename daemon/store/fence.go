package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// fenceTTL is how long a fence outlives its holder's last sign of life, in seconds. Liveness only: what
// keeps a paused holder from writing is Fence.Require.
const fenceTTL = 10

// releaseWait is how long a holder waits for a release: without an answer it goes on behind its back.
const releaseWait = time.Second

// Fence is the exclusive right to do something, held by one process at a time across all appliances.
// Liveness comes from an etcd lease; safety from Require, which refuses a write of a former holder.
type Fence struct {
	s    *Store
	name string
	key  string
	rev  int64 // modification revision of our key: another holder has another
	sess *session

	once     sync.Once
	lost     chan struct{}
	stop     context.CancelFunc
	released sync.Once
}

// session is the lease that all fences of a process share.
type session struct {
	id   clientv3.LeaseID
	stop context.CancelFunc
	done chan struct{} // closed when the lease can no longer be trusted
	s    *Store
}

// Fence waits until this process holds the fence with that name, or ctx ends. ErrUnavailable when etcd
// does not answer.
func (s *Store) Fence(ctx context.Context, name string) (*Fence, error) {
	key := FencePrefix + name
	for {
		if taken := s.claims.take(name); taken != nil {
			select {
			case <-taken:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		f, rev, err := s.tryFence(ctx, name)
		if f != nil {
			return f, nil
		}
		s.claims.drop(name)
		if err != nil {
			return nil, err
		}
		if err := s.awaitDelete(ctx, key, rev+1); err != nil {
			return nil, err
		}
	}
}

// TryFence is Fence without waiting: held says whether this process has the fence now.
func (s *Store) TryFence(ctx context.Context, name string) (f *Fence, held bool, err error) {
	if s.claims.take(name) != nil {
		return nil, false, nil
	}
	if f, _, err = s.tryFence(ctx, name); f == nil {
		s.claims.drop(name)
	}
	return f, f != nil, err
}

// tryFence takes a fence that this process has claimed if it is free, or was left behind by an earlier process of this
// owner or by this one. When another holds it, the fence is nil and rev is the revision at which that was seen.
func (s *Store) tryFence(ctx context.Context, name string) (_ *Fence, rev int64, _ error) {
	sess, err := s.liveSession(ctx)
	if err != nil {
		return nil, 0, err
	}
	key := FencePrefix + name
	owner := fmt.Sprintf("%s %x", s.cfg.Owner, sess.id)
	rctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	put := clientv3.OpPut(key, owner, clientv3.WithLease(sess.id))
	r, err := s.client.Txn(rctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(put).Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return nil, 0, wrap(ctx, "fence "+name, err)
	}
	if !r.Succeeded {
		seen := r.Header.Revision
		kv := r.Responses[0].GetResponseRange().Kvs[0]
		var holder string
		var lease clientv3.LeaseID
		if _, err := fmt.Sscanf(string(kv.Value), "%s %x", &holder, &lease); err != nil || holder != s.cfg.Owner {
			return nil, seen, nil
		}
		r, err = s.client.Txn(rctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)).Then(put).Commit()
		if err != nil {
			return nil, 0, wrap(ctx, "fence "+name, err)
		}
		if !r.Succeeded {
			return nil, seen, nil // it may be gone since, which whoever waits is to see
		}
	}
	wctx, stop := context.WithCancel(context.Background())
	f := &Fence{s: s, name: name, key: key, rev: r.Header.Revision, sess: sess, lost: make(chan struct{}), stop: stop}
	go f.watch(wctx)
	return f, f.rev, nil
}

// watch closes lost as soon as our key is no longer ours.
func (f *Fence) watch(ctx context.Context) {
	defer f.lose()
	w := f.s.client.Watch(ctx, f.key, clientv3.WithRev(f.rev+1))
	select {
	case <-w: // any change of the key, and any end of the watch
	case <-f.sess.done:
	case <-ctx.Done():
	}
}

func (f *Fence) lose() {
	f.once.Do(func() { close(f.lost) })
	f.stop()
}

// Lost is closed when the fence is no longer held. It may come late: only Require is safe.
func (f *Fence) Lost() <-chan struct{} { return f.lost }

// Require lets t pass only while the fence is held; else Commit returns a *ConflictError for its key.
func (f *Fence) Require(t *Tx) { t.Require(f.key, f.rev) }

// Key is the fence's key, to recognize it in a ConflictError.
func (f *Fence) Key() string { return f.key }

// Release gives the fence up for others to take at once. After an error this process can have it again at once, and
// others as soon as etcd answers, or the process has ended. It is to be called when a fence was lost, too.
func (f *Fence) Release(ctx context.Context) (err error) {
	f.released.Do(func() {
		f.lose()
		if err = f.delete(ctx); err != nil {
			go f.giveUp()
		}
		f.s.claims.drop(f.name)
	})
	return err
}

// While runs work as soon as this process holds the fence, in a context that ends when it is lost, and releases it
// then, so that others need not wait for the lease. The error is ErrFenceLost where that ended the work, else that of
// getting the fence or of the work.
func (s *Store) While(ctx context.Context, name string, work func(context.Context, *Fence) error) error {
	f, err := s.Fence(ctx, name)
	if err != nil {
		return err
	}
	defer func() {
		rctx, done := context.WithTimeout(context.WithoutCancel(ctx), releaseWait)
		defer done()
		if err := f.Release(rctx); err != nil {
			s.log.Warn("a fence is given back when the store answers", "fence", name, "error", err)
		}
	}()
	held, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-f.Lost():
			stop(ErrFenceLost)
		case <-held.Done():
		}
	}()
	if err = work(held, f); errors.Is(context.Cause(held), ErrFenceLost) {
		return ErrFenceLost
	}
	return err
}

func (s *Store) awaitDelete(ctx context.Context, key string, from int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for r := range s.client.Watch(clientv3.WithRequireLeader(ctx), key, clientv3.WithRev(from)) {
		if err := r.Err(); err != nil {
			return wrap(ctx, "watch "+key, err)
		}
		for _, e := range r.Events {
			if e.Type == clientv3.EventTypeDelete {
				return nil
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: watch of %s ended", ErrUnavailable, key)
}

// liveSession is the process's lease, a new one if the last one was lost.
func (s *Store) liveSession(ctx context.Context) (*session, error) {
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	if s.session != nil {
		select {
		case <-s.session.done:
		default:
			return s.session, nil
		}
	}
	rctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	g, err := s.client.Grant(rctx, fenceTTL)
	if err != nil {
		return nil, wrap(ctx, "lease", err)
	}
	kctx, stop := context.WithCancel(context.Background())
	alive, err := s.client.KeepAlive(kctx, g.ID)
	if err != nil {
		stop()
		return nil, wrap(ctx, "lease", err)
	}
	sess := &session{id: g.ID, stop: stop, done: make(chan struct{}), s: s}
	go sess.keep(alive)
	s.session = sess
	return sess, nil
}

// keep watches the lease's renewals and gives the session up when none came for the lease's length.
func (x *session) keep(alive <-chan *clientv3.LeaseKeepAliveResponse) {
	defer close(x.done)
	timer := time.NewTimer(fenceTTL * time.Second)
	defer timer.Stop()
	for {
		select {
		case r, open := <-alive:
			if !open {
				return
			}
			timer.Reset(time.Duration(r.TTL) * time.Second)
		case <-timer.C:
			x.stop()
			return
		}
	}
}

// close revokes the lease, so that others need not wait for it.
func (x *session) close() {
	x.stop()
	<-x.done
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := x.s.client.Revoke(ctx, x.id); err != nil {
		x.s.log.Warn("store: fences end with their lease only", "error", err)
	}
}
