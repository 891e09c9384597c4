package webhook

import (
	"context"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// tidyEach is how often what is over is taken away, and what waits counted.
	tidyEach = time.Minute
	// tidyWrites is how many keys one transaction takes away.
	tidyWrites = 90
)

// tidy takes finished deliveries away when their time is over, if there is no archive for them, and what is left of
// deleted endpoints.
func (d *dispatcher) tidy(ctx context.Context) error {
	for {
		var waiting int64
		for _, k := range d.all() {
			d.mu.Lock()
			id, gone := k.endpoint.ID, k.endpoint.Deleted
			d.mu.Unlock()
			if gone {
				if err := d.forget(ctx, id); err != nil {
					return err
				}
				continue
			}
			if d.archive == nil {
				if err := d.expire(ctx, id); err != nil {
					return err
				}
			}
			n, err := d.count(ctx, k, id)
			if err != nil {
				return err
			}
			waiting += n
		}
		d.metrics.backlog.Set(float64(waiting))
		select {
		case <-d.after(tidyEach):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// count finds out how many deliveries wait for an endpoint.
func (d *dispatcher) count(ctx context.Context, k *known, id string) (int64, error) {
	k.counting.Lock()
	defer k.counting.Unlock()
	n, err := d.store.Count(ctx, pendings(id))
	if err == nil {
		k.waiting.Store(n)
	}
	return n, err
}

// expire takes deliveries away that were finished longer ago than the retention. Those that were made later
// are not looked at.
func (d *dispatcher) expire(ctx context.Context, wh string) error {
	before := d.now().Add(-d.retention)
	o := store.ListOptions{After: deliveryKey(wh, store.FirstID(deliveryPrefix, before))} // they stand behind, newest first
	for {
		p, err := d.store.List(ctx, deliveries(wh), o)
		if err != nil {
			return err
		}
		t := d.store.Tx()
		for _, kv := range p.KVs {
			o.After = kv.Key
			v, err := parseDelivery(kv)
			if err != nil {
				return err
			}
			if v.Status == Pending || v.FinishedAt.After(before) {
				continue
			}
			if t.Len()+3 > tidyWrites {
				if err := d.tidied(ctx, t); err != nil {
					return err
				}
				t = d.store.Tx()
			}
			t.DeleteIf(kv.Key, kv.ModRevision) // one that is replayed at this moment stays
			t.Delete(deadKey(wh, v.ID))
			t.Delete(replayKey(wh, v.ID))
		}
		if err := d.tidied(ctx, t); err != nil {
			return err
		}
		if !p.More {
			return nil
		}
	}
}

// tidied commits what is to be taken away; what was changed in between is left for the next time.
func (d *dispatcher) tidied(ctx context.Context, t *store.Tx) error {
	if t.Len() == 0 {
		return nil
	}
	if err := d.commit(ctx, t); !lostRace(err) {
		return err
	}
	return nil
}

// forget takes away everything of a deleted endpoint, and in the end the endpoint: a crash in between goes on
// from there.
func (d *dispatcher) forget(ctx context.Context, wh string) error {
	for _, prefix := range []string{dues(wh), chains(wh), pendings(wh), deads(wh), replays(wh), deliveries(wh)} {
		for {
			p, err := d.store.List(ctx, prefix, store.ListOptions{Limit: tidyWrites, KeysOnly: true})
			if err != nil {
				return err
			}
			if len(p.KVs) == 0 {
				break
			}
			t := d.store.Tx()
			for _, kv := range p.KVs {
				t.Delete(kv.Key)
			}
			if err := d.commit(ctx, t); err != nil {
				return err
			}
		}
	}
	t := d.store.Tx()
	t.Delete(nudgeKey(wh))
	t.Delete(testedKey(wh))
	t.Delete(endpointKey(wh))
	if err := d.commit(ctx, t); err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.known, wh)
	d.mu.Unlock()
	return nil
}
