package api

import (
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"

	"github.com/mintwarden/mintwarden/daemon/registry"
)

// buckets are the token buckets of those who call, by credential or, before one
// is known, by client certificate.
type buckets struct {
	rate  rate.Limit
	burst int
	idle  time.Duration // after which a bucket that nobody used is full, and forgotten

	mu    sync.Mutex
	all   map[string]*bucket
	swept time.Time
}

type bucket struct {
	*rate.Limiter
	used time.Time
}

func newBuckets(perSecond rate.Limit, burst int) *buckets {
	full := time.Duration(float64(burst) / float64(perSecond) * float64(time.Second))
	return &buckets{rate: perSecond, burst: burst, idle: max(full, leastIdle), all: map[string]*bucket{}, swept: time.Now()}
}

const leastIdle = 10 * time.Minute

func (b *buckets) of(who string) *rate.Limiter {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.swept) > b.idle {
		for k, one := range b.all {
			if now.Sub(one.used) > b.idle {
				delete(b.all, k)
			}
		}
		b.swept = now
	}
	one := b.all[who]
	if one == nil {
		one = &bucket{Limiter: rate.NewLimiter(b.rate, b.burst)}
		b.all[who] = one
	}
	one.used = now
	return one.Limiter
}

func certificateBucket(r *http.Request) string { return "certificate " + fingerprint(r) }

// take takes one request from a bucket, or refuses it.
func (s *Server) take(c *gin.Context, who string, why shed) error {
	l := s.buckets.of(who)
	ok := l.Allow()
	s.limitHeaders(c, l)
	if ok {
		return nil
	}
	wait := time.Duration((1 - l.Tokens()) / float64(l.Limit()) * float64(time.Second))
	p := fault(registry.RateLimited, "more than %d requests at once or %.0f a second", l.Burst(), float64(l.Limit())).after(max(wait, time.Second))
	p.shed = why
	return p
}

const day = 24 * 60 * 60 // seconds

const (
	// leastLasting is what a request for something that stays counts at least, in bytes.
	leastLasting = 1 << 10
	// leastShort is what any write counts, beside its answer, while the store is near its quota, in bytes: what an
	// operation leaves there.
	leastShort = 16 << 10
)

// lasting runs a write and counts what it adds for good against its user's day: at
// the rate of a key one alone would fill the store with it. While the store is near
// its quota whatever a write leaves there counts, or one alone would take what is left
// for everybody to stop things with.
func (s *Server) lasting(c *gin.Context, r *request, run func()) {
	n, why, short := max(len(r.raw), leastLasting), shedRate, r.route.stores() && s.store.Room() != nil
	what := "added %d bytes of tokens, vault accounts, policies, charters, users and credentials within a day"
	switch {
	case short:
		n, why, what = leastShort, shedStore, "left %d bytes within a day in a store that is near its quota"
	case !r.route.lasts():
		run()
		return
	}
	l := s.lasts.of(r.caller.UserID)
	if missing := float64(n) - l.Tokens(); missing > 0 {
		wait := time.Duration(missing / float64(l.Limit()) * float64(time.Second))
		s.refuse(c, busy(why, "%s "+what+", the most of one user", r.caller.Name, l.Burst()).after(wait))
		return
	}
	run()
	if c.Writer.Status() >= http.StatusMultipleChoices {
		return
	}
	if short {
		n = min(n+len(r.answer), l.Burst())
	}
	l.ReserveN(time.Now(), n)
}

// limitHeaders tells the caller what is left (draft-ietf-httpapi-ratelimit-headers):
// r requests now, the whole quota q in t seconds.
func (s *Server) limitHeaders(c *gin.Context, l *rate.Limiter) {
	q, left := l.Burst(), math.Max(0, l.Tokens())
	w := int(math.Ceil(float64(q) / float64(l.Limit())))
	t := int(math.Ceil((float64(q) - left) / float64(l.Limit())))
	c.Header("RateLimit-Policy", fmt.Sprintf(`"default";q=%d;w=%d`, q, w))
	c.Header("RateLimit", fmt.Sprintf(`"default";r=%d;t=%d`, int(left), t))
}
