package sealed

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// crowdOf begins a crowd while so many others wait.
func crowdOf(a *arrivals, others int) *crowd {
	from := make(chan *proposal, maxWaiting)
	for range others {
		from <- &proposal{}
	}
	return a.crowd(&proposal{}, from)
}

func TestCrowdOfOneIsNotHeldOpen(t *testing.T) {
	a := &arrivals{}
	for range 100 {
		c := crowdOf(a, 0)
		require.NotNil(t, c.at(0))
		require.Nil(t, c.at(1))
		require.Nil(t, c.over, "nobody was waited for")
		a.answered(1, 0)
	}
}

func TestCrowdIsWholeOnceAllAreThere(t *testing.T) {
	a := &arrivals{}
	a.answered(64, 0)
	c := crowdOf(a, 63)
	for n := range 64 {
		require.NotNil(t, c.at(n))
	}
	require.Nil(t, c.at(64))
	require.Nil(t, c.over)
}

func TestCrowdOfThoseWhoComeOneByOne(t *testing.T) {
	a := &arrivals{}
	for range 8 {
		a.answered(1, 1) // one came during each commit
	}
	c := crowdOf(a, company-1)
	require.Equal(t, collect, c.hold)
	require.NotNil(t, c.at(company-1))
	require.Nil(t, c.at(company))
	require.Nil(t, c.over, "enough of them were there")
	for range 32 {
		a.answered(3, 0) // now they wait for one another
	}
	require.Equal(t, linger, crowdOf(a, 0).hold)
}

func TestCrowdLeavesThoseWhoDidNotFit(t *testing.T) {
	c := crowdOf(&arrivals{lately: 5}, 4)
	require.NotNil(t, c.at(4))
	third := c.at(2)
	c.leave(2)
	require.Same(t, third, c.at(0))
	require.Len(t, c.rest(), 3)
	require.Nil(t, c.at(3))
}
