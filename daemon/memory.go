package daemon

import (
	"os"
	"runtime/debug"
)

const (
	// gcPercent lets the heap grow to five times what is alive before it is collected: little of serve's memory
	// lives long, and at Go's own 100 a tenth of its processor time under load was collection.
	gcPercent = 400
	// softMemory is what Go's memory may reach, in bytes, before it is collected more often whatever gcPercent
	// says: well below the 400 MiB that serve shall stay within, for etcd's database is mapped beside it.
	softMemory = 224 << 20
)

// tuneMemory sets both, unless who starts the process said otherwise by Go's own variables.
func tuneMemory() {
	if _, said := os.LookupEnv("GOGC"); !said {
		debug.SetGCPercent(gcPercent)
	}
	if _, said := os.LookupEnv("GOMEMLIMIT"); !said {
		debug.SetMemoryLimit(softMemory)
	}
}
