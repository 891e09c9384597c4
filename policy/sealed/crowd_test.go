package sealed

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

// Those who were answered together come back one after the other, as the processors
// have time for them: who is on his way is waited for, who does not come is not.
func TestCrowdIsHeldOpenWhileTheyCome(t *testing.T) {
	of := func(others int, every time.Duration) (there int, took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			from, enough := make(chan *proposal), make(chan struct{})
			var coming sync.WaitGroup
			coming.Go(func() {
				for range others {
					time.Sleep(every)
					select {
					case from <- &proposal{}:
					case <-enough:
						return
					}
				}
			})
			a := &arrivals{lately: 64}
			c, began := a.crowd(&proposal{}, from), time.Now()
			for c.at(there) != nil {
				there++
			}
			took = time.Since(began)
			close(enough)
			coming.Wait()
		})
		return there, took
	}
	there, took := of(63, lull/20)
	require.Equal(t, 64, there, "who comes within the linger is there")
	require.Equal(t, 63*(lull/20), took, "and nobody else is waited for")
	there, took = of(10, lull/20)
	require.Equal(t, 11, there)
	require.Equal(t, 10*(lull/20)+lull, took, "who does something else is waited for for a lull")
	there, took = of(1000, lull/2+time.Microsecond)
	require.Equal(t, int(linger/(lull/2)), there)
	require.Equal(t, linger, took, "however they come, nobody waits for longer")
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
