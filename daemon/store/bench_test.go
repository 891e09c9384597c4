package store_test

import (
	"fmt"
	"testing"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// BenchmarkCommit is one change with its audit entry, one after another and many at once, in the process of
// etcd and over its socket.
func BenchmarkCommit(b *testing.B) {
	srv := storetest.Start(b)
	b.Run("process", func(b *testing.B) { commits(b, srv.OpenConfig(srv.InProcess(store.UserServe))) })
	b.Run("socket", func(b *testing.B) { commits(b, srv.Open(store.UserServe)) })
}

func commits(b *testing.B, s *store.Store) {
	change := func(b *testing.B, key string) {
		tx := s.Tx()
		tx.Put(store.TokenPrefix+key, make([]byte, 500))
		tx.Audit(audit.Draft{Action: "token.created", ResourceType: "token", ResourceID: key})
		if _, err := tx.Commit(b.Context()); err != nil {
			b.Error(err)
		}
	}
	b.Run("sequential", func(b *testing.B) {
		for i := range b.N {
			change(b, fmt.Sprint(i))
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				change(b, fmt.Sprintf("%p-%d", pb, i))
			}
		})
	})
}
