package sealed

import (
	"cmp"
	"context"
	"errors"
	"math/big"
	"slices"
	"strconv"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// grant is an authorization that is in the journal, ready to be signed.
type grant struct {
	sequence uint64
	record   ledger.Authorize
	verdict  *policy.Verdict // nil for one that was recorded before
	unsigned *tx.Unsigned
	wallet   ledger.Wallet
}

// Authorize judges an operation with authority, charges and numbers it, and,
// once that is committed and journaled, signs its transaction. Asked again, it
// signs the same digest again, also after expiry.
func (r *room) Authorize(ctx context.Context, q seal.AuthorizeRequest) (_ *seal.AuthorizeResult, err error) {
	defer r.count(seal.OpAuthorize, &err)
	var g grant
	w := r.read(q)
	err = r.submit(ctx, func(rd *round) (err error) {
		g, err = rd.authorize(w)
		return err
	})
	if err != nil {
		return nil, err
	}
	raw, hash, err := r.sign(ctx, g.unsigned, g.wallet)
	if err != nil {
		return nil, err
	}
	record := ledger.Record{Authorize: &g.record}
	authorization, err := record.Encode()
	if err != nil {
		return nil, err
	}
	return &seal.AuthorizeResult{Sequence: g.sequence, Authorization: authorization, RawTx: raw, TxHash: hash, Verdict: g.verdict}, nil
}

// wanted is a request for an authorization, read.
type wanted struct {
	seal.AuthorizeRequest
	intent *policy.Intent
	digest policy.Digest // of the intent's exact bytes
	err    error         // why the intent, or what is foreign, cannot be read

	foreign *tx.Unsigned // what somebody else made of the intent; nil where nobody did
}

// read does what needs no decision where callers wait side by side, so that the
// one goroutine that decides does not. An intent that people signed was read when
// they did.
func (r *room) read(q seal.AuthorizeRequest) *wanted {
	w := &wanted{AuthorizeRequest: q, digest: policy.DigestOf(q.Intent)}
	if fold := r.known().fold; fold != nil {
		w.intent = fold.Intent(q.OperationID, w.digest)
	}
	if w.intent == nil {
		w.intent, w.err = policy.ParseIntent(q.Intent)
	}
	if w.err == nil {
		w.foreign, w.err = foreign(w.intent, q)
	}
	return w
}

// mayWait is how many authorizations of a wallet may wait for a confirmation. Behind a
// gap that a recover left nothing is mined, so nothing settles: the last place is for
// the CANCEL that fills the lowest.
func (rd *round) mayWait(i *policy.Intent, wallet string) int {
	most := rd.charter().MaxOutstanding()
	gap, ok := rd.stage.LowestGap(wallet)
	fills := i.OperationType == policy.OpCancel && i.Params.Nonce != nil && *i.Params.Nonce == strconv.FormatUint(gap, 10)
	if ok && !fills {
		most--
	}
	return most
}

// authorize decides on one request. What it finds wrong leaves nothing staged.
func (rd *round) authorize(q *wanted) (grant, error) {
	if rd.charter() == nil {
		return grant{}, errNoCharter
	}
	if err := rd.maySign(); err != nil {
		return grant{}, err
	}
	if err := rd.notAhead(q.Head); err != nil {
		return grant{}, err
	}
	if q.err != nil {
		return grant{}, q.err
	}
	i, digest := q.intent, q.digest
	if i.OperationID != q.OperationID {
		return grant{}, seal.Errorf(seal.KindInvalid, "the intent is of operation %s, not %s", i.OperationID, q.OperationID)
	}
	op, _ := rd.stage.Operation(i.OperationID)
	switch {
	case op.Authorized != nil && op.Authorized.Intent != digest:
		return grant{}, seal.Errorf(seal.KindConflict, "operation %s was authorized in batch %d, for another intent", i.OperationID, op.AuthorizedAt.Sequence)
	case op.Authorized != nil:
		g, err := rd.again(i, op)
		if err == nil {
			err = q.sameForeign(g.record)
		}
		return g, err
	case op.Cancelled != nil:
		return grant{}, seal.Errorf(seal.KindConflict, "operation %s was cancelled in batch %d", i.OperationID, op.CancelledAt.Sequence)
	}
	w, err := rd.performer(i)
	if err != nil {
		return grant{}, err
	}
	verdict := rd.judge(i, digest)
	rd.room.metrics.verdict(verdict)
	if err := refusalOf(verdict); err != nil {
		return grant{}, err
	}
	if err := rd.delayed(i, digest, verdict); err != nil {
		return grant{}, err
	}
	if n, most := rd.stage.Outstanding(w.WalletID), rd.mayWait(i, w.WalletID); n >= most {
		return grant{}, seal.Errorf(seal.KindQueued, "wallet %s has %d authorizations that wait for a confirmation, at most %d", w.WalletID, n, most)
	}
	nonce, err := rd.nonce(i)
	if err != nil {
		return grant{}, err
	}
	if err := q.foreignTurn(w, nonce); err != nil {
		return grant{}, err
	}
	if err := withinCap(i, q.GasLimit, q.MaxFee, q.Tip); err != nil {
		return grant{}, err
	}
	unsigned, hash, err := transaction(i, nonce, q.GasLimit, q.MaxFee, q.Tip)
	if err != nil {
		return grant{}, err
	}
	a := ledger.Authorize{OperationID: i.OperationID, Intent: digest, Charges: charges(i, nonce), WalletID: w.WalletID, Nonce: nonce,
		GasLimit: q.GasLimit, MaxFee: q.MaxFee, Tip: q.Tip, Tx: hash, Expiry: i.ExpiresAt}
	records := []ledger.Record{{Authorize: &a}}
	if i.OperationType == policy.OpDeployToken {
		b, err := rd.deployBinding(i, w, nonce)
		if err != nil {
			return grant{}, err
		}
		records = append(records, ledger.Record{DeployBinding: b})
	}
	if err := rd.add(records...); err != nil {
		return grant{}, err
	}
	return grant{sequence: rd.sequence, record: a, verdict: &verdict, unsigned: unsigned, wallet: w}, nil
}

// again is an authorization that was recorded before: the same transaction, to
// be signed once more.
func (rd *round) again(i *policy.Intent, op ledger.OperationRecord) (grant, error) {
	a := *op.Authorized
	w, ok := rd.stage.Wallet(a.WalletID)
	if !ok {
		return grant{}, seal.Errorf(seal.KindStore, "wallet %s of an authorization is not in the ledger", a.WalletID)
	}
	unsigned, hash, err := transaction(i, a.Nonce, a.GasLimit, a.MaxFee, a.Tip)
	if err != nil {
		return grant{}, err
	}
	if hash != a.Tx {
		return grant{}, seal.Errorf(seal.KindConflict, "the intent of operation %s makes another transaction than was authorized", i.OperationID)
	}
	return grant{sequence: op.AuthorizedAt.Sequence, record: a, unsigned: unsigned, wallet: w.Wallet}, nil
}

// performer is the wallet that sends, which must be what the intent says. Under
// a dev charter it is on a chain that nobody else uses.
func (rd *round) performer(i *policy.Intent) (ledger.Wallet, error) {
	w, ok := rd.stage.Wallet(i.Performer.WalletID)
	switch {
	case !ok:
		return ledger.Wallet{}, seal.Errorf(seal.KindInvalid, "wallet %s is not in the ledger", i.Performer.WalletID)
	case w.Address != i.Performer.Address || w.Network != i.Network || w.Scheme != i.Scheme:
		return ledger.Wallet{}, seal.Errorf(seal.KindInvalid, "wallet %s is %s on %s (%s), the intent says %s on %s (%s)",
			w.WalletID, w.Address, w.Network, w.Scheme, i.Performer.Address, i.Network, i.Scheme)
	}
	return w.Wallet, mayUse(rd.charter(), i.ChainID)
}

// mayUse refuses public chains under a dev charter.
func mayUse(c *policy.Charter, chainID uint64) error {
	if c.Environment != policy.Production && policy.PublicChain(chainID) {
		return seal.Errorf(seal.KindDenied, "chain id %d is a public chain's; this charter is for %s", chainID, c.Environment)
	}
	return nil
}

// refusalOf says why a verdict does not allow.
func refusalOf(v policy.Verdict) error {
	reason := "the policies do not allow it"
	if v.Reported != nil {
		reason = string(v.Reported.Rule) + ": " + v.Reported.Message
	}
	switch v.Outcome {
	case policy.Allow:
		return nil
	case policy.Wait:
		return seal.Errorf(seal.KindWait, "%s", reason)
	}
	return seal.Errorf(seal.KindDenied, "%s", reason)
}

// nonce is the lane's next one, or the one that a CANCEL names: the stage holds
// that against the lane's gaps.
func (rd *round) nonce(i *policy.Intent) (uint64, error) {
	if i.OperationType != policy.OpCancel {
		return rd.stage.NextNonce(i.Performer.WalletID), nil
	}
	n, err := strconv.ParseUint(*i.Params.Nonce, 10, 64)
	if err != nil {
		return 0, seal.Errorf(seal.KindInvalid, "nonce %q: %v", *i.Params.Nonce, err)
	}
	return n, nil
}

func withinCap(i *policy.Intent, gas uint64, maxFee, tip policy.Amount) error {
	if maxFee.Is0() || tip.Cmp(maxFee) > 0 {
		return seal.Errorf(seal.KindInvalid, "max fee %s with a tip of %s: want a max fee above 0 and a tip of at most that", maxFee, tip)
	}
	if most, ok := maxFee.Mul(gas); !ok || most.Cmp(i.FeeCap) > 0 {
		return seal.Errorf(seal.KindInvalid, "gas %d at %s passes the intent's fee cap %s", gas, maxFee, i.FeeCap)
	}
	return nil
}

// transaction is what follows from the intent, and its signing hash.
func transaction(i *policy.Intent, nonce, gas uint64, maxFee, tip policy.Amount) (*tx.Unsigned, tx.Hash, error) {
	unsigned, err := i.Transaction(nonce, gas, maxFee.Big(), tip.Big())
	if err != nil {
		return nil, tx.Hash{}, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	if unsigned.Value != nil && unsigned.Value.Cmp(new(big.Int)) != 0 {
		return nil, tx.Hash{}, seal.Errorf(seal.KindInvalid, "the transaction would carry value %s", unsigned.Value)
	}
	hash, err := unsigned.SigningHash()
	if err != nil {
		return nil, tx.Hash{}, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	return unsigned, hash, nil
}

// charges is what an operation adds to the counters: its amount, on its
// contract, which for a deployment is the one that it makes.
func charges(i *policy.Intent, nonce uint64) []ledger.Charge {
	amount, ok := i.Amount()
	if !ok || amount.Is0() {
		return nil
	}
	var where tx.Address
	if c := i.Token.ContractAddress; c != nil {
		where = *c
	} else {
		where = tx.CreateAddress(i.Performer.Address, nonce)
	}
	return []ledger.Charge{{ChainID: i.ChainID, Contract: where, Operation: i.AmountOperation(), Amount: amount}}
}

// maxPerformers is the most that a binding's document names.
const maxPerformers = 256

// deployBinding says what the token id is from this batch on.
func (rd *round) deployBinding(i *policy.Intent, w ledger.Wallet, nonce uint64) (*policy.Binding, error) {
	performers := rd.performers(w)
	var replaced *policy.Binding
	var digest policy.Digest
	if b, d, _, ok := rd.stage.BindingDocument(i.Token.ID); ok {
		replaced, digest = b, d
	}
	return i.DeployBinding(tx.CreateAddress(w.Address, nonce), performers, replaced, digest, rd.now)
}

// performers are who may send the operations of a token that the wallet deploys:
// itself, and the wallets of its vault on its network in the order in which the
// ledger took them (by id where that was one batch), up to maxPerformers in all.
// Whoever reads the ledger finds the same. A wallet that finds no place here
// becomes a performer as any other does: by a GRANT_ROLE, or by a binding that
// the custodians sign.
func (rd *round) performers(deployer ledger.Wallet) []string {
	mates := slices.DeleteFunc(rd.stage.Wallets(), func(w *ledger.WalletRecord) bool {
		return w.WalletID == deployer.WalletID || w.VaultAccountID != deployer.VaultAccountID || w.Network != deployer.Network
	})
	slices.SortStableFunc(mates, func(a, b *ledger.WalletRecord) int { return cmp.Compare(a.Recorded.Sequence, b.Recorded.Sequence) })
	performers := []string{deployer.WalletID}
	for _, w := range mates[:min(len(mates), maxPerformers-1)] {
		performers = append(performers, w.WalletID)
	}
	slices.Sort(performers)
	return performers
}

// sign signs in the HSM what the ledger holds an authorization for, and
// verifies before anything leaves.
func (r *room) sign(ctx context.Context, unsigned *tx.Unsigned, w ledger.Wallet) (raw []byte, hash tx.Hash, err error) {
	digest, err := unsigned.SigningHash()
	if err != nil {
		return nil, tx.Hash{}, err
	}
	signature, err := r.signDigest(ctx, digest, w)
	if err != nil {
		return nil, tx.Hash{}, err
	}
	raw, err = unsigned.Encode(w.PublicKey, signature)
	if err != nil {
		return nil, tx.Hash{}, err
	}
	return raw, tx.HashOf(raw), nil
}

// signDigest signs with a wallet's key and verifies by what the ledger says of it.
func (r *room) signDigest(ctx context.Context, digest tx.Hash, w ledger.Wallet) ([]byte, error) {
	// gofail: var signBeforeHSM struct{}
	signature, err := r.token.SignDigest(ctx, w.WalletID, digest)
	// gofail: var signAfterHSM struct{}
	if errors.Is(err, hsm.ErrNotFound) {
		return nil, seal.Errorf(seal.KindHSM, "the token %q has no key of wallet %s; restore a backup of the token that has it", r.tokenLabel, w.WalletID)
	}
	if err != nil {
		return nil, hsmError(err)
	}
	v, err := r.verifiers.of(w)
	if err != nil {
		return nil, seal.Errorf(seal.KindStore, "wallet %s: %v", w.WalletID, err)
	}
	if !v.Verify(digest, signature) {
		r.metrics.noticed(noticedSignature)
		return nil, seal.Errorf(seal.KindHSM, "the signature of wallet %s does not verify", w.WalletID)
	}
	return signature, nil
}

// Bump signs the same transaction with higher fees, within the approved cap.
// The newest fees again give the newest version again.
func (r *room) Bump(ctx context.Context, q seal.BumpRequest) (_ *seal.BumpResult, err error) {
	defer r.count(seal.OpBump, &err)
	var out seal.BumpResult
	var g grant
	err = r.submit(ctx, func(rd *round) (err error) {
		g, out, err = rd.bump(q)
		return err
	})
	if err != nil {
		return nil, err
	}
	out.RawTx, out.TxHash, err = r.sign(ctx, g.unsigned, g.wallet)
	if err != nil {
		return nil, err
	}
	return &out, nil
}

func (rd *round) bump(q seal.BumpRequest) (grant, seal.BumpResult, error) {
	none := seal.BumpResult{}
	if err := rd.maySign(); err != nil {
		return grant{}, none, err
	}
	if err := rd.notAhead(q.Head); err != nil {
		return grant{}, none, err
	}
	op, ok := rd.stage.Operation(q.OperationID)
	if !ok || op.Authorized == nil {
		return grant{}, none, seal.Errorf(seal.KindInvalid, "operation %s is not authorized", q.OperationID)
	}
	a := *op.Authorized
	text, ok := op.IntentBytes(a.Intent)
	if !ok && op.Settled == nil && policy.DigestOf(q.Intent) == a.Intent {
		text, ok = q.Intent, true
	}
	if !ok {
		return grant{}, none, seal.Errorf(seal.KindConflict, "operation %s is settled, or no decision holds its intent", q.OperationID)
	}
	i, err := policy.ParseIntent(text)
	if err != nil {
		return grant{}, none, err
	}
	if err := mayUse(rd.charter(), i.ChainID); err != nil {
		return grant{}, none, err
	}
	// The ledger asks it for what people approved; who asked nobody is asked here.
	if rd.stage.Frozen(policy.Subject{TokenID: i.Token.ID}) {
		return grant{}, none, seal.Errorf(seal.KindDenied, "token %s is frozen", i.Token.ID)
	}
	if err := withinCap(i, a.GasLimit, q.MaxFee, q.Tip); err != nil {
		return grant{}, none, err
	}
	unsigned, hash, err := transaction(i, a.Nonce, a.GasLimit, q.MaxFee, q.Tip)
	if err != nil {
		return grant{}, none, err
	}
	w, ok := rd.stage.Wallet(a.WalletID)
	if !ok {
		return grant{}, none, seal.Errorf(seal.KindStore, "wallet %s of an authorization is not in the ledger", a.WalletID)
	}
	g := grant{record: a, unsigned: unsigned, wallet: w.Wallet}
	if n := len(op.Bumps); n > 0 && op.Bumps[n-1].Tx == hash {
		return g, seal.BumpResult{Sequence: rd.newest(), Version: op.Version()}, nil
	}
	b := ledger.Bump{OperationID: q.OperationID, Version: op.Version() + 1, MaxFee: q.MaxFee, Tip: q.Tip, Tx: hash}
	if err := rd.add(ledger.Record{Bump: &b}); err != nil {
		return grant{}, none, err
	}
	return g, seal.BumpResult{Sequence: rd.sequence, Version: b.Version}, nil
}
