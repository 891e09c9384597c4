package webhook_test

import (
	"context"
	"encoding/json/jsontext"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/daemon/webhook"
)

// BenchmarkDeliveries is events from the outbox to an endpoint on this machine, each of another operation,
// with what it takes to note that they arrived.
func BenchmarkDeliveries(b *testing.B) {
	s := storetest.Open(b)
	var came atomic.Int64
	all := make(chan struct{})
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if came.Add(1) == int64(b.N) {
			close(all)
		}
	}))
	defer sink.Close()
	w, err := webhook.New(webhook.Deps{Store: s, Log: storetest.Logger(b), Key: newKey(), Networks: loopback, Plain: func() bool { return true }})
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := w.Create(b.Context(), admin, webhook.Spec{URL: sink.URL, Events: []string{"*"}}, nil); err != nil {
		b.Fatal(err)
	}
	for n := 0; n < b.N; n += 50 {
		tx := s.Tx()
		for m := n; m < min(n+50, b.N); m++ {
			tx.Emit(store.Emission{Type: "token.minted", Order: fmt.Sprintf("op_%d", m), Data: jsontext.Value(`{"filling":"` + filling + `"}`)})
		}
		if _, err := tx.Commit(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	b.ResetTimer()
	go func() { defer close(done); _ = w.Run(ctx) }()
	<-all
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	cancel()
	<-done
}
