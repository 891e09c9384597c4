package operation_test

import (
	"encoding/json/v2"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/chaintest"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// BenchmarkMints keeps sixteen and sixty-four mints of one wallet on their way, each of another amount, from the request
// over one approval to COMPLETED, on each kind of network: mints a second, the time from the block that makes one final
// to the event that says so in the store, and what the node is asked for one, by questions and by requests that hold
// them. Blocks come every 250 ms, and on go-ethereum, which takes them no faster, every second; on a chain with a block
// every 15 seconds more mints share what they ask.
func BenchmarkMints(b *testing.B) {
	for _, kind := range []tx.Kind{tx.KindQuantum, tx.KindEVM} {
		for _, inFlight := range []int{16, 64} {
			b.Run(fmt.Sprintf("%s/in-flight=%d", kind, inFlight), func(b *testing.B) {
				for n := 0; b.Loop(); n++ {
					if n == 0 { // it takes longer than a second
						newMill(b, kind, inFlight).run()
					}
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// mill mints and measures.
type mill struct {
	*house
	b        *testing.B
	inFlight int
	node     *chaintest.Proxy
	token    *registry.Token

	next atomic.Int64 // the amounts

	mu    sync.Mutex
	mined []time.Time                         // when a block was there, by number
	ended map[string]chan operation.Operation // by id: who waits for its end
	late  []time.Duration                     // from the block to the event
}

func newMill(b *testing.B, kind tx.Kind, inFlight int) *mill {
	m := &mill{b: b, inFlight: inFlight, ended: map[string]chan operation.Operation{}}
	pace := 250 * time.Millisecond
	if kind == tx.KindEVM {
		pace = time.Second
	}
	m.house = newHouse(b, options{kind: kind, period: manual, pace: pace, maxOutstanding: 1000, rules: []policy.Rule{approvals(1)}, nodes: behind(b, &m.node)})
	stop := m.mineAlways()
	m.token = m.deployed("0")
	stop()
	return m
}

// blocks makes blocks at the kind's pace until the function that it returns is called, and notes when each was there.
func (m *mill) blocks() (stop func()) {
	m.mined = make([]time.Time, m.head()+1)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(m.pace)
		defer t.Stop()
		for {
			select {
			case <-end:
				return
			case <-t.C:
				m.mine(1)
				m.mu.Lock()
				m.mined = append(m.mined, time.Now())
				m.mu.Unlock()
			}
		}
	}()
	return func() { close(end); <-ended }
}

// listen hands every end to who waits for it, as the store tells of it.
func (m *mill) listen() {
	go func() {
		for c := range m.store.Watch(m.b.Context(), "/mw/op/", 0) {
			if c.Err != nil {
				return
			}
			now := time.Now()
			for _, e := range c.Events {
				var o operation.Operation
				if e.Key != store.OpState(path.Base(path.Dir(e.Key))) || json.Unmarshal(e.Value, &o) != nil || !o.Status.Terminal() {
					continue
				}
				m.mu.Lock()
				if done, waits := m.ended[o.ID]; waits {
					delete(m.ended, o.ID)
					if final := o.BlockNumber + m.confirmations - 1; final < uint64(len(m.mined)) {
						m.late = append(m.late, now.Sub(m.mined[final]))
					}
					done <- o
				}
				m.mu.Unlock()
			}
		}
	}()
}

// one carries a mint to its end.
func (m *mill) one(by registry.Actor) error {
	amount := strconv.FormatInt(m.next.Add(1), 10) // each another call, whose gas nobody else asks for
	o, err := m.operations.Submit(m.b.Context(), by, operation.Request{Type: policy.OpMint, TokenID: m.token.ID, Amount: &amount, Recipient: m.own()}, nil)
	if err != nil {
		return err
	}
	done := make(chan operation.Operation, 1)
	m.mu.Lock()
	m.ended[o.ID] = done
	m.mu.Unlock()
	if _, err := m.operations.Decide(m.b.Context(), m.actor("approver-1"), o.ID, policy.Approve, m.envelope(o, "approver-1", policy.Approve, "")); err != nil {
		return err
	}
	if end := <-done; end.Status != operation.Completed {
		return fmt.Errorf("%s is %s: %s", end.ID, end.Status, end.FailureReason)
	}
	return nil
}

// keep has its number of mints on their way for so long, and tells how many ended.
func (m *mill) keep(span time.Duration) int {
	var count atomic.Int64
	var all sync.WaitGroup
	deadline := time.Now().Add(span)
	for k := range m.inFlight {
		by := operator // few enough of each key for the limit on what waits for approval
		by.CredentialID = fmt.Sprintf("cred_%d", k%4)
		all.Go(func() {
			for time.Now().Before(deadline) {
				if err := m.one(by); err != nil {
					m.b.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	return int(count.Load())
}

func (m *mill) run() {
	span := 8 * time.Second
	if testing.Short() {
		span = time.Second
	}
	defer m.blocks()()
	m.listen()
	warm := m.keep(span / 4)
	m.mu.Lock()
	m.late = nil
	m.mu.Unlock()
	before, posts, began := m.node.Counts(), m.node.Requests(), time.Now()
	n := m.keep(span)
	took, after := time.Since(began), m.node.Counts()
	posts = m.node.Requests() - posts
	all := int64(warm + n)
	require.Equal(m.b, fmt.Sprint(all*(all+1)/2), m.supply(m.token))
	asked := 0
	for method, count := range after {
		asked += count - before[method]
		if os.Getenv("MINTWARDEN_TEST_LOG") != "" {
			m.b.Logf("%-30s %6.2f a mint", method, float64(count-before[method])/float64(n))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.Sort(m.late)
	require.NotEmpty(m.b, m.late)
	m.b.ReportMetric(float64(n)/took.Seconds(), "mints/s")
	m.b.ReportMetric(float64(m.late[len(m.late)/2].Milliseconds()), "ms-block-to-event-p50")
	m.b.ReportMetric(float64(m.late[len(m.late)*99/100].Milliseconds()), "ms-block-to-event-p99")
	m.b.ReportMetric(float64(asked)/float64(n), m.aim("rpc-calls/mint"))
	m.b.ReportMetric(float64(posts)/float64(n), "rpc-requests/mint")
}

// aim is the name of a figure whose aim is stated for sixteen in flight.
func (m *mill) aim(name string) string {
	if m.inFlight == 16 {
		return name + "(aim≤6)"
	}
	return name
}
