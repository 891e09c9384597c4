package sealed

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// instant is one reading of both clocks. Within one boot the second cannot be
// set by anybody, so it bounds how far the first may have moved.
type instant struct {
	wall time.Time
	boot time.Duration // CLOCK_BOOTTIME: counts while suspended too
	id   string        // of this boot
}

// clockSource reads the clocks; tests set their own.
type clockSource func() (instant, error)

func systemClock() (instant, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return instant{}, fmt.Errorf("CLOCK_BOOTTIME: %w", err)
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return instant{}, fmt.Errorf("boot id: %w", err)
	}
	return instant{time.Now().UTC().Round(0), time.Duration(ts.Nano()), strings.TrimSpace(string(id))}, nil
}

// doubt says why now cannot follow last (when the last batch was made), or nil.
// newest is the last batch's own time, maybe another appliance's.
func doubt(last, now instant, newest time.Time, skew time.Duration) error {
	if now.wall.Before(newest) {
		return fmt.Errorf("clock says %s, the last batch %s", now.wall.Format(time.RFC3339Nano), newest.Format(time.RFC3339Nano))
	}
	if last.id == "" || last.id != now.id {
		return nil // first batch here, or another boot: nothing to compare with
	}
	wall, boot := now.wall.Sub(last.wall), now.boot-last.boot
	if wall > boot+skew {
		return fmt.Errorf("clock went on by %s since the last batch, the machine by %s", wall.Round(time.Second), boot.Round(time.Second))
	}
	return nil
}
