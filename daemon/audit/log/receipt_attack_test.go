package auditlog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// Whoever asks for receipts of ids that he made up keeps nobody waiting: an entry
// of long ago, or of a time to come, is there or is not. The deadline is a small
// part of what waiting for each would take.
func TestAttack_ReceiptsOfMadeUpIDsDoNotWait(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	l, _ := start(t, s)
	if err := write(t.Context(), s, "t0", 1); err != nil {
		t.Fatal(err)
	}
	await(t, l, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for i := range 300 {
		at := []time.Time{time.Unix(0, 0), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)}[i%3]
		id := "aud_" + ulid.MustNew(ulid.Timestamp(at), ulid.DefaultEntropy()).String()
		if _, err := l.Receipt(ctx, id); !errors.Is(err, auditlog.ErrNoEntry) {
			t.Fatalf("receipt %d, of %s: %v", i, id, err)
		}
	}
}
