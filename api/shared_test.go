package api_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
)

// stay is a testing.TB for what lasts as long as all tests: what a test of its
// own would clean up goes with the last of them.
type stay struct {
	testing.TB // nil: what is not below is asked by nobody
	mu         sync.Mutex
	cleanups   []func()
	ctx        context.Context
	end        context.CancelFunc
}

func newStay() *stay {
	s := &stay{}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

func (s *stay) Helper()                  {}
func (s *stay) Name() string             { return "shared" }
func (s *stay) Context() context.Context { return s.ctx }
func (s *stay) FailNow()                 { panic("the house that tests share does not stand") }

func (s *stay) Errorf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (s *stay) Fatal(args ...any)                 { s.Errorf("%s", fmt.Sprint(args...)); s.FailNow() }

func (s *stay) TempDir() string {
	dir, err := os.MkdirTemp("", "api-test-")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (s *stay) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// leave cleans up, the last first.
func (s *stay) leave() {
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
}

var (
	tests  = newStay()
	common = sync.OnceValue(func() *house {
		h := newHouse(tests)
		h.serve().userWith("compliance-1", "compliance_officer")
		return h
	})
)

// sharedHouse is the one house of the tests that leave seal, node and etcd as they
// are and do not count what others made; their limits are their own server's. A
// house of one's own costs two seconds of a processor under the race detector.
func sharedHouse(t testing.TB) *house {
	t.Helper()
	h := *common()
	h.t, h.keys = t, maps.Clone(h.keys)
	return &h
}
