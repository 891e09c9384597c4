package operation_test

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/chaintest"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/audit"
	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// TestScenarios plays testdata/scenarios: each file says in a sentence what goes wrong, and is a script of what
// happens to the chain, its nodes and this process. Whatever happens, it ends in the same check (invariants).
// Files whose setting is the same are played one after the other on one appliance, so that each also starts with
// what the ones before it left, as many as a stage takes; a file marked long is played in the long run only.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/scenarios/*.txtar")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 30)
	settings := map[string][]*scenario{}
	for _, f := range files {
		s := readScenario(t, f)
		if s.long && os.Getenv("MINTWARDEN_LONG") == "" {
			continue
		}
		settings[s.setting()] = append(settings[s.setting()], s)
	}
	for _, setting := range slices.Sorted(maps.Keys(settings)) {
		for n, program := range slices.Collect(slices.Chunk(settings[setting], perStage)) {
			t.Run(fmt.Sprintf("%s-%d", setting, n+1), func(t *testing.T) {
				t.Parallel()
				p := newPlay(t, program[0])
				for _, s := range program {
					if !t.Run(s.name, func(t *testing.T) { p.perform(t, s) }) {
						return // what follows would stand on a broken stage
					}
				}
			})
		}
	}
}

// perStage is how many scenarios are played on one appliance at most: stages stand side by side.
const perStage = 12

// scenario is one file.
type scenario struct {
	name  string
	kind  tx.Kind
	nodes int
	long  bool
	lines []string
}

func (s *scenario) setting() string { return fmt.Sprintf("%s-of-%d", s.kind, s.nodes) }

// readScenario: "kind: evm", "nodes: 2" and "long" are lines of the comment; the script is in the file «script».
func readScenario(t *testing.T, path string) *scenario {
	t.Helper()
	a, err := txtar.ParseFile(path)
	require.NoError(t, err)
	s := &scenario{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), kind: tx.KindQuantum, nodes: 1}
	for line := range strings.Lines(string(a.Comment)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), ": "); key {
		case "kind":
			s.kind = tx.Kind(value)
		case "nodes":
			s.nodes, err = strconv.Atoi(value)
			require.NoError(t, err, path)
		case "long":
			s.long = true
		}
	}
	require.Len(t, a.Files, 1, path)
	require.Equal(t, "script", a.Files[0].Name, path)
	for line := range strings.Lines(string(a.Files[0].Data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			s.lines = append(s.lines, line)
		}
	}
	return s
}

// play is an appliance on which scenarios are played, in front of a real chain and as many proxies as nodes.
type play struct {
	*house
	direct *chain.Client // past every proxy: what is so
	nodes  []*chaintest.Proxy
	token  *registry.Token
	ops    map[string]*operation.Operation // of this scenario, by name
	all    []string                        // ids of every operation
	thefts map[string]uint64               // by operation whose nonce a thief used: the newest block before he did
	sends  int                             // eth_sendRawTransaction when last counted
}

func newPlay(t *testing.T, s *scenario) *play {
	p := &play{thefts: map[string]uint64{}}
	p.house = newHouse(t, options{kind: s.kind, period: manual, timeout: chain.DefaultTimeout, rules: []policy.Rule{approvals(1)}, nodes: func(own string) []string {
		var urls []string
		for range s.nodes {
			n := chaintest.New(own)
			t.Cleanup(n.Close)
			p.nodes, urls = append(p.nodes, n), append(urls, n.URL())
		}
		return urls
	}})
	own := p.chain.Network()
	own.RPCURLs, own.Timeout = []string{p.nodeURL()}, time.Minute
	var err error
	p.direct, err = chain.Dial(t.Context(), own, nil, nil)
	require.NoError(t, err)
	t.Cleanup(p.direct.Close)
	token := p.house.token("0")
	deploy := p.submit(operation.Request{Type: policy.OpDeployToken, TokenID: token.ID})
	p.approve(deploy)
	p.over(deploy)
	p.all = append(p.all, deploy.ID)
	p.token, err = p.registry.Token(t.Context(), token.ID)
	require.NoError(t, err)
	return p
}

func (h *house) nodeURL() string {
	if h.geth != nil {
		return h.geth.URL()
	}
	return h.node.URL()
}

