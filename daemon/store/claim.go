package store

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// giveUpPause is between two attempts at giving up a fence whose release etcd did not answer.
const giveUpPause = time.Second

// claims says which fences this process holds or is about to take, so that a fence that etcd has as this process's
// and that is not among them is known for what a lost answer left behind: of a release that was not done, or of an
// attempt at taking it that was. The lease would keep such a fence for as long as the process lives.
type claims struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when it is dropped
}

// take claims a fence; if the process has it already, the result is closed when that is over.
func (c *claims) take(name string) (taken <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if held, ok := c.held[name]; ok {
		return held
	}
	if c.held == nil {
		c.held = map[string]chan struct{}{}
	}
	c.held[name] = make(chan struct{})
	return nil
}

func (c *claims) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.held[name])
	delete(c.held, name)
}

// delete removes the fence's key if it is this holder's.
func (f *Fence) delete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.s.cfg.RequestTimeout)
	defer cancel()
	_, err := f.s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(f.key), "=", f.rev)).Then(clientv3.OpDelete(f.key)).Commit()
	return wrap(ctx, "release fence "+f.name, err)
}

// giveUp releases a fence as soon as etcd answers, for other appliances to have while this process lives.
func (f *Fence) giveUp() {
	for {
		select {
		case <-f.sess.done:
			return
		case <-time.After(giveUpPause):
		}
		if f.delete(context.Background()) == nil {
			return
		}
	}
}
