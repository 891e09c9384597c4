package sealed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// long says whether the tests that take long run in full.
func long() bool { return os.Getenv("MINTWARDEN_LONG") == "1" }

// otherStore is another etcd, with the log as it is in the first now: two
// histories begin there.
func otherStore(t *testing.T) *logStore {
	t.Helper()
	in := func(name string) string { return filepath.Join(house.dir, name) }
	cfg := embed.NewConfig()
	cfg.EnableGRPCGateway = false // as in production
	cfg.Dir, cfg.LogLevel, cfg.UnsafeNoFsync = t.TempDir(), "fatal", true
	clients, peers := url.URL{Scheme: "https", Host: "127.0.0.1:0"}, url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{clients}, []url.URL{clients}
	cfg.ListenPeerUrls = []url.URL{peers}
	cfg.ClientTLSInfo = transport.TLSInfo{CertFile: in("server.crt"), KeyFile: in("server.key"), TrustedCAFile: in("ca.crt"), ClientCertAuth: true}
	e, err := embed.StartEtcd(cfg)
	require.NoError(t, err)
	t.Cleanup(e.Close)
	<-e.Server.ReadyNotify()
	sc := house.store
	sc.Endpoints = []string{"https://" + e.Clients[0].Addr().String()}
	_, _, err = net.SplitHostPort(e.Clients[0].Addr().String())
	require.NoError(t, err)
	s := openLog(t, sc)
	all, err := openLog(t, house.store).c.Get(t.Context(), ledger.LogPrefix, clientv3.WithPrefix())
	require.NoError(t, err)
	for _, kv := range all.Kvs {
		_, err := s.c.Put(t.Context(), string(kv.Key), string(kv.Value))
		require.NoError(t, err)
	}
	return s
}

// A hostile etcd shows each of two seals a history of its own, in which the other
// is gone. Both histories verify; the token's anchor lets one of them author.
func TestTwoHistoriesForTwoSeals(t *testing.T) {
	c := newCouple(t)
	c.furnishLimit()
	c.deploy()
	first, second := c.mint("1000"), c.mint("1000")
	for _, in := range []*policy.Intent{first, second} {
		c.approve(in, 0, 1)
	}
	seq, head := c.one.known().fold.Head()
	_, err := c.one.Join(t.Context(), c.join(secondAppliance, seq, head))
	require.NoError(t, err)
	c.two = newTestRoom(t, c.digest, roomOptions{state: c.dirs[1], appliance: secondAppliance, store: otherStore(t)})
	start(t, c.two)
	c.takesOver(c.two)
	require.Eventually(t, func() bool { return standing(t).Author == secondAppliance }, patience, 10*time.Millisecond)

	before := signatures(t)
	out, err := c.two.Authorize(t.Context(), c.request(second))
	require.NoError(t, err)
	c.verified(out)
	_, err = c.one.Authorize(t.Context(), c.request(first))
	requireKind(t, seal.KindStore, err)
	require.ErrorContains(t, err, "another seal writes another history")
	require.Equal(t, before+1, signatures(t), "the limit of 1000 was spent in one history only")
	require.NotZero(t, testutil.ToFloat64(c.one.metrics.notices.WithLabelValues(string(noticedAnchor))))

	// The first one cannot go on either: its store does not extend the anchor.
	_, err = c.two.Freeze(t.Context(), seal.FreezeRequest{TokenID: c.token.ID, Event: "something that renews the anchor"})
	require.NoError(t, err)
	for range 3 {
		_, err = c.one.Authorize(t.Context(), c.request(first))
		requireKind(t, seal.KindStore, err)
	}
	require.Equal(t, before+1, signatures(t))
}

// furnishLimit replaces the policy by one with a daily limit of 1000.
func (c *couple) furnishLimit() {
	c.t.Helper()
	e := c.nextPolicy(policy.Rule{Type: policy.RuleDailyLimit, Amount: amountPtr("1000"), Operations: []policy.OperationType{policy.OpMint}})
	_, err := c.door.PolicyApply(c.t.Context(), e)
	require.NoError(c.t, err)
	c.policy = policy.PolicyRef{ID: c.policy.ID, Version: 2, Digest: e.PayloadDigest()}
}

// standby is a second seal's process beside p: its own appliance id, state and
// socket; the same token and store.
func (p *process) standby() *process {
	p.t.Helper()
	dir, err := os.MkdirTemp("", "seal")
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	q := &process{t: p.t, dir: dir, token: p.token, id: secondAppliance, lease: p.lease}
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, "pin"), []byte("pin-5678\n"), 0o600))
	q.configure("")
	return q
}

// twoProcesses is an instance of two running seals, of which the second joined.
func twoProcesses(t *testing.T, lease string) (i *instance, first, second *process, doors [2]remote) {
	t.Helper()
	first = newProcess(t)
	first.lease = lease
	first.configure("")
	second = first.standby()
	one, two := first.start(), second.start()
	me, err := one.Init(t.Context())
	require.NoError(t, err)
	other, err := two.Init(t.Context())
	require.NoError(t, err)
	who := newPeople(t)
	charter := who.charter(me, func(c *policy.Charter) {
		c.Appliances = append(c.Appliances, policy.Appliance{ID: secondAppliance, LedgerKey: other.LedgerKey, UnsealKey: other.UnsealKey,
			Token: policy.SecurityToken{Serial: other.Token.Serial, CheckValues: other.Token.CheckValues}})
		c.Limits.MaxOutstanding = 4096
		c.Networks[0].DailyFee = policy.MaxAmount()
	})
	payload, err := charter.Encode()
	e := sign(t, policy.DocCharter, payload, err, who.custodians...)
	first.configure(e.PayloadDigest())
	second.configure(e.PayloadDigest())
	_, err = one.CharterApply(t.Context(), e)
	require.NoError(t, err)
	i = &instance{t: t, door: one, people: who, charter: charter, digest: e.PayloadDigest(), first: e}
	i.furnish()
	i.deploy()
	s, err := one.Status(t.Context())
	require.NoError(t, err)
	_, err = one.Join(t.Context(), i.join(secondAppliance, s.Sequence, s.Head))
	require.NoError(t, err)
	second.stop()
	two = second.start() // with charter1
	i.follows(two)
	return i, first, second, [2]remote{one, two}
}