// perform plays one scenario and checks what it leaves.
func (p *play) perform(t *testing.T, s *scenario) {
	p.house.t, p.ops = t, map[string]*operation.Operation{}
	defer p.heal()
	defer p.tell()
	for n, line := range s.lines {
		words := strings.Fields(line)
		f, ok := verbs[words[0]]
		if !ok || len(words)-1 < f.least {
			t.Fatalf("line %d, %q: the words are %v", n+1, line, slices.Sorted(maps.Keys(verbs)))
		}
		f.do(p, words[1:])
		if t.Failed() {
			t.Fatalf("after line %d: %s", n+1, line)
		}
	}
	p.heal()
	p.invariants()
}

// tell says of a scenario that failed how far its operations have come.
func (p *play) tell() {
	if !p.t.Failed() {
		return
	}
	for name, o := range p.ops {
		o, err := p.operations.Get(context.WithoutCancel(p.t.Context()), o.ID)
		if err != nil {
			p.t.Logf("%s: %s", name, err)
			continue
		}
		p.t.Logf("%s, %s of nonce %d, version %d: %s, %q, %q, at block %d of %d", name, o.Type, o.Nonce, o.Version, statuses(o), o.Attention,
			o.FailureReason, o.BlockNumber, p.head())
	}
}

// heal ends every fault.
func (p *play) heal() {
	for _, n := range p.nodes {
		n.Behave()
	}
	if p.node != nil {
		p.node.Stall(false)
		p.node.Delay(0)
		p.node.Drop(0)
		p.node.Lag(0)
		p.node.Refuse("")
	} else {
		require.NoError(p.t, p.geth.MinTip(big.NewInt(1)))
	}
}

// submit asks until a node answers.
func (p *play) submit(r operation.Request) (o *operation.Operation) {
	p.t.Helper()
	p.answered(func() (err error) {
		o, err = p.operations.Submit(p.t.Context(), operator, r, nil)
		return err
	})
	return o
}

// over waits, with blocks, until an operation is terminal.
func (p *play) over(o *operation.Operation) *operation.Operation {
	p.t.Helper()
	p.mineUntil(o.ID+" ends", func() bool { o = p.now(o.ID); return o.Status.Terminal() })
	return o
}

func (p *play) role(change policy.OperationType) operation.Request {
	return operation.Request{Type: change, TokenID: p.token.ID, Role: "BURNER",
		Subject: &operation.Party{Type: operation.PartyAddress, Address: "0x0000000000000000000000000000000000000abc"}}
}

func (p *play) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(p.t, err)
	return n
}

func (p *play) op(name string) *operation.Operation {
	o, ok := p.ops[name]
	require.True(p.t, ok, "no operation %q in this scenario", name)
	return o
}

func (p *play) add(name string, o *operation.Operation) {
	p.approve(o)
	p.ops[name], p.all = o, append(p.all, o.ID)
}

// inBlock reports whether the chain has one of the operation's versions in a block.
func (p *play) inBlock(o *operation.Operation) bool {
	p.t.Helper()
	if p.now(o.ID).TransactionHash == nil {
		return false
	}
	return slices.ContainsFunc(p.versions(o), func(v operation.Version) bool {
		st, err := p.direct.Status(p.t.Context(), v.Hash)
		require.NoError(p.t, err)
		return st.Mined
	})
}

// verb is a word of the scripts; least is how many arguments it needs.
type verb struct {
	least int
	do    func(p *play, args []string)
}

var verbs map[string]verb

