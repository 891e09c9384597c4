package webhook_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/archive"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/webhook"
)

const (
	finishedKeys = "/mw/webhook/delivery/"
	deadKeys     = "/mw/webhook/dead/"
	againKeys    = "/mw/webhook/again/"
)

// archiving has an appliance archive what is finished for a second, in a directory; all are the charter's.
func archiving(dir string, all ...string) func(*webhook.Deps) {
	if len(all) == 0 {
		all = []string{filepath.Base(dir)}
	}
	return func(d *webhook.Deps) {
		d.Retention = time.Second
		d.Archive = webhook.Archive{Dir: dir, Appliance: filepath.Base(dir), Appliances: func() []string { return all }}
	}
}

// another is a second appliance over the same store.
func (w *world) another(edit ...func(*webhook.Deps)) *world {
	w.t.Helper()
	o := &world{t: w.t, store: w.store, deps: w.deps}
	for _, e := range edit {
		e(&o.deps)
	}
	o.make()
	return o
}

// digest stands for every byte of a delivery.
func digest(t *testing.T, d *webhook.Delivery) string {
	t.Helper()
	text, err := json.Marshal(d)
	require.NoError(t, err)
	return fmt.Sprintf("%s %s %x", d.ID, d.Status, sha256.Sum256(text))
}

// lists is everything that the lists of an endpoint show, by filter, however it is paged.
func (w *world) lists(wh string) map[string][]string {
	w.t.Helper()
	out := map[string][]string{}
	for _, status := range []webhook.Status{"", webhook.Pending, webhook.Delivered, webhook.Dead} {
		var first []string
		for _, limit := range []int{200, 7} {
			var all []string
			var cursor string
			var total int
			for {
				page, n, next, err := w.hooks.Deliveries(w.t.Context(), wh, webhook.Filter{Status: status}, limit, 0, cursor)
				require.NoError(w.t, err)
				for _, d := range page {
					all = append(all, digest(w.t, d))
				}
				total = n
				if cursor = next; next == "" {
					break
				}
			}
			require.Len(w.t, all, total, "%q: the total", status)
			if first == nil {
				first = all
			}
			require.Equal(w.t, first, all, "%q by pages of %d", status, limit)
		}
		for _, offset := range []int{0, 1, 50, len(first)} {
			page, _, _, err := w.hooks.Deliveries(w.t.Context(), wh, webhook.Filter{Status: status}, 10, offset, "")
			require.NoError(w.t, err)
			for i, d := range page {
				require.Equal(w.t, first[offset+i], digest(w.t, d), "%q from %d on", status, offset)
			}
		}
		out[string(status)] = first
	}
	return out
}

