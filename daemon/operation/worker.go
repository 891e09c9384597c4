package operation

import (
	"context"
	"errors"
	"sync"
	"time"
)

// laneTasks is how many steps of one lane run at once; worker-wide it is workerTasks, so that many lanes
// do not ask the seal and the nodes more than they can answer.
const (
	laneTasks   = 16
	workerTasks = 64
)

// worker drives the lanes of this process.
type worker struct {
	s     *Service
	tasks chan struct{} // holds a token for each running step

	mu    sync.Mutex
	lanes map[string]*lane
	work  sync.WaitGroup
}

// RunWorker keeps the lists up to date, and takes operations through their states for every wallet whose
// lane this process holds, until ctx ends. Operations wait until the ledger is carried in. KeepArchive runs beside it.
func (s *Service) RunWorker(ctx context.Context) error {
	var following sync.WaitGroup
	defer following.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	following.Go(func() { s.index.run(ctx) })
	if err := s.index.ready(ctx); err != nil {
		return ignoreEnd(ctx, err)
	}
	if err := s.hasArchive(ctx); err != nil {
		return ignoreEnd(ctx, err)
	}
	if err := s.registry.WaitReady(ctx); err != nil {
		return ignoreEnd(ctx, err)
	}
	w := &worker{s: s, tasks: make(chan struct{}, workerTasks), lanes: map[string]*lane{}}
	defer w.work.Wait()
	// Hooks cannot be taken back; this one does nothing once ctx has ended.
	s.index.onChange(func(o *Operation) { w.wake(ctx, o.WalletID, o.ID) })
	s.index.onChange(s.endings.put)
	for network := range s.chains {
		w.work.Go(func() { s.watchEndings(ctx, network) })
		w.work.Go(func() {
			s.heads.watch(ctx, network,
				func(ctx context.Context) error {
					return s.index.await(ctx, func() bool { return s.onTheirWay(network) })
				},
				func() { w.wakeNetwork(network) })
		})
	}
	for _, id := range s.index.lanes() {
		w.wake(ctx, id, "")
	}
	<-ctx.Done()
	return nil
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// onTheirWay reports whether a signed transaction of the network is not final yet.
func (s *Service) onTheirWay(network string) (found bool) {
	s.index.ask(func(t *tally) { found = t.released[network] > 0 })
	return found
}

// wake has a wallet's lane look at an operation; a lane that does not run is started, and looks at all.
func (w *worker) wake(ctx context.Context, walletID, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	l, ok := w.lanes[walletID]
	if !ok {
		l = newLane(w, walletID)
		w.lanes[walletID] = l
		w.work.Go(func() { l.run(ctx) })
	}
	if id != "" {
		l.look(id)
	}
}

func (w *worker) wakeNetwork(network string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lanes {
		l.lookAtBlocks()
	}
}

// ended takes an idle lane off the list and reports whether it may stop: not if work came in between.
func (w *worker) ended(l *lane) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.s.index.idle(l.wallet) {
		return false
	}
	delete(w.lanes, l.wallet)
	return true
}

// run holds the lane's fence and works while there is something to do.
func (l *lane) run(ctx context.Context) {
	const pause = 500 * time.Millisecond
	for ctx.Err() == nil {
		if l.s.registry.Suspended() {
			// What this appliance asks, no seal records: another one's process takes the lane.
			select {
			case <-time.After(laneTick):
			case <-ctx.Done():
			}
			continue
		}
		fence, err := l.s.store.Fence(ctx, "lane/"+l.wallet)
		if err == nil {
			err = l.work(ctx, fence)
			rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			if rerr := fence.Release(rctx); rerr != nil {
				l.s.log.Debug("lane: its fence is given back when the store answers", "wallet", l.wallet, "error", rerr)
			}
			cancel()
			if err == nil && l.w.ended(l) {
				return
			}
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		if !errors.Is(err, errLaneLost) {
			l.s.log.Warn("lane: starting again", "wallet", l.wallet, "error", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}
