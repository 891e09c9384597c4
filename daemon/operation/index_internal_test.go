package operation

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// A record of what nobody's approvals are judged by, a checkpoint every few seconds above all, has nothing judged again;
// any other kind has, one that nobody thought of here too.
func TestRecordsThatChangeRules(t *testing.T) {
	for name, c := range map[string]struct {
		record ledger.Record
		want   bool
	}{
		"checkpoint":     {ledger.Record{Checkpoint: &ledger.Checkpoint{}}, false},
		"bump":           {ledger.Record{Bump: &ledger.Bump{}}, false},
		"authorize":      {ledger.Record{Authorize: &ledger.Authorize{}}, false},
		"cancel":         {ledger.Record{Cancel: &ledger.Cancel{}}, false},
		"settle":         {ledger.Record{Settle: &ledger.Settle{}}, false},
		"wallet":         {ledger.Record{Wallet: &ledger.Wallet{}}, false},
		"decision":       {ledger.Record{Decision: &ledger.Enveloped{}}, false},
		"request":        {ledger.Record{Request: &ledger.Enveloped{}}, false},
		"charter":        {ledger.Record{Charter: &ledger.Enveloped{}}, true},
		"policy":         {ledger.Record{Policy: &ledger.Enveloped{}}, true},
		"binding":        {ledger.Record{Binding: &ledger.Enveloped{}}, true},
		"freeze":         {ledger.Record{Freeze: &ledger.Enveloped{}}, true},
		"event's freeze": {ledger.Record{EventFreeze: &ledger.EventFreeze{}}, true},
		"recover":        {ledger.Record{Recover: &ledger.Enveloped{}}, true},
	} {
		require.Equal(t, c.want, changesRules(&c.record), name)
	}
}

// What an operation was judged by when it was asked for holds while it waits as it did then: a lane judges it again once
// the rules, its approvals or its status are others.
func TestJudgedWhenAskedFor(t *testing.T) {
	s := &Service{index: newIndex(nil, slog.New(slog.DiscardHandler))}
	l := newLane(&worker{s: s}, "wallet_1")
	waiting := func(id string) *Operation {
		at := moment(time.Now())
		o := &Operation{ID: id, WalletID: "wallet_1", Status: PendingAuthorization, History: []Step{{Submitted, at}, {PendingAuthorization, at}}}
		s.index.judge(id, s.standing(o))
		return o
	}
	t.Run("it waits as it did then", func(t *testing.T) {
		o := waiting("op_1")
		require.False(t, l.unjudged(o), "before it is written")
		s.index.put(o, 1)
		require.False(t, l.unjudged(o))
	})
	t.Run("other rules", func(t *testing.T) {
		o := waiting("op_2")
		s.index.put(o, 1)
		s.rules.Add(1)
		require.True(t, l.unjudged(o))
	})
	t.Run("an approval", func(t *testing.T) {
		o := waiting("op_3")
		s.index.put(o, 1)
		approved := *o
		approved.Approvals = []Approval{{Approver: "approver-1"}}
		s.index.put(&approved, 2)
		require.True(t, l.unjudged(&approved))
	})
	t.Run("it waits anew", func(t *testing.T) {
		o := waiting("op_4")
		s.index.put(o, 1)
		asked := *o
		asked.Status = PendingSignature
		s.index.put(&asked, 2)
		require.True(t, l.unjudged(o), "whatever it was judged by then")
		require.NotContains(t, s.index.judged, o.ID)
	})
	t.Run("it was not written", func(t *testing.T) {
		o := waiting("op_5")
		s.index.unjudge(o.ID)
		require.True(t, l.unjudged(o))
		require.NotContains(t, s.index.judged, o.ID)
	})
	t.Run("another process wrote it", func(t *testing.T) {
		o := waiting("op_6")
		s.index.unjudge(o.ID)
		s.index.put(o, 1)
		require.True(t, l.unjudged(o))
	})
}

// An appliance that heard nothing for a while, and whose place in the store's news was compacted meanwhile, reads what
// there is: an operation that ended in between is not listed as it was before.
func TestWhatEndedUnheardIsNotListedAsItWas(t *testing.T) {
	x := newIndex(nil, slog.New(slog.DiscardHandler))
	o := &Operation{ID: store.NewID(IDPrefix), Type: policy.OpMint, Status: Confirming, WalletID: "wallet", TokenID: "token"}
	x.put(o, 5)
	require.NotNil(t, x.states([]string{o.ID})[0])
	ended := *o
	ended.Status = Completed
	x.over(ended.summary(), 9)
	require.Nil(t, x.states([]string{o.ID})[0], "it is read from the store")
	require.True(t, x.idle("wallet"))
	x.over(o.summary(), 7) // older news
	ids, _ := x.page(Filter{Status: Completed}, nil, "", 0, 10)
	require.Equal(t, []string{o.ID}, ids)
	x.put(&ended, 9)
	x.put(&ended, 11)
	require.Equal(t, Completed, x.states([]string{o.ID})[0].Status)
}