// follows waits until a seal goes by the ledger.
func (i *instance) follows(r remote) {
	i.t.Helper()
	require.Eventually(i.t, func() bool {
		s, err := r.Status(i.t.Context())
		return err == nil && s.Initialized && s.Doubt == nil && s.Author != ""
	}, patience, 20*time.Millisecond)
}

// authorizes asks until the seal is the author and answers.
func (i *instance) authorizes(r remote, in *policy.Intent) *seal.AuthorizeResult {
	i.t.Helper()
	var out *seal.AuthorizeResult
	require.Eventually(i.t, func() bool {
		var err error
		out, err = r.Authorize(i.t.Context(), i.request(in))
		return err == nil
	}, patience, 20*time.Millisecond)
	return out
}

// The author's process is killed: the other takes over after the lease, in a
// higher term, and what was authorized stays so.
func TestAnotherSealTakesOverWhenTheAuthorDies(t *testing.T) {
	i, first, _, doors := twoProcesses(t, "2s")
	in := i.mint("5")
	i.approve(in, 0, 1)
	out, err := doors[0].Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	before, err := doors[0].Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, first.cmd.Process.Kill())
	require.NoError(t, ignoreKilled(first.cmd.Wait()))
	died := time.Now()
	again := i.authorizes(doors[1], in)
	t.Logf("took over %s after the author died", time.Since(died).Round(time.Millisecond))
	require.Equal(t, i.verified(out).Nonce, i.verified(again).Nonce)
	_, err = doors[1].Settle(t.Context(), seal.SettleRequest{OperationID: in.OperationID, TxHash: again.TxHash})
	require.NoError(t, err)
	after, err := doors[1].Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, secondAppliance, after.Author)
	require.Greater(t, after.Term, before.Term)
}

func ignoreKilled(err error) error {
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// The author is stopped past its lease, the other goes on, and the author wakes
// up in the middle of what it was doing: it writes and signs nothing of it.
func TestALeaderPausedPastItsLeaseIsRefused(t *testing.T) {
	rounds := 3
	if long() {
		rounds = 200
	}
	i, first, second, doors := twoProcesses(t, "2s")
	workers := [2]int{first.worker, second.worker}
	author := 0
	for round := range rounds {
		next := 1 - author
		in, late := i.mint("1"), i.mint("1")
		i.door = doors[author]
		i.approve(in, 0, 1)
		i.approve(late, 0, 1)
		pauseProcess(t, workers[author])
		// Asked while it is stopped, so that it is the first thing that it does.
		asked := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		go func() {
			_, err := doors[author].Authorize(ctx, i.request(late))
			asked <- err
		}()
		out := i.authorizes(doors[next], in)
		nonce := i.verified(out).Nonce
		require.NoError(t, syscall.Kill(workers[author], syscall.SIGCONT))
		err := soon(t, asked, "the paused author's answer")
		cancel()
		require.Error(t, err, "round %d: a paused author signed", round)
		kind, _ := seal.KindOf(err)
		require.Contains(t, []seal.Kind{seal.KindNotAuthor, seal.KindStore}, kind, "round %d: %v", round, err)
		i.follows(doors[author])
		_, err = doors[author].Authorize(t.Context(), i.request(late))
		requireKind(t, seal.KindNotAuthor, err)
		got := i.authorizes(doors[next], late)
		require.Equal(t, nonce+1, i.verified(got).Nonce, "round %d: nothing came between", round)
		for _, o := range []*seal.AuthorizeResult{out, got} {
			_, err := doors[next].Settle(t.Context(), seal.SettleRequest{OperationID: operationOf(t, o), TxHash: o.TxHash})
			require.NoError(t, err)
		}
		author = next
	}
}

// pauseProcess stops a process and waits until none of its threads runs.
func pauseProcess(t *testing.T, pid int) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	require.Eventually(t, func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		require.NoError(t, err)
		for _, path := range threads {
			text, err := os.ReadFile(path)
			if err != nil {
				return false
			}
			// The state stands behind the name, which stands in brackets.
			if rest := text[bytes.LastIndexByte(text, ')')+1:]; len(rest) < 2 || rest[1] != 'T' {
				return false
			}
		}
		return len(threads) > 0
	}, patience, time.Millisecond)
}

func operationOf(t *testing.T, out *seal.AuthorizeResult) string {
	t.Helper()
	r, err := ledger.ParseRecord(out.Authorization)
	require.NoError(t, err)
	return r.Authorize.OperationID
}

// Two seals that are asked at once, whoever is author, never both authorize.
func TestTwoSealsAskedAtOnce(t *testing.T) {
	c := newCouple(t)
	c.arrive(roomOptions{})
	c.deploy()
	for range 5 {
		in := c.mint("1")
		c.approve(in, 0, 1)
		var all sync.WaitGroup
		nonces := make([]string, 2)
		for n, r := range []*room{c.one, c.two} {
			all.Go(func() {
				if out, err := r.Authorize(context.Background(), c.request(in)); err == nil {
					nonces[n] = fmt.Sprint(c.verified(out).Nonce)
				}
			})
		}
		all.Wait()
		require.NotEmpty(t, nonces[0])
		require.Empty(t, nonces[1])
	}
}
