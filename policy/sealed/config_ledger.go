package sealed

import (
	"fmt"
	"time"
)

// LedgerConfig is [ledger] of seal.toml: what the author does about the log's
// length. Its zero value keeps everything in the store.
type LedgerConfig struct {
	// SnapshotBatches is after how many batches the author signs a snapshot of the
	// fold, from which seals and followers start; 0: 2,000. One that is larger than
	// largeSnapshot waits until the log has grown by as much, so that snapshots never
	// cost more than the log. SnapshotEvery is after what time the author signs one if
	// there was a batch at all; empty: 24 h. An appliance that is alone leaves one when it
	// stops in order, behind an eighth of that.
	SnapshotBatches uint64   `toml:"snapshot_batches"`
	SnapshotEvery   Duration `toml:"snapshot_every"`
	// Retention is how long batches stay in the store once a snapshot stands in for
	// them, as "2160h"; then they are in state/archive only. Empty: for ever.
	Retention Duration `toml:"retention"`
}

const (
	// defaultSnapshotBatches is what a start verifies in about a second.
	defaultSnapshotBatches = 2_000
	largeSnapshot          = 4 << 20 // bytes
	defaultSnapshotEvery   = 24 * time.Hour
	// leastRetention is longer than usage is counted and intents live.
	leastRetention = 72 * time.Hour
	// leastLease and mostLease bound store.lease: etcd itself elects a leader in
	// about a second, and a minute without an author is long.
	leastLease = 2 * time.Second
	mostLease  = time.Minute
)

func (c *LedgerConfig) check() error {
	if every := time.Duration(c.SnapshotEvery); every < 0 || every > 0 && every < time.Minute {
		return fmt.Errorf("ledger.snapshot_every = %s, want 1m or longer", every)
	}
	if keep := time.Duration(c.Retention); keep < 0 || keep > 0 && keep < leastRetention {
		return fmt.Errorf("ledger.retention = %s, want %s or longer", keep, leastRetention)
	}
	return nil
}

func (c *LedgerConfig) filled() LedgerConfig {
	out := *c
	if out.SnapshotBatches == 0 {
		out.SnapshotBatches = defaultSnapshotBatches
	}
	if out.SnapshotEvery == 0 {
		out.SnapshotEvery = Duration(defaultSnapshotEvery)
	}
	return out
}

func (c *StoreConfig) checkLease() error {
	if l := time.Duration(c.Lease); l != 0 && (l < leastLease || l > mostLease || l%time.Second != 0) {
		return fmt.Errorf("store.lease = %s, want whole seconds from %s to %s", l, leastLease, mostLease)
	}
	return nil
}
