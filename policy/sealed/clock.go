package sealed

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// maxUnexplained is how much of the wall clock's advance over reboots no machine
// need have vouched for before a custodian must (spec policy.md, "Clock").
const maxUnexplained = 24 * time.Hour

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
	id := bootID.Load() // a boot outlives its processes
	if id == nil {
		var err error
		if id, err = readBootID("/proc/sys/kernel/random/boot_id", os.Getenv); err != nil {
			return instant{}, fmt.Errorf("boot id: %w", err)
		}
		bootID.Store(id)
	}
	return instant{time.Now().UTC().Round(0), time.Duration(ts.Nano()), *id}, nil
}

var bootID atomic.Pointer[string]

// bootIDEnv is the boot's id as systemd writes it (%b): the unit leaves the seal no
// /proc but processes, so that the kernel's own file is not there. Whoever could
// set it to something else has the machine.
const bootIDEnv = "MINTWARDEN_BOOT_ID"

// readBootID takes the kernel's word, or where that is out of reach systemd's, and
// gives both the same form.
func readBootID(path string, env func(string) string) (*string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && env(bootIDEnv) != "" {
		text, err = []byte(env(bootIDEnv)), nil
	}
	if err != nil {
		return nil, err
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err != nil || len(raw) != 16 {
		return nil, fmt.Errorf("%q is not an id of 32 hex digits", text)
	}
	return new(fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])), nil
}

// baseline is what the next reading of the clocks is held against. It is in
// every mark of the journal, and only readings that were held against the one
// before it ever get into it.
type baseline struct {
	last   instant // the newest reading that was found good; without an id there was none
	anchor instant // the first one of last's boot, or what it had to be at least
	// unexplained is the sum, over boots, of what the wall clock went on by while
	// no machine of ours can say that it did, since a custodian last signed
	// something. Never negative.
	unexplained time.Duration
}

// next is the baseline after now, or why now is not to be believed. newest is
// the last batch's own time, maybe another appliance's. In one boot the wall may
// be ahead of the machine by skew in all, however many batches there were, for
// both are counted from the boot's anchor. It may be behind the machine by as much
// as it likes here, for what people decide is recorded all the same; see onTime.
func (b baseline) next(now instant, newest time.Time, skew time.Duration) (baseline, error) {
	if now.wall.Before(newest) {
		return b, fmt.Errorf("clock says %s, the last batch %s", now.wall.Format(time.RFC3339Nano), newest.Format(time.RFC3339Nano))
	}
	if b.last.id == "" {
		return baseline{last: now, anchor: now}, nil
	}
	wall, boot := now.wall.Sub(b.anchor.wall), now.boot-b.anchor.boot
	if b.last.id != now.id {
		// What the old boot ran after its last mark is not known, so it does not
		// count as explained; what it was ahead by at that mark is not lost.
		boot = b.last.boot - b.anchor.boot + now.boot
		after := baseline{last: now, anchor: now, unexplained: plus(b.unexplained, wall-boot)}
		// Nor is what it is behind by. A container that is started anew has its machine's
		// clock, which went on; so a reading that is not below the last one is taken for that.
		least := boot
		if now.boot >= b.last.boot {
			least -= b.last.boot
		}
		if wall < least {
			after.anchor.wall = b.anchor.wall.Add(least)
		}
		return after, nil
	}
	if wall > boot+skew {
		return b, fmt.Errorf("clock went on by %s since this boot's first batch, the machine by %s", wall.Round(time.Second), boot.Round(time.Second))
	}
	b.last = now
	return b, nil
}

// behind is how far the wall clock lags behind the machine's own.
func (b baseline) behind() time.Duration {
	ran, back := b.last.boot-b.anchor.boot, b.anchor.wall.Sub(b.last.wall)
	if back > 0 {
		return plus(ran, back)
	}
	return max(ran+back, 0)
}

// onTime is nil unless the wall clock was set back, behind what the machine itself
// ran since a reading that was found good: windows, days and intents that are over
// would be open again. That ends when the clock is right, or a custodian vouches for it.
func (b baseline) onTime(skew time.Duration) error {
	if lag := b.behind(); lag > skew {
		return seal.Errorf(seal.KindClock, "the clock says %s, which is %s behind what this machine ran since it was %s; nothing is signed until the clock is right, "+
			"or, if it was wrong before, a custodian, who compared it with another, has a freeze of this hour recorded here",
			b.last.wall.Format(time.RFC3339), lag.Round(time.Second), b.anchor.wall.Format(time.RFC3339))
	}
	return nil
}

// vouched is the baseline once a custodian looked at the clock.
func (b baseline) vouched() baseline {
	b.unexplained = 0
	if b.behind() > 0 {
		b.anchor = b.last
	}
	return b
}

// plus adds to a sum that must not wrap; what is negative explains nothing.
func plus(sum, more time.Duration) time.Duration {
	return sum + min(max(more, 0), math.MaxInt64-sum)
}

// maySign is nil unless a custodian must look at the clock first. Documents,
// decisions, cancels and settlements are recorded all the same.
func (b baseline) maySign() error {
	if b.unexplained <= maxUnexplained {
		return nil
	}
	return seal.Errorf(seal.KindClock, "over reboots the clock went on by %s that this machine did not run, more than %s; nothing is signed until a custodian, "+
		"who compared the clock with another, has a freeze of this hour recorded here: of anything with one signature, or its end with the threshold's",
		b.unexplained.Round(time.Second), maxUnexplained)
}

// maySign is nil while both clocks are such that windows, days and expiries may be
// judged by them.
func (rd *round) maySign() error {
	err := rd.clocks.maySign()
	if err == nil {
		err = rd.clocks.onTime(rd.room.skew())
	}
	if err != nil {
		rd.room.metrics.noticed(noticedClock)
	}
	return err
}

// notAhead refuses where the chain is ahead of our clock by more than the skew: a
// clock that lags would judge windows and days that are over. A head that is old
// says nothing, and nobody has to name one; who names a false one stops himself.
func (rd *round) notAhead(h *seal.ChainHead) error {
	if h == nil {
		return nil
	}
	ours, skew := rd.clocks.last.wall, rd.room.skew()
	if !h.Time.After(ours.Add(skew)) {
		return nil
	}
	rd.room.metrics.noticed(noticedClock)
	return seal.Errorf(seal.KindClock, "block %d of the chain is of %s, this clock says %s, behind by more than %s", h.Number, h.Time.UTC().Format(time.RFC3339), ours.Format(time.RFC3339), skew)
}