// some are deliveries of 230 operations that are finished, every tenth dead; the clock stands an hour or more later.
func (w *world) some(c *clock) (*webhook.Endpoint, *sink) {
	w.t.Helper()
	s := newSink(w.t, func(rw http.ResponseWriter, r received) {
		if strings.HasSuffix(fmt.Sprint(r.event.Data["operationId"]), "7") {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	e, _ := w.endpoint(s)
	for from := 0; from < 230; from += 46 {
		w.emitMany("token.minted", from, 46)
	}
	w.finish(c, e.ID, 230)
	return e, s
}

// finish lets time pass until n deliveries were made and none is pending.
func (w *world) finish(c *clock, wh string, n int) {
	w.t.Helper()
	w.until("all is delivered or dead", func() bool {
		c.advance(time.Hour)
		_, all, _, err := w.hooks.Deliveries(w.t.Context(), wh, webhook.Filter{}, 1, 0, "")
		require.NoError(w.t, err)
		_, pending, _, err := w.hooks.Deliveries(w.t.Context(), wh, webhook.Filter{Status: webhook.Pending}, 1, 0, "")
		require.NoError(w.t, err)
		return all >= n && pending == 0 && len(w.keys(store.Outbox)) == 0
	})
}

// emptied waits until nothing finished is in the store.
func (w *world) emptied(c *clock) {
	w.t.Helper()
	w.until("all is archived", func() bool {
		c.advance(time.Minute)
		return len(w.keys(finishedKeys)) == 0
	})
	require.Empty(w.t, w.keys(deadKeys))
	require.Empty(w.t, w.keys(againKeys))
}

// What is archived is listed as it was, byte for byte, by all filters, cursors and offsets, while it moves, after that,
// beside what is new, and after a start.
func TestArchivedDeliveriesAreListedAsBefore(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := filepath.Join(t.TempDir(), "one")
	w := newWorld(t, c.use) // without an archive, and with a retention of days
	w.run()
	e, s := w.some(c)
	before := w.lists(e.ID)
	require.Len(t, before[""], 230)
	require.Len(t, before["DEAD"], 23)
	w.stop()

	archiving(dir)(&w.deps)
	w.make()
	w.run()
	for len(w.keys(finishedKeys)) > 0 {
		c.advance(time.Minute)
		require.Equal(t, before, w.lists(e.ID), "while it moves")
	}
	w.emptied(c)
	require.Equal(t, before, w.lists(e.ID))

	w.emitMany("token.minted", 1000, 40)
	w.until("what is new came", func() bool { return len(w.deliveries(e.ID)) == 270 })
	w.finish(c, e.ID, 270)
	after := w.lists(e.ID)
	require.Equal(t, before[""], after[""][40:])
	w.stop()
	w.make()
	w.run()
	require.Equal(t, after, w.lists(e.ID), "after a start")
	require.GreaterOrEqual(t, len(s.all()), 270)
}

// An archived delivery is replayed like any other: with the same bytes, once more in the store, once in every list;
// and it is archived again.
func TestAnArchivedDeliveryIsReplayed(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := filepath.Join(t.TempDir(), "one")
	w := newWorld(t, c.use, archiving(dir))
	w.run()
	e, s := w.some(c)
	w.emptied(c)
	page, _, _, err := w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{Status: webhook.Dead}, 1, 3, "")
	require.NoError(t, err)
	dead := page[0]
	var healthy atomic.Bool
	s.mu.Lock()
	s.answer = func(rw http.ResponseWriter, _ received) {
		if !healthy.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	came := len(s.got)
	s.mu.Unlock()
	for range 2 { // once it is dead again, once it is delivered
		_, err = w.hooks.Replay(t.Context(), admin, e.ID, dead.ID, nil)
		require.NoError(t, err)
		all, total, _, err := w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{}, 300, 0, "")
		require.NoError(t, err)
		require.Len(t, all, 230, "it stands in the archive and in the store, and once in the list")
		require.Equal(t, 230, total)
		w.until("it came", func() bool { return len(s.all()) > came })
		got := s.all()[len(s.all())-1]
		require.Equal(t, dead.Body, string(got.body))
		require.Equal(t, dead.EventID, got.event.ID)
		w.finish(c, e.ID, 230)
		w.emptied(c)
		lists := w.lists(e.ID)
		require.Len(t, lists[""], 230)
		if healthy.Swap(true) {
			require.Len(t, lists["DEAD"], 22)
			require.Len(t, lists["DELIVERED"], 208)
		} else {
			require.Len(t, lists["DEAD"], 23)
		}
		came = len(s.all())
	}
	for _, unknown := range []string{store.NewID("del_"), "del_../" + dead.ID, e.ID + "/" + dead.ID} {
		_, err = w.hooks.Replay(t.Context(), admin, e.ID, unknown, nil)
		var no *webhook.Refusal
		require.ErrorAs(t, err, &no, unknown)
		require.Equal(t, webhook.NotFound, no.Kind)
	}
	w.stop()
	w.make()
	w.run()
	require.Len(t, w.lists(e.ID)["DEAD"], 22, "the newest block counts")
}

// An endpoint is deleted while its deliveries stand in a block that one of two appliances has: neither archive is held
// up, and nothing else is lost.
func TestAnEndpointGoesBetweenTheBlocksOfItsDeliveries(t *testing.T) {
	t.Parallel()
	c := newClock()
	base := t.TempDir()
	all := []string{"one", "two"}
	w := newWorld(t, c.use, archiving(filepath.Join(base, "one"), all...))
	w.run()
	kept, _ := w.endpoint(newSink(t, nil))
	gone, _ := w.some(c)
	w.finish(c, kept.ID, 230)
	before := w.lists(kept.ID)
	w.until("a block is on the one disk", func() bool {
		c.advance(time.Minute)
		files, err := filepath.Glob(filepath.Join(base, "one", "*.gz"))
		require.NoError(t, err)
		return len(files) == 1
	})
	require.Len(t, w.keys(finishedKeys), 460, "the other appliance has it not")
	_, err := w.hooks.Delete(t.Context(), admin, gone.ID, nil)
	require.NoError(t, err)
	w.until("the endpoint's deliveries are taken away", func() bool {
		c.advance(time.Minute)
		return len(w.keys(finishedKeys+gone.ID)) == 0
	})
	o := w.another(archiving(filepath.Join(base, "two"), all...))
	o.run()
	w.emptied(c)
	for _, who := range []*world{w, o} {
		require.Equal(t, before, who.lists(kept.ID))
		require.Zero(t, who.metric("mintwarden_archive_fault"))
	}
	// And after a start of both: what a file says to have stayed in the store is not missed there.
	for _, who := range []*world{w, o} {
		who.stop()
		who.make()
		who.run()
		require.Equal(t, before, who.lists(kept.ID))
		require.Zero(t, who.metric("mintwarden_archive_fault"))
	}
}

// Where the archive is not what was written, no list leaves anything out: it is an error.
func TestAttack_DeliveriesAreTakenOutOfTheArchive(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := filepath.Join(t.TempDir(), "one")
	w := newWorld(t, c.use, archiving(dir))
	w.run()
	e, _ := w.some(c)
	w.emptied(c)
	page, _, _, err := w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{}, 1, 229, "")
	require.NoError(t, err)
	w.stop()
	files, err := filepath.Glob(filepath.Join(dir, "*.gz"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 3)
	refused := func(want error) {
		t.Helper()
		_, _, _, err := w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{}, 10, 225, "")
		require.ErrorIs(t, err, want)
		_, err = w.hooks.Replay(t.Context(), admin, e.ID, page[0].ID, nil)
		require.ErrorIs(t, err, want)
	}
	newest := files[len(files)-1]
	content, err := os.ReadFile(newest)
	require.NoError(t, err)
	require.NoError(t, os.Remove(newest))
	w.make()
	w.run()
	refused(archive.ErrIncomplete)
	w.stop()
	require.NoError(t, os.WriteFile(newest, content, 0o600))

	// Which block has it depends on when it was delivered.
	of := slices.IndexFunc(files, func(name string) bool { return strings.Contains(unzipped(t, name), page[0].ID) })
	content, err = os.ReadFile(files[of])
	require.NoError(t, err)
	content[len(content)-20] ^= 1
	require.NoError(t, os.WriteFile(files[of], content, 0o600))
	w.make()
	w.run()
	refused(archive.ErrDamaged)
	w.stop()

	w.deps.Archive = webhook.Archive{}
	w.make()
	w.run()
	refused(archive.ErrIncomplete)
}

// unzipped is what a file of the archive holds.
func unzipped(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	text, err := io.ReadAll(z)
	require.NoError(t, err)
	return string(text)
}

// What waits for an endpoint that does not listen does not keep what another one took in the store.
func TestABacklogHoldsUpNoArchive(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := newWorld(t, c.use)
	quiet := newSink(t, nil)
	quiet.server.Close()
	down, _ := w.endpoint(quiet)
	up, _ := w.endpoint(newSink(t, nil))
	w.run()
	const waiting, looked = 210, 50 // so many are looked at at once
	for from := 0; from < waiting; from += 42 {
		w.emitMany("token.minted", from, 42)
	}
	w.until("one took all", func() bool {
		_, n, _, err := w.hooks.Deliveries(t.Context(), up.ID, webhook.Filter{Status: webhook.Delivered}, 1, 0, "")
		require.NoError(t, err)
		return n == waiting
	})
	w.stop()
	archiving(filepath.Join(t.TempDir(), "one"))(&w.deps)
	c.advance(time.Hour)
	w.make()
	w.hooks.SetScan(looked)
	w.run()
	w.until("what it took is archived", func() bool { return len(w.keys(finishedKeys+up.ID)) == 0 })
	_, n, _, err := w.hooks.Deliveries(t.Context(), down.ID, webhook.Filter{Status: webhook.Pending}, 1, 0, "")
	require.NoError(t, err)
	require.Equal(t, waiting, n)
	_, n, _, err = w.hooks.Deliveries(t.Context(), up.ID, webhook.Filter{}, 1, 0, "")
	require.NoError(t, err)
	require.Equal(t, waiting, n)
}

// FuzzParseArchivedID: a name has one spelling, and names one key of one endpoint.
func FuzzParseArchivedID(f *testing.F) {
	f.Add("wh_01JS0Z4M9GQ3V1T7T2B5C8D0EF/del_01JS0Z4M9GQ3V1T7T2B5C8D0EF")
	f.Add("wh_01JS0Z4M9GQ3V1T7T2B5C8D0EF/../del_01JS0Z4M9GQ3V1T7T2B5C8D0EF")
	f.Add("/")
	f.Add("del_01JS0Z4M9GQ3V1T7T2B5C8D0EF")
	f.Fuzz(func(t *testing.T, id string) {
		wh, del, err := webhook.ParseArchivedID(id)
		if err == nil && (wh+"/"+del != id || strings.Count(id, "/") != 1 || !store.ValidID("wh_", wh) || !store.ValidID("del_", del)) {
			t.Errorf("%q is %q and %q", id, wh, del)
		}
	})
}