func init() { // refers to itself through perform
	verbs = map[string]verb{
		// mint NAME AMOUNT: asked for and approved.
		"mint": {2, func(p *play, a []string) {
			p.add(a[0], p.submit(operation.Request{Type: policy.OpMint, TokenID: p.token.ID, Amount: &a[1], Recipient: p.own()}))
		}},
		// ask NAME AMOUNT: a mint that nobody has approved; approve NAME: that too.
		"ask": {2, func(p *play, a []string) {
			o := p.submit(operation.Request{Type: policy.OpMint, TokenID: p.token.ID, Amount: &a[1], Recipient: p.own()})
			p.ops[a[0]], p.all = o, append(p.all, o.ID)
		}},
		"approve": {1, func(p *play, a []string) { p.house.approve(p.op(a[0])) }},
		// burn NAME AMOUNT: or all that there is.
		"burn": {2, func(p *play, a []string) {
			amount := a[1]
			if amount == "all" {
				w, err := p.registry.OldestWallet(p.t.Context(), p.vault, networkName)
				require.NoError(p.t, err)
				owned, err := p.registry.BalanceOf(p.t.Context(), p.token, w.Address)
				require.NoError(p.t, err)
				amount = owned.String()
			}
			p.add(a[0], p.submit(operation.Request{Type: policy.OpBurn, TokenID: p.token.ID, Amount: &amount, From: p.own()}))
		}},
		"pause": {1, func(p *play, a []string) {
			p.add(a[0], p.submit(operation.Request{Type: policy.OpPause, TokenID: p.token.ID}))
		}},
		"unpause": {1, func(p *play, a []string) {
			p.add(a[0], p.submit(operation.Request{Type: policy.OpUnpause, TokenID: p.token.ID}))
		}},
		// grant NAME, revoke NAME: of one role, which one stranger has or has not.
		"grant":  {1, func(p *play, a []string) { p.add(a[0], p.submit(p.role(policy.OpGrantRole))) }},
		"revoke": {1, func(p *play, a []string) { p.add(a[0], p.submit(p.role(policy.OpRevokeRole))) }},
		// cancel NAME: a CANCEL of the lane's next nonce.
		"cancel": {1, func(p *play, a []string) {
			id := p.wallet(p.vault)
			nonce := strconv.FormatUint(p.registry.Fold().NextNonce(id), 10)
			p.answered(func() error {
				o, err := p.operations.CancelNonce(p.t.Context(), operator, operation.NonceRequest{WalletID: id, Nonce: nonce}, nil)
				if err == nil {
					p.add(a[0], o)
				}
				return err
			})
		}},
		// sent NAME: the chain's node has its bytes, in no block.
		"sent": {1, func(p *play, a []string) {
			p.until(a[0]+" is in the pool", func() bool {
				o := p.now(p.op(a[0]).ID)
				if o.Status != operation.Broadcasting || o.TransactionHash == nil {
					return false
				}
				st, err := p.direct.Status(p.t.Context(), *o.TransactionHash)
				return err == nil && st.Found && !st.Mined
			})
		}},
		// mined NAME: with blocks, until one of them holds it, and none after that: CONFIRMING lasts until the next.
		"mined": {1, func(p *play, a []string) {
			o := p.op(a[0])
			if !p.inBlock(o) {
				p.mineUntil(a[0]+" is in a block", func() bool { return p.inBlock(o) })
			}
		}},
		// wait NAME STATUS: without a block.
		"wait": {2, func(p *play, a []string) { p.is(p.op(a[0]).ID, operation.Status(a[1])) }},
		// reach NAME STATUS: with blocks; for a state in which it stays whatever blocks come.
		"reach": {2, func(p *play, a []string) {
			p.mineUntil(a[0]+" is "+a[1], func() bool { return p.now(p.op(a[0]).ID).Status == operation.Status(a[1]) })
		}},
		// end NAME STATUS [REASON]: with blocks; the failure reason contains REASON.
		"end": {2, func(p *play, a []string) {
			o := p.over(p.op(a[0]))
			require.Equal(p.t, operation.Status(a[1]), o.Status, o.FailureReason)
			require.Contains(p.t, o.FailureReason, strings.Join(a[2:], " "))
		}},
		// still NAME STATUS: now.
		"still": {2, func(p *play, a []string) {
			o := p.now(p.op(a[0]).ID)
			require.Equal(p.t, operation.Status(a[1]), o.Status, "%s %s", o.FailureReason, o.Attention)
		}},
		// open NAME: now; whatever its state is, it is no end.
		"open": {1, func(p *play, a []string) {
			o := p.now(p.op(a[0]).ID)
			require.False(p.t, o.Status.Terminal(), "%s %s %s", o.Status, o.FailureReason, o.Attention)
		}},
		// attention NAME WORD: with blocks.
		"attention": {2, func(p *play, a []string) {
			p.mineUntil(a[0]+" says "+a[1], func() bool { return strings.HasPrefix(p.now(p.op(a[0]).ID).Attention, a[1]) })
		}},
		// versions NAME N: with blocks, until there are so many at least.
		"versions": {2, func(p *play, a []string) {
			p.mineUntil(a[0]+" has versions", func() bool { return len(p.versions(p.op(a[0]))) >= int(p.number(a[1])) })
		}},
		// settled NAME: the ledger holds its end; untold NAME: no attention was asked for it.
		"settled": {1, func(p *play, a []string) { p.settled(p.op(a[0]).ID) }},
		"untold": {1, func(p *play, a []string) {
			for kv, err := range p.store.All(p.t.Context(), store.AuditPending, nil) {
				require.NoError(p.t, err)
				e, err := audit.ParsePending(kv.Value)
				require.NoError(p.t, err)
				require.False(p.t, e.Action == "operation.attention" && e.ResourceID == p.op(a[0]).ID, "%v", e.Metadata)
			}
		}},
		// history NAME WORDS: the states in a row.
		"history": {2, func(p *play, a []string) {
			require.Contains(p.t, statuses(p.now(p.op(a[0]).ID)), strings.Join(a[1:], " "))
		}},
		"mine": {1, func(p *play, a []string) { p.mine(p.number(a[0])) }},
		// felt N: node N was asked a few times more, whatever it answered.
		"felt": {1, func(p *play, a []string) {
			n := p.nodes[p.number(a[0])-1]
			before := n.Asked()
			p.until("node "+a[0]+" is asked", func() bool { return n.Asked() >= before+4 })
		}},
		// blocks N: one after the other, as they come on a chain.
		"blocks": {1, func(p *play, a []string) {
			for want := p.head() + p.number(a[0]); p.head() < want; {
				p.mineUntil("blocks come", func() bool { return p.head() >= want })
			}
		}},
		"reorg": {1, func(p *play, a []string) { p.reorg(p.number(a[0]), len(a) > 1 && a[1] == "forget") }},
		// below NAME: replaces every block from the operation's on, or from the one with the theft of its nonce.
		"below": {1, func(p *play, a []string) {
			o := p.now(p.op(a[0]).ID)
			require.NotNil(p.t, o.EndHash)
			from := o.EndBlock
			if before, stolen := p.thefts[o.ID]; stolen {
				from = min(from, before+1) // its end may have been seen blocks later
			}
			p.reorg(p.head()-from+1, len(a) > 1 && a[1] == "forget")
		}},
		"steal": {1, func(p *play, a []string) {
			w, err := p.registry.OldestWallet(p.t.Context(), p.vault, networkName)
			require.NoError(p.t, err)
			o := p.now(p.op(a[0]).ID)
			p.thefts[o.ID] = p.head()
			p.stealBy(p.direct, w, o.Nonce)
		}},
		"delay":  {1, func(p *play, a []string) { p.house.node.Delay(p.number(a[0])) }},
		"drop":   {1, func(p *play, a []string) { p.house.node.Drop(p.number(a[0])) }},
		"lag":    {1, func(p *play, a []string) { p.house.node.Lag(p.number(a[0])) }},
		"refuse": {0, func(p *play, a []string) { p.house.node.Refuse(strings.Join(a, " ")) }},
		"stall":  {1, func(p *play, a []string) { p.house.node.Stall(a[0] == "on") }},
		// hold: what is sent from now on is in no block; release NAME: what pays more than NAME's first version is.
		"hold":    {0, func(p *play, _ []string) { p.hold() }},
		"release": {1, func(p *play, a []string) { p.release(p.versions(p.op(a[0]))[0].Tip) }},
		// node N FAULT [ARGUMENT]: one of chaintest's; "behave" ends all of them.
		"node": {2, func(p *play, a []string) {
			for i, n := range p.nodes {
				if a[0] != "all" && a[0] != strconv.Itoa(i+1) {
					continue
				}
				if a[1] == "behave" {
					n.Behave()
				} else {
					n.Set(a[1], strings.Join(a[2:], " "))
				}
			}
		}},
		"restart": {0, func(p *play, _ []string) { p.restart() }},
		// count: from here; sends N: at most so many eth_sendRawTransaction since.
		"count": {0, func(p *play, _ []string) { p.sends = p.sent() }},
		"sends": {1, func(p *play, a []string) {
			require.LessOrEqual(p.t, p.sent()-p.sends, int(p.number(a[0])), "a storm of sends")
		}},
	}
}

