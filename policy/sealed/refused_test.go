package sealed

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// inRun has f run where the room decides.
func inRun(t *testing.T, r *room, f func(*round)) {
	t.Helper()
	require.NoError(t, r.submit(t.Context(), func(rd *round) error { f(rd); return nil }))
}

// An anchor is what encode gives, byte for byte.
func TestAttack_AnAnchorInAnotherSpelling(t *testing.T) {
	text, err := (&anchor{1, "test", testAppliance, 1, 2, 3, policy.NoDigest, policy.NoDigest}).encode()
	require.NoError(t, err)
	_, err = parseAnchor(text)
	require.NoError(t, err)
	for name, other := range map[string]string{
		"a space":                strings.Replace(string(text), ":", ": ", 1),
		"a newline behind it":    string(text) + "\n",
		"a term of 2^53":         strings.Replace(string(text), `"term":2`, `"term":9007199254740992`, 1),
		"no head":                strings.Replace(string(text), `"head":"`+string(policy.NoDigest)+`"`, `"head":""`, 1),
		"no charter":             strings.Replace(string(text), `"charter":"`+string(policy.NoDigest)+`"`, `"charter":"x"`, 1),
		"no author":              strings.Replace(string(text), testAppliance, "", 1),
		"longer than any may be": string(text) + strings.Repeat(" ", maxAnchor),
	} {
		require.NotEqual(t, string(text), other, name)
		_, err := parseAnchor([]byte(other))
		require.Error(t, err, name)
	}
}

// Time that was never gained, or an anchor of before the boot, is nothing that a journal says.
func TestAttack_AJournalThatForgivesTheClock(t *testing.T) {
	line := func(more string) []byte {
		return fmt.Appendf(nil, `{"format":1,"seq":1,"head":"%s","wall":"2026-01-01T00:00:00Z","boot":1000,"bootId":"b"%s}`+"\n", policy.NoDigest, more)
	}
	_, err := parseJournal(line(`,"unexplained":5`))
	require.NoError(t, err)
	for _, more := range []string{`,"unexplained":-5`, `,"anchor":{"boot":-1,"wall":"2026-01-01T00:00:00Z"}`, `,"anchor":{"boot":2000,"wall":"2026-01-01T00:00:00Z"}`} {
		_, err := parseJournal(line(more))
		require.ErrorContains(t, err, "boot clock", more)
	}
}

// Under an operation's authorization nothing else is signed: another intent of its id is named as that, and a
// transaction other than the one that was recorded is not made again.
func TestAttack_AnotherIntentUnderAnAuthorization(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("5")
	i.approve(in, 0, 1)
	_, err := r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	before := signatures(t)
	decoy := *in
	decoy.Params.Amount = amountPtr("6")
	i.approveLate(&decoy)
	_, err = r.Authorize(t.Context(), i.request(&decoy))
	requireKind(t, seal.KindConflict, err)
	require.ErrorContains(t, err, "for another intent")
	inRun(t, r, func(rd *round) {
		op, ok := rd.stage.Operation(in.OperationID)
		require.True(t, ok)
		_, err = rd.again(in, op)
		require.NoError(t, err)
		other := *op.Authorized
		other.Tx = tx.Hash{1}
		op.Authorized = &other
		_, err = rd.again(in, op)
	})
	requireKind(t, seal.KindConflict, err)
	require.ErrorContains(t, err, "another transaction")
	require.Equal(t, before, signatures(t))
}

// approveLate hands in approvals that may come too late to count.
func (i *instance) approveLate(in *policy.Intent) {
	for _, p := range []int{0, 1} {
		_, _ = i.door.Decide(i.t.Context(), i.decision(in, policy.Approve, p, ""))
	}
}

// In doubt of the store nothing is signed, not even that a wallet is ours.
func TestNeverFailOpen_AStoreInDoubtProvesNoWallet(t *testing.T) {
	i, r, stop := inProcess(t, roomOptions{}, nil)
	i.furnish()
	require.NoError(t, stop())
	r.publish(func(s *state) { s.doubt = errors.New("it was rolled back") })
	before := signatures(t)
	_, err := r.WalletProve(t.Context(), seal.WalletProveRequest{WalletID: i.wallet.WalletID})
	requireKind(t, seal.KindStore, err)
	require.Equal(t, before, signatures(t))
}

