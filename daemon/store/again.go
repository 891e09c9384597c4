package store

import (
	"context"
	"log/slog"
	"time"
)

const (
	// leastPause and mostPause bound how long one waits before what failed is begun again.
	leastPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
)

// Again runs work that follows a store until it ends without an error or ctx ends, and begins it again after each
// failure, with a pause that grows, so that a store that is away is not hammered. What went well for longer than the
// longest pause begins with the shortest one. part names it in the log.
func Again(ctx context.Context, log *slog.Logger, part string, work func(context.Context) error) {
	pause := leastPause
	for {
		began := time.Now()
		err := work(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		if time.Since(began) > mostPause {
			pause = leastPause
		}
		log.Warn(part+": starting again", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, mostPause)
	}
}
