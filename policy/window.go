package policy

import (
	"fmt"
	"slices"
	"time"
)

// weekdays are the names, in time.Weekday's order.
var weekdays = [7]Weekday{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}

// Valid is true of MON to SUN.
func (d Weekday) Valid() bool {
	return slices.Contains(weekdays[:], d)
}

// minutes since the wall's midnight, 0 to 1440.
func (c Clock) minutes() (int, error) {
	var h, m int
	if len(c) != 5 || c[2] != ':' {
		return 0, fmt.Errorf("time of day %.16q: want HH:MM", c)
	}
	for _, n := range []byte{c[0], c[1], c[3], c[4]} {
		if n < '0' || n > '9' {
			return 0, fmt.Errorf("time of day %.16q: want HH:MM", c)
		}
	}
	h, m = int(c[0]-'0')*10+int(c[1]-'0'), int(c[3]-'0')*10+int(c[4]-'0')
	if m > 59 || h*60+m > 24*60 {
		return 0, fmt.Errorf("time of day %q: want 00:00 to 24:00", c)
	}
	return h*60 + m, nil
}

// window is a TIME_WINDOW, read. It follows the wall clock of its zone: an hour that daylight
// saving repeats is inside both times, one that it skips never comes. A window whose end is not
// after its start passes midnight, and what lies after midnight belongs to the day it started.
type window struct {
	days       [7]bool // by time.Weekday
	start, end int     // minutes
	zone       *time.Location
}

func readWindow(r *Rule) (*window, error) {
	var w window
	var err error
	if w.start, err = r.Start.minutes(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	if w.end, err = r.End.minutes(); err != nil {
		return nil, fmt.Errorf("end: %w", err)
	}
	if w.start == 24*60 {
		return nil, fmt.Errorf("start 24:00: that is 00:00 of the next day")
	}
	if w.start == w.end {
		return nil, fmt.Errorf("start and end are both %s; the whole day is 00:00 to 24:00", r.Start)
	}
	if len(r.Days) == 0 {
		return nil, fmt.Errorf("no days")
	}
	for _, d := range r.Days {
		n := slices.Index(weekdays[:], d)
		if n < 0 {
			return nil, fmt.Errorf("day %.16q: want MON, TUE, WED, THU, FRI, SAT or SUN", d)
		}
		if w.days[n] {
			return nil, fmt.Errorf("day %s twice", d)
		}
		w.days[n] = true
	}
	w.zone, err = zone(r.Timezone)
	return &w, err
}

func (w *window) contains(now time.Time) bool {
	local := now.In(w.zone)
	today := local.Weekday()
	minute := local.Hour()*60 + local.Minute()
	if w.start < w.end {
		return w.days[today] && minute >= w.start && minute < w.end
	}
	yesterday := (today + 6) % 7
	return w.days[today] && minute >= w.start || w.days[yesterday] && minute < w.end
}
