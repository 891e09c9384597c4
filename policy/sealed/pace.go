package sealed

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
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
)

// paceGC holds the collector's pace to what lives on the heap until ctx ends,
// unless the environment sets one. A memory limit would do the same while the
// fold is small, and spend half of the processor once it is not. It must run before
// anything large is read: by the pace of a heap that is nearly empty a fold that
// grows would ask for many times the room.
func paceGC(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	var p pacer
	p.set()
	p.again(ctx)
}

// pacer sets the pace anew behind every collection, which alone knows what lives. A
// clock would look too late: a start fills the heap within one of its ticks.
type pacer struct{ percent atomic.Int64 }

// again has the next collection set the pace: it is what finds that nobody holds a mark.
func (p *pacer) again(ctx context.Context) {
	type mark struct{ _ [64]byte } // not of the small ones that share an object
	runtime.AddCleanup(new(mark), func(p *pacer) {
		if ctx.Err() != nil {
			return
		}
		p.set()
		p.again(ctx)
	}, p)
}

func (p *pacer) set() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	next := percentFor(live[0].Value.Uint64())
	if p.percent.Swap(int64(next)) != int64(next) { // it stops the world for a moment
		debug.SetGCPercent(next)
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
