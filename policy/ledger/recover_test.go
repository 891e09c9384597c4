package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func (w *world) recovering(change ...func(*ledger.Recover)) *ledger.Recover {
	head, digest := w.fold.Head()
	d := &ledger.Recover{Format: 1, Instance: "dev-1", Epoch: w.fold.Epoch() + 1, Lost: ledger.Point{Sequence: head + 100, Head: policy.DigestOf([]byte("lost"))},
		Accepted: ledger.Point{Sequence: head, Head: digest}, Lanes: []ledger.RecoverLane{{WalletID: id("wallet", 1), Nonce: 5}, {WalletID: id("wallet", 2), Nonce: 0}},
		CreatedAt: w.now}
	for _, f := range change {
		f(d)
	}
	return d
}

// recovered is the batch of a recover, which carries the new epoch.
func (w *world) recovered(d *ledger.Recover, by ...string) *ledger.Batch {
	w.t.Helper()
	if by == nil {
		by = []string{"custodian-1", "custodian-3"}
	}
	b := w.batch(ledger.Record{Recover: sign(w.t, policy.DocRecover, d, by...)})
	b.Epoch = d.Epoch
	return w.signed(b)
}

func TestRecover(t *testing.T) {
	w := begun(t)
	open := w.mint(w.op())
	w.authorized(w.mint(w.op()))
	w.commit(w.approve(open, "ann"), w.approve(open, "bob"))
	for name, c := range map[string]struct {
		change func(*ledger.Recover)
		by     []string
		reason ledger.Reason
	}{
		"threshold is 2":         {func(*ledger.Recover) {}, []string{"custodian-2"}, ledger.ReasonEnvelope},
		"the log ends with":      {func(d *ledger.Recover) { d.Accepted.Head = policy.DigestOf(nil) }, nil, ledger.ReasonDocument},
		"recover accepts":        {func(d *ledger.Recover) { d.Accepted.Sequence-- }, nil, ledger.ReasonDocument},
		"the accepted log is at": {func(d *ledger.Recover) { d.Lanes[0].Nonce = 0 }, nil, ledger.ReasonDocument},
		"does not state":         {func(d *ledger.Recover) { d.Lanes = d.Lanes[:1] }, nil, ledger.ReasonDocument},
		"instance dev-2":         {func(d *ledger.Recover) { d.Instance = "dev-2" }, nil, ledger.ReasonDocument},
	} {
		before := ledger.State(w.fold)
		_, err := w.fold.Apply(w.encode(w.recovered(w.recovering(c.change), c.by...)))
		w.isRefusal(err, c.reason, name)
		require.Equal(t, before, ledger.State(w.fold))
	}
	same := w.recovered(w.recovering())
	same.Epoch = 1
	_, err := w.fold.Apply(w.encode(w.signed(same)))
	w.isRefusal(err, ledger.ReasonLink, "epoch 1, want 2")

	value := w.encode(w.recovered(w.recovering()))
	_, err = w.fold.Apply(value)
	require.NoError(t, err)
	w.values = append(w.values, value)
	require.Equal(t, uint64(2), w.fold.Epoch())

	_, err = w.fold.Apply(w.encode(w.recovered(w.recovering(func(d *ledger.Recover) { d.Epoch = 2 }))))
	w.isRefusal(err, ledger.ReasonDocument, "into epoch 2, the accepted log is of epoch 2")

	// Decisions of before are void.
	w.refused(ledger.ReasonDocument, "epoch 1, this is 2", w.authorize(open, func(a *ledger.Authorize) { a.Nonce = 5 }))
	w.refused(ledger.ReasonDocument, "epoch 1, this is 2", w.approve(open, "cat"))

	// Every counter and fee stands at its limit until midnight, wherever that is.
	charged := func(since time.Time) policy.Amount {
		return w.fold.Charged(chainID, account("contract"), policy.OpMint, since)
	}
	midnight := time.Date(2026, 4, 28, 0, 0, 0, 0, time.UTC)
	require.Equal(t, policy.MaxAmount(), charged(noon.Add(-12*time.Hour)))
	require.Equal(t, policy.MaxAmount(), charged(noon))
	require.Equal(t, policy.Amount{}, charged(midnight))
	w.refused(ledger.ReasonLimit, "pass the daily", w.authorize(w.mint(w.op())))

	// The lane goes on at the stated nonce; what lies between is filled by CANCEL only.
	w.now = midnight
	require.Equal(t, uint64(5), w.fold.NextNonce(id("wallet", 1)))
	require.True(t, w.fold.Gap(id("wallet", 1), 3))
	m := w.mint(w.op())
	w.authorized(m)
	for _, nonce := range []string{"3", "1", "4", "2"} {
		c := w.mint(w.op(), cancelling(nonce))
		w.authorized(c)
		again := w.mint(w.op(), cancelling(nonce))
		w.commit(w.approve(again, "ann"), w.approve(again, "bob"))
		w.refused(ledger.ReasonNonce, "nonce "+nonce, w.authorize(again))
	}
	require.False(t, w.fold.Gap(id("wallet", 1), 3))
	require.Equal(t, uint64(6), w.fold.NextNonce(id("wallet", 1)))
	require.Equal(t, ledger.State(w.fold), ledger.State(w.again()))
}