// All wallets that there may be are made: no key more.
func TestNoKeyPastTheChartersWallets(t *testing.T) {
	_, r, _ := inProcess(t, roomOptions{}, func(c *policy.Charter) { c.Limits.WalletsTotal = 2 })
	asked := []seal.WalletCreateRequest{walletRequest(), walletRequest(), walletRequest()}
	for _, q := range asked[:2] {
		_, err := r.WalletCreate(t.Context(), q)
		require.NoError(t, err)
	}
	_, err := r.WalletCreate(t.Context(), asked[2])
	requireKind(t, seal.KindDenied, err)
	require.Equal(t, 2, keysOf(t, asked))
}

// A join names a batch of the log, not of a snapshot that the store lent, and this appliance's key.
func TestAttack_AJoinOfABatchThatOnlyASnapshotHolds(t *testing.T) {
	_, r, _ := inProcess(t, roomOptions{}, nil)
	key, err := r.ledgerKey(t.Context())
	require.NoError(t, err)
	inRun(t, r, func(*round) {
		seq, head := r.fold.Head()
		j := &ledger.Join{ApplianceID: testAppliance, LedgerKey: key, Sequence: seq, Head: head}
		require.NoError(t, r.joins(t.Context(), j))
		r.lent = seq
		err = r.joins(t.Context(), j)
		r.lent = 0
	})
	require.ErrorContains(t, err, "it must name a later one")
}

// A recover is of this instance and of a higher epoch, whatever else it names rightly.
func TestAttack_ARecoverOfAnotherInstanceOrEpoch(t *testing.T) {
	_, r, _ := inProcess(t, roomOptions{}, nil)
	inRun(t, r, func(*round) {
		seq, head := r.fold.Head()
		known, _ := r.lost()
		good := ledger.Recover{Instance: r.fold.Instance(), Epoch: r.fold.Epoch() + 1}
		good.Lost.Sequence, good.Lost.Head = known.sequence, known.head
		good.Accepted.Sequence, good.Accepted.Head = seq, head
		require.NoError(t, r.matches(&good))
		for says, change := range map[string]func(*ledger.Recover){
			"of instance other":    func(d *ledger.Recover) { d.Instance = "other" },
			"begins epoch 1":       func(d *ledger.Recover) { d.Epoch-- },
			"gives up batch":       func(d *ledger.Recover) { d.Lost.Head = policy.NoDigest },
			"accepts batch":        func(d *ledger.Recover) { d.Accepted.Head = policy.NoDigest },
			"accepts batch 999999": func(d *ledger.Recover) { d.Accepted.Sequence = 999999 },
		} {
			d := good
			change(&d)
			require.ErrorContains(t, r.matches(&d), says)
		}
	})
}

// A tree's proofs are of sizes that proofs have, and the first tree extends none.
func TestAttack_ProofsOfNoTree(t *testing.T) {
	_, r, tree, last := signedTree(t)
	tree.entry("next")
	tree.follow(r)
	for says, tamper := range map[string]func(*seal.CheckpointRequest){
		"as leaf":                    func(q *seal.CheckpointRequest) { q.Proof.Ledger.Index = q.Tree.Size },
		"batch 0":                    func(q *seal.CheckpointRequest) { q.Proof.Ledger.Sequence = 0 },
		"129 hashes":                 func(q *seal.CheckpointRequest) { q.Proof.Consistency = make([][]byte, 129) },
		"a hash of 31 bytes":         func(q *seal.CheckpointRequest) { q.Proof.Ledger.Inclusion[0] = make([]byte, 31) },
		"the last recorded tree has": func(q *seal.CheckpointRequest) { q.Proof.From-- },
	} {
		q := tree.request(last)
		tamper(&q)
		_, err := r.Checkpoint(t.Context(), q)
		require.ErrorContains(t, err, says)
	}
	_, first, _ := inProcess(t, roomOptions{}, nil)
	fresh := (&testTree{t: t}).follow(first)
	q := fresh.request(0)
	q.Proof.From = 1
	_, err := first.Checkpoint(t.Context(), q)
	require.ErrorContains(t, err, "no tree was recorded yet")
}
