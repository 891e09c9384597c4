package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// lookEvery is how often etcd is asked for its size.
	lookEvery = time.Second
	// shortAbove is the share of its quota in use above which etcd takes nothing new from us: what is left is
	// for what is under way, and for what stops things.
	shortAbove = 0.85
	// sparseAbove is the share of the quota that the database may have on its disk, free pages and all. etcd
	// fills these first, but refuses by the size whatever is free.
	sparseAbove = 0.95
)

// Space is how full etcd is, in bytes.
type Space struct {
	Size  int64 // of the database on the disk
	InUse int64 // what of that is not free
	Quota int64 // at which size etcd refuses every write; below 1: never
	Full  bool  // etcd raised the alarm NOSPACE: it refuses writes until somebody disarms it
}

// sparse is true where it is free pages that bring the database near its quota.
func (s Space) sparse() bool {
	return s.Quota > 0 && float64(s.Size) >= sparseAbove*float64(s.Quota) && !s.crowded()
}

// crowded is true where it is what the database holds.
func (s Space) crowded() bool {
	return s.Quota > 0 && float64(s.InUse) >= shortAbove*float64(s.Quota)
}

// ShortError says that etcd is near its quota. It is ErrShort.
type ShortError struct{ Space }

func (e *ShortError) Error() string {
	if e.sparse() {
		return fmt.Sprintf("store: etcd's database has %d of %d bytes on its disk, %d in use: defragment it", e.Size, e.Quota, e.InUse)
	}
	return fmt.Sprintf("store: etcd has %d of %d bytes in use: let more of it go to the archive, compact, or raise its quota", e.InUse, e.Quota)
}

// Is makes every ShortError an ErrShort.
func (e *ShortError) Is(target error) bool { return target == ErrShort }

// WatchSpace asks etcd for its size until ctx is done, for Room to go by. The embedded etcd is defragmented
// where free pages alone bring it near its quota: its requests wait meanwhile, some seconds for a GiB in use.
// It returns ctx's error.
func (s *Store) WatchSpace(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	failing := false
	for {
		space, err := s.Look(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !failing:
			s.log.Warn("store: etcd does not say how full it is", "error", err)
		case err == nil && space.sparse() && s.cfg.Embedded != nil:
			s.log.Info("store: defragmenting etcd", "size", space.Size, "in_use", space.InUse, "quota", space.Quota)
			if err := s.cfg.Embedded.Defragment(); err != nil {
				s.log.Error("store: defragmenting etcd", "error", err)
			}
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Look asks every member of etcd how full it is, and notes the fullest, for Room: one that is full stops the
// writes of all. An error says that none answered; what was noted before stays.
func (s *Store) Look(ctx context.Context) (Space, error) {
	endpoints := s.cfg.Endpoints
	if s.cfg.Embedded != nil {
		endpoints = []string{s.cfg.Embedded.Endpoint()}
	}
	var worst *Space
	var failed []error
	for _, endpoint := range endpoints {
		seen, err := s.status(ctx, endpoint)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", endpoint, err))
			continue
		}
		if worst == nil {
			worst = &seen
			continue
		}
		seen.Full = seen.Full || worst.Full
		worst.Full = seen.Full
		if seen.Size-seen.Quota > worst.Size-worst.Quota {
			worst = &seen
		}
	}
	if worst == nil {
		return Space{}, wrap(ctx, "status", errors.Join(failed...))
	}
	before := s.space.Swap(worst)
	s.metrics.space(*worst, s.Room() != nil)
	if worst.Full && (before == nil || !before.Full) {
		s.log.Error("store: etcd is full (NOSPACE) and takes no writes: compact and defragment it, then disarm the alarm",
			"size", worst.Size, "in_use", worst.InUse, "quota", worst.Quota)
	}
	return *worst, nil
}

func (s *Store) status(ctx context.Context, endpoint string) (Space, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	done := s.metrics.start("status")
	r, err := s.client.Status(ctx, endpoint)
	done(err)
	if err != nil {
		return Space{}, err
	}
	return s.spaceOf(r), nil
}

// spaceOf is what etcd's answer says. Servers before 3.6 do not tell their quota.
func (s *Store) spaceOf(r *clientv3.StatusResponse) Space {
	space := Space{Size: r.DbSize, InUse: r.DbSizeInUse, Quota: r.DbSizeQuota}
	if space.Quota == 0 {
		space.Quota = s.cfg.QuotaBytes
	}
	for _, alarm := range r.Errors {
		space.Full = space.Full || strings.Contains(alarm, pb.AlarmType_NOSPACE.String())
	}
	return space
}

// Room is nil while etcd has room for what is new, as far as the last look at it knows; else ErrShort, or
// ErrFull. It asks nobody.
func (s *Store) Room() error {
	space := s.space.Load()
	switch {
	case space == nil:
		return nil
	case space.Full:
		return ErrFull
	case space.crowded() || space.sparse():
		return &ShortError{*space}
	}
	return nil
}
