package dev_test

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// live is how many bytes the keys and values have that are in etcd now: what its database must hold, without the
// revisions of before, the pages that are half full, and those that wait to be written to again.
func (p *plant) live(c *clientv3.Client) (bytes float64) {
	p.b.Helper()
	ctx, cancel := context.WithTimeout(p.b.Context(), patience)
	defer cancel()
	const page = 1000
	for from := "/"; ; {
		r, err := c.Get(ctx, from, clientv3.WithRange("0"), clientv3.WithLimit(page))
		p.must(err)
		for _, kv := range r.Kvs {
			bytes += float64(len(kv.Key) + len(kv.Value))
			from = string(kv.Key) + "\x00"
		}
		if !r.More {
			return bytes
		}
	}
}