// The lost log had gone through recovers that the accepted one does not know: the next epoch is above theirs, and what
// was decided in any of them is void.
func TestRecoverBehindEpochsThatAreLost(t *testing.T) {
	w := begun(t)
	value := w.encode(w.recovered(w.recovering(func(d *ledger.Recover) { d.Epoch = 4 })))
	_, err := w.fold.Apply(value)
	require.NoError(t, err)
	w.values = append(w.values, value)
	require.Equal(t, uint64(4), w.fold.Epoch())
	for _, epoch := range []uint64{1, 2, 3, 5} {
		w.refused(ledger.ReasonDocument, "this is 4", w.approve(w.mint(w.op(), func(i *policy.Intent) { i.Epoch = epoch }), "ann"))
	}
	require.Equal(t, ledger.State(w.fold), ledger.State(w.again()))
}

// TestRecoverWithUsage: what people state counts where it is more than the accepted log knows; what
// they do not state stands at its limit.
func TestRecoverWithUsage(t *testing.T) {
	w := begun(t)
	w.authorized(w.mint(w.op()))
	state := func(op policy.OperationType, amount uint64) ledger.RecoverUsage {
		return ledger.RecoverUsage{ChainID: chainID, ContractAddress: account("contract"), Operation: op, Amount: policy.AmountOf(amount)}
	}
	d := w.recovering(func(d *ledger.Recover) {
		d.Usage = []ledger.RecoverUsage{state(policy.OpMint, 400), state(policy.OpBurn, 70)}
	})
	_, err := w.fold.Apply(w.encode(w.recovered(d)))
	require.NoError(t, err)
	charged := func(op policy.OperationType) policy.Amount {
		return w.fold.Charged(chainID, account("contract"), op, noon.Add(-time.Hour))
	}
	require.Equal(t, policy.AmountOf(1000), charged(policy.OpMint))
	require.Equal(t, policy.AmountOf(70), charged(policy.OpBurn))
	require.Equal(t, policy.MaxAmount(), charged(policy.OpTransfer))
	w.authorized(w.mint(w.op()))
}

func TestJoin(t *testing.T) {
	w := begun(t)
	c, _ := w.fold.Charter()
	head, digest := w.fold.Head()
	join := func(change func(*ledger.Join), by ...string) ledger.Record {
		a, _ := c.Appliance("appliance-2")
		j := &ledger.Join{Format: 1, Instance: "dev-1", ApplianceID: a.ID, LedgerKey: a.LedgerKey, UnsealKey: a.UnsealKey, Sequence: head, Head: digest, CreatedAt: w.now}
		change(j)
		if by == nil {
			by = []string{"custodian-1", "custodian-3"}
		}
		return ledger.Record{Join: sign(t, policy.DocJoin, j, by...)}
	}
	w.refused(ledger.ReasonEnvelope, "threshold is 2", join(func(*ledger.Join) {}, "custodian-1"))
	w.refused(ledger.ReasonDocument, "appliance-3", join(func(j *ledger.Join) { j.ApplianceID = "appliance-3" }))
	w.refused(ledger.ReasonDocument, "with the keys of the join", join(func(j *ledger.Join) { j.LedgerKey = signer("mallory").Public() }))
	w.refused(ledger.ReasonDocument, "with the keys of the join", join(func(j *ledger.Join) { j.UnsealKey = []byte("mallory's") }))
	w.refused(ledger.ReasonDocument, "not before batch", join(func(j *ledger.Join) { j.Sequence = head + 1 }))
	w.refused(ledger.ReasonDocument, "instance", join(func(j *ledger.Join) { j.Instance = "dev-2" }))
	taken := join(func(*ledger.Join) {})
	w.commit(taken)
	w.refused(ledger.ReasonDuplicate, "recorded already", taken)
	j, ok := w.fold.Joined("appliance-2")
	require.True(t, ok)
	require.Equal(t, digest, j.Head)
}

// TestDocumentsAreStrict: join and recover have one reading.
func TestDocumentsAreStrict(t *testing.T) {
	w := begun(t)
	b, err := w.recovering(func(d *ledger.Recover) {
		d.Usage = []ledger.RecoverUsage{{ChainID: chainID, ContractAddress: account("contract"), Operation: policy.OpMint, Amount: policy.AmountOf(7)}}
	}).Encode()
	require.NoError(t, err)
	_, err = ledger.ParseRecover(b)
	require.NoError(t, err)
	for old, new := range map[string]string{
		`"epoch":2`:     `"epoch":2,"extra":1`,
		`"epoch":2,`:    ``,
		`"format":1,`:   `"format":1,"format":1,`,
		`"amount":"7"`:  `"amount":7`,
		`"nonce":5`:     `"nonce":9007199254740992`,
		`"MINT"`:        `"PAUSE"`,
		`"nonce":0`:     `"nonce":null`,
		`wallet_`:       `wallets_`,
		`"lost":{`:      `"lost":{"x":1,`,
		`12:00:00Z`:     `12:00:00.1Z`,
		`"2026-04-27T`:  `"1970-04-27T`,
		`"format":1`:    `"format":2`,
		`"instance":"d`: `"instance":" d`,
	} {
		require.Contains(t, string(b), old)
		_, err := ledger.ParseRecover([]byte(strings.Replace(string(b), old, new, 1)))
		require.Error(t, err, new)
	}
	_, err = ledger.ParseRecover(append(b, ' ', '1'))
	require.Error(t, err)
	_, err = ledger.ParseRecover(append([]byte(strings.Repeat(" ", policy.MaxDocument)), b...))
	require.Error(t, err)
}
