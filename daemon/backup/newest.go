package backup

import (
	"context"
	"fmt"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// newest is where the store has the time of the newest backup of it.
const newest = store.Root + "backup"

// Note has the store remember when the backup was begun. A backup that was never noted is as good; that there is one
// is told to nobody.
func (m *Manifest) Note(ctx context.Context, s *store.Store) error {
	t := s.Tx()
	t.Put(newest, []byte(m.CreatedAt.Format(time.RFC3339)))
	_, err := t.Commit(ctx)
	return err
}

// Newest is when the newest backup that was noted in a store was begun; the zero time if none was.
func Newest(ctx context.Context, s *store.Store) (time.Time, error) {
	text, _, there, err := s.Get(ctx, newest)
	if err != nil || !there {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return time.Time{}, fmt.Errorf("backup: %s: %w", newest, err)
	}
	return at, nil
}
