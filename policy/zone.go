package policy

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"sync"
	"time"
)

// zoneData is Go 1.27's own lib/time/zoneinfo.zip (the IANA database). It is compiled in and read
// directly, not through time.LoadLocation, which prefers what the machine has: two appliances, or
// an appliance and its auditor, would judge by different rules.
//
//go:embed zoneinfo.zip
var zoneData []byte

var zoneFiles = sync.OnceValue(func() map[string]*zip.File {
	files := make(map[string]*zip.File)
	r, err := zip.NewReader(bytes.NewReader(zoneData), int64(len(zoneData)))
	if err != nil {
		return files // every zone but UTC is then unknown, and what needs one denies
	}
	for _, f := range r.File {
		files[f.Name] = f
	}
	return files
})

// zones caches what was loaded: name to *time.Location.
var zones sync.Map

// zone gives the IANA zone of that name; empty is UTC.
func zone(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	if l, ok := zones.Load(name); ok {
		return l.(*time.Location), nil
	}
	f, ok := zoneFiles()[name]
	if !ok || f.FileInfo().IsDir() {
		return nil, fmt.Errorf("time zone %.64q is not known", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	l, err := time.LoadLocationFromTZData(name, data)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: %w", name, err)
	}
	zones.Store(name, l)
	return l, nil
}

// startOfDay is the first moment whose local date is that of now. It is not always a midnight: a
// zone may spring forward over it, or fall back across it, and then the earliest moment counts, so
// that a daily limit never forgets a charge of the same local date.
func startOfDay(now time.Time, l *time.Location) time.Time {
	y, m, d := now.In(l).Date()
	utc := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	// Offsets are within ±24 h, so the local day lies in the two days around its UTC namesake.
	for t := utc.Add(-24 * time.Hour); t.Before(utc.Add(48 * time.Hour)); {
		_, end := t.In(l).ZoneBounds()
		_, offset := t.In(l).Zone()
		midnight := utc.Add(-time.Duration(offset) * time.Second)
		from := midnight
		if t.After(from) {
			from = t
		}
		if from.Before(midnight.Add(24*time.Hour)) && (end.IsZero() || from.Before(end)) {
			return from.UTC()
		}
		if end.IsZero() {
			break
		}
		t = end
	}
	return utc.Add(-24 * time.Hour) // unreachable: now itself has that date
}
