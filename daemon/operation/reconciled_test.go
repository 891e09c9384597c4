package operation_test

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/daemon/reconciliation"
)

// reconciled holds what the contract told since its deployment against the operations: each event is one's, and the
// supplies are the same.
func (d *desk) reconciled() {
	d.t.Helper()
	s, err := reconciliation.New(reconciliation.Deps{Store: d.store, Registry: d.registry, Operations: d.operations, Seal: d.seal,
		Chains: map[string]*chain.Client{networkName: d.chain}, Log: testLog(), Registerer: prometheus.NewRegistry()})
	require.NoError(d.t, err)
	ctx, cancel := context.WithCancel(d.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	defer func() { cancel(); running.Wait() }()
	var r *reconciliation.Report
	d.until("chain and operations were compared", func() bool {
		r, err = s.Report(ctx, d.token.ID)
		return err == nil && r.Status != reconciliation.CatchingUp
	})
	require.Empty(d.t, r.Unmatched)
	require.Equal(d.t, reconciliation.Agrees, r.Status)
	require.Equal(d.t, d.supply(d.token), r.Events.String())
}
