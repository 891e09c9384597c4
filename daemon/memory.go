package daemon

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// heapRoom is the heap, in bytes, up to which garbage may lie: at Go's own pace a tenth of the processor
	// time under load was collection. etcd's database is mapped beside it, within 400 MiB in all.
	heapRoom = 200 << 20
	// leastPercent is Go's own pace, for a heap that has outgrown the room; mostPercent keeps a nearly empty
	// one from asking for a pace that the next burst cannot hold.
	leastPercent, mostPercent = 100, 400
	paceEvery                 = time.Second
)

// Pace holds the collector's pace to what lives on the heap until ctx ends, unless who started the process
// said otherwise by Go's own variables. Run does it of itself; dev begins before that, for its etcd reads every
// key at its start. A memory limit in its place spent half of the processor once ten thousand operations had
// outgrown it.
func Pace(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for {
		metrics.Read(live)
		debug.SetGCPercent(percentFor(live[0].Value.Uint64()))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// percentFor is the pace by which live bytes fill heapRoom.
func percentFor(live uint64) int {
	if live >= heapRoom {
		return leastPercent
	}
	return int(min(max((heapRoom-live)*100/max(live, 1), leastPercent), mostPercent))
}
