package dev_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// hotBytes is more than what an operation leaves in etcd with everything on, in the keys and values that are there in the
// end, without the revisions of before and the pages that are half full: 16.8 KB, of which the ledger's own JSON, with the
// intent in each of two decisions, has 6.4 and a signature 3.3. The aim is 16 KiB.
const hotBytes = 17 << 10

// held is every key of an appliance's store with the size of both.
func (a *appliance) held() map[string]int {
	a.t.Helper()
	s := a.storeOf(a.config().Store)
	defer func() { _ = s.Close() }()
	held := map[string]int{}
	for kv, err := range s.Whole(a.context(), func(int64) {}) {
		if err != nil {
			a.t.Fatal(err)
		}
		held[kv.Key] = len(kv.Key) + len(kv.Value)
	}
	return held
}

// kinds are the parts of a key that differ from one thing to the next.
var kinds = regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}|0x[0-9a-f]{64}|[0-9a-f]{64}|[0-9]{20}`)

// What a finished mint leaves in etcd, with two approvals, a webhook endpoint that hears of everything, audit log, tree
// and ledger, while several are under way. Where it is, by kinds of keys, is in the test's log.
func TestBytesThatAMintLeavesInTheStore(t *testing.T) {
	if os.Getenv("MINTWARDEN_LONG") == "" {
		t.Skip("set MINTWARDEN_LONG=1: two rounds of mints, for what a benchmark tells, too")
	}
	t.Parallel()
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer sink.Close()
	a.cli()("webhook", "create", "--url", sink.URL, "--event", "token.*", "--event", "approval.*", "--out", filepath.Join(t.TempDir(), "secret"), "--as", "admin")
	token := a.deployed()
	_, wallet, _ := a.treasury()
	const mints = 24
	round := func() {
		var ids []string
		for n := range mints {
			op, err := a.as("operator").MintToken(a.context(), token.ID, client.MintRequest{Amount: fmt.Sprint(n + 1),
				Recipient: client.Party{Type: client.PartyTypeWalletID, WalletID: &wallet.ID}})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, op.OperationID)
		}
		var deciding sync.WaitGroup
		for _, who := range []string{"approver-1", "approver-2"} {
			a.as(who) // made by this goroutine
			deciding.Go(func() {
				for _, id := range ids {
					if _, err := a.decide(who, "APPROVE", id); err != nil {
						t.Errorf("%s approves %s: %v", who, id, err)
					}
				}
			})
		}
		deciding.Wait()
		for _, id := range ids {
			a.completed(id)
			a.settled(id)
		}
	}
	// quiet waits until all that followed is written: nothing waits for an endpoint or for its number.
	quiet := func() map[string]int {
		t.Helper()
		for ctx := a.context(); ; {
			held, waits := a.held(), 0
			for key := range held {
				if strings.HasPrefix(key, store.Outbox) || strings.HasPrefix(key, store.AuditPending) || strings.HasPrefix(key, "/mw/webhook/pending/") {
					waits++
				}
			}
			if waits == 0 {
				return held
			}
			select {
			case <-ctx.Done():
				t.Fatalf("%d keys wait still", waits)
			case <-time.After(50 * time.Millisecond): // the next look
			}
		}
	}
	round() // what is written once, and the log's values that are not full yet, are there before and after
	before := quiet()
	round()
	after := quiet()
	by, count, all := map[string]int{}, map[string]int{}, 0
	for key, size := range after {
		if grown := size - before[key]; grown != 0 {
			kind := kinds.ReplaceAllString(key, "…")
			by[kind], all = by[kind]+grown, all+grown
			if before[key] == 0 {
				count[kind]++
			}
		}
	}
	for key, size := range before {
		if after[key] == 0 {
			kind := kinds.ReplaceAllString(key, "…")
			by[kind], count[kind], all = by[kind]-size, count[kind]-1, all-size
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(by)) {
		t.Logf("%7.1f bytes in %5.2f keys: %s", float64(by[kind])/mints, float64(count[kind])/mints, kind)
	}
	t.Logf("%7.1f bytes an operation", float64(all)/mints)
	if all > mints*hotBytes {
		t.Errorf("a mint leaves %d bytes in etcd, more than %d", all/mints, hotBytes)
	}
}
