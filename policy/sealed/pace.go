package sealed

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// heapRoom is the heap, in bytes, up to which the worker lets garbage lie: a
	// small live heap would else be collected a hundred times a second under load.
	// With the binary, the token's library and the keeper it stays below 100 MiB.
	heapRoom = 34 << 20
	// leastPercent is the pace of a heap that has outgrown the room. What an operation
	// allocates is little beside what the fold holds then, so that to collect twice as
	// often as Go itself would is cheaper here than the memory.
	leastPercent = 50
	// mostPercent keeps a nearly empty heap from asking for a pace that the next
	// burst cannot hold.
	mostPercent = 800
	paceEvery   = time.Second
)

// paceGC holds the collector's pace to what lives on the heap until ctx ends,
// unless the environment sets one. A memory limit would do the same while the
// fold is small, and spend half of the processor once it is not.
func paceGC(ctx context.Context) {
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
	if live == 0 {
		return mostPercent
	}
	if live >= heapRoom {
		return leastPercent
	}
	return int(min(max((heapRoom-live)*100/live, leastPercent), mostPercent))
}
