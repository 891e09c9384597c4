package sealed

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClockDoubt(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	last := instant{noon, time.Hour, "boot-1"}
	at := func(wall, boot time.Duration, id string) instant {
		return instant{noon.Add(wall), time.Hour + boot, id}
	}
	for name, c := range map[string]struct {
		now    instant
		newest time.Time
		doubt  bool
	}{
		"in step":                           {at(time.Minute, time.Minute, "boot-1"), noon, false},
		"the same second":                   {at(0, 0, "boot-1"), noon, false},
		"behind the last batch":             {at(-time.Second, time.Second, "boot-1"), noon, true},
		"behind another's batch":            {at(time.Minute, time.Minute, "boot-1"), noon.Add(time.Hour), true},
		"set forward within the skew":       {at(90*time.Second, time.Minute, "boot-1"), noon, false},
		"set forward past the skew":         {at(91*time.Second, time.Minute, "boot-1"), noon, true},
		"set forward to the next day":       {at(12*time.Hour, time.Minute, "boot-1"), noon, true},
		"suspended for a day":               {at(24*time.Hour, 24*time.Hour, "boot-1"), noon, false},
		"another boot says nothing of us":   {at(24*time.Hour, -time.Hour, "boot-2"), noon, false},
		"another boot, behind all the same": {at(-time.Hour, -time.Hour, "boot-2"), noon, true},
	} {
		t.Run(name, func(t *testing.T) {
			err := doubt(last, c.now, c.newest, 30*time.Second)
			require.Equal(t, c.doubt, err != nil, "%v", err)
		})
	}
	require.NoError(t, doubt(instant{}, at(0, 0, "boot-1"), time.Time{}, 0), "the first batch has nothing before it")
}

func TestSystemClockGoesOn(t *testing.T) {
	a, err := systemClock()
	require.NoError(t, err)
	b, err := systemClock()
	require.NoError(t, err)
	require.Equal(t, a.id, b.id)
	require.NoError(t, doubt(a, b, a.wall.Add(-time.Second), time.Second))
}