func (p *play) sent() (n int) {
	for _, node := range p.nodes {
		n += node.Count("eth_sendRawTransaction")
	}
	return n
}

// invariants is what holds whatever happened, once nobody misbehaves any more: for every operation one effect or
// none, as its state says; nonces without a gap; the supply is what was minted and not burned; audit log and
// ledger verify. It counts everything since the appliance's beginning.
func (p *play) invariants() {
	t := p.t
	t.Helper()
	p.mineUntil("everything has ended", func() bool {
		for _, id := range p.all {
			if o := p.now(id); !o.Status.Terminal() || o.Authorized && !o.Settled {
				return false
			}
		}
		return true
	})
	supply, used := new(big.Int), map[uint64]string{}
	for _, id := range p.all {
		o := p.now(id)
		effects, success := 0, false
		for _, v := range p.versions(o) {
			st, err := p.direct.Status(t.Context(), v.Hash)
			require.NoError(t, err)
			if st.Mined {
				effects++
				success = st.Success
				require.Equal(t, v.Hash, *o.TransactionHash, "the mined version is the one that the operation names")
			}
		}
		require.LessOrEqual(t, effects, 1, "%s has %d effects", id, effects)
		switch o.Status {
		case operation.Completed:
			require.True(t, effects == 1 && success, "%s is COMPLETED without its effect", id)
			_, stolen := p.thefts[id]
			require.False(t, stolen && used[o.Nonce] != "", id)
		case operation.Failed:
			stolen := strings.HasPrefix(o.FailureReason, "NONCE_STOLEN")
			require.True(t, stolen && effects == 0 || effects == 1 && !success, "%s is FAILED (%s) with %d effects", id, o.FailureReason, effects)
		default:
			require.Zero(t, effects, "%s is %s", id, o.Status)
		}
		if o.Authorized {
			require.Empty(t, used[o.Nonce], "nonce %d serves two operations", o.Nonce)
			used[o.Nonce] = id
		}
		if o.Status == operation.Completed && o.Amount != nil {
			switch o.Type {
			case policy.OpMint:
				supply.Add(supply, o.Amount.Big())
			case policy.OpBurn:
				supply.Sub(supply, o.Amount.Big())
			}
		}
	}
	w, err := p.registry.OldestWallet(t.Context(), p.vault, networkName)
	require.NoError(t, err)
	next, err := p.direct.NonceAt(t.Context(), w.Address, nil)
	require.NoError(t, err)
	require.EqualValues(t, len(used), next, "as many nonces as operations were numbered")
	for n := range next {
		require.NotEmpty(t, used[n], "nonce %d is nobody's", n)
	}
	p.until("the supply is "+supply.String(), func() bool { return p.supply(p.token) == supply.String() })
	p.verifies()
}

// verifies holds ledger and audit log against themselves, the ledger from charter 1 on.
func (h *house) verifies() {
	h.t.Helper()
	fold := ledger.NewFold(h.charter1)
	for kv, err := range h.store.All(h.t.Context(), store.SealLog, nil) {
		require.NoError(h.t, err)
		_, err := fold.Apply(kv.Value)
		require.NoError(h.t, err, kv.Key)
	}
	log, err := auditlog.New(h.store, testLog(), nil)
	require.NoError(h.t, err)
	ctx, cancel := context.WithCancel(h.t.Context())
	ended := make(chan struct{})
	go func() { _ = log.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	h.until("every audit entry is numbered", func() bool {
		for _, err := range h.store.All(h.t.Context(), store.AuditPending, nil) {
			return err != nil
		}
		return true
	})
	r, err := log.Verify(h.t.Context())
	require.NoError(h.t, err)
	require.True(h.t, r.Valid)
	b, err := json.Marshal(r)
	require.NoError(h.t, err)
	require.NotZero(h.t, r.EntriesChecked, string(b))
}
