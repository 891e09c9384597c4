package ledger_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// noon is a Monday.
var noon = time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)

const (
	network = "quantum-chain-devnet"
	chainID = 2080377
)

var fee = policy.AmountOf(1_000_000_000)

func id(prefix string, n int) string { return fmt.Sprintf("%s_%026d", prefix, n) }

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// opAt is the n-th operation id that was drawn at t.
func opAt(t time.Time, n int) string {
	ms := t.UnixMilli()
	var digits [10]byte
	for i := 9; i >= 0; i-- {
		digits[i] = crockford[ms&31]
		ms >>= 5
	}
	return fmt.Sprintf("op_%s%016d", digits[:], n)
}

func ptr[T any](v T) *T { return &v }

func seedOf(name string) [32]byte { return sha256.Sum256([]byte("key of " + name)) }

// signer gives everybody the same key in every run: ann and custodian-1 sign with ECDSA, cat,
// custodian-3 and whoever's pq with ML-DSA-65, everybody else with Ed25519.
var signer = func() func(name string) *policy.Signer {
	var known sync.Map
	return func(name string) *policy.Signer {
		if s, ok := known.Load(name); ok {
			return s.(*policy.Signer)
		}
		seed := seedOf(name)
		var key crypto.Signer
		var err error
		switch {
		case name == "ann" || name == "custodian-1":
			key, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
		case name == "cat" || name == "custodian-3" || strings.HasSuffix(name, "'s pq"):
			key, err = mldsa.NewPrivateKey(mldsa.MLDSA65(), seed[:])
		default:
			key = ed25519.NewKeyFromSeed(seed[:])
		}
		if err != nil {
			panic(err)
		}
		s, err := policy.NewSigner(key)
		if err != nil {
			panic(err)
		}
		known.Store(name, s)
		return s
	}
}()

func keys(names ...string) []policy.PublicKey {
	out := []policy.PublicKey{}
	for _, n := range names {
		out = append(out, signer(n).Public())
	}
	return out
}

func ids(names ...string) []string {
	out := []string{}
	for _, k := range keys(names...) {
		out = append(out, k.KeyID())
	}
	return out
}

func charter() *policy.Charter {
	c := &policy.Charter{Format: policy.Format, Instance: "dev-1", Version: 1, Environment: policy.Dev, TenantID: "acme",
		Networks: []policy.Network{{Name: network, Kind: tx.KindQuantum, ChainID: chainID, Scheme: tx.Dilithium3, Currency: "QC",
			DefaultMaxFee: policy.AmountOf(1e16), DailyFee: policy.AmountOf(1e18)}},
		Custodians: policy.Custodians{Threshold: 2, Members: []policy.Custodian{{Name: "custodian-1", Keys: keys("custodian-1")},
			{Name: "custodian-2", Keys: keys("custodian-2", "custodian-2's other")}, {Name: "custodian-3", Keys: keys("custodian-3")}}},
		Groups: map[string][]string{"approvers": {"ann", "bob", "cat"}},
		Limits: policy.Limits{WalletsPerHour: 8},
	}
	for n, name := range []string{"ann", "bob", "cat", "dan"} {
		c.Persons = append(c.Persons, policy.Person{Name: name, Keys: keys(name), Users: []string{id("user", n+1)}})
	}
	for _, name := range []string{"appliance-1", "appliance-2"} {
		c.Appliances = append(c.Appliances, policy.Appliance{ID: name, LedgerKey: signer(name).Public(), UnsealKey: []byte("unseal key of " + name),
			Token: policy.SecurityToken{Serial: "0123456789abcdef", CheckValues: map[string]string{"canary": "a1b2c3"}}})
	}
	return c
}

// document is what has bytes of its own that people sign.
type document interface{ Encode() ([]byte, error) }

func sign(t testing.TB, kind string, d document, by ...string) *policy.Envelope {
	t.Helper()
	b, err := d.Encode()
	require.NoError(t, err)
	signers := []*policy.Signer{}
	for _, n := range by {
		signers = append(signers, signer(n))
	}
	e, err := policy.Sign(policy.PayloadType(kind), b, signers...)
	require.NoError(t, err)
	return e
}

// world is a log, its fold, and a clock that stands still until told.
type world struct {
	t      testing.TB
	fold   *ledger.Fold
	root   policy.Digest
	author string
	term   uint64
	now    time.Time
	values [][]byte // batch 1 first
	ops    int
}

// genesis is a log of one batch, charter 1.
func genesis(t testing.TB, change ...func(*policy.Charter)) *world {
	c := charter()
	for _, f := range change {
		f(c)
	}
	e := sign(t, policy.DocCharter, c, "custodian-1", "custodian-2", "custodian-3")
	w := &world{t: t, root: e.PayloadDigest(), author: "appliance-1", term: 1, now: noon}
	w.fold = ledger.NewFold(w.root)
	w.commit(ledger.Record{Charter: e})
	return w
}

// begun is genesis, wallets 1 and 2 (of vaults 1 and 2), a policy for all, and token 1 bound to a
// contract and performed by wallet 1.
func begun(t testing.TB, change ...func(*policy.Charter)) *world {
	w := genesis(t, change...)
	w.commit(ledger.Record{Wallet: wallet(1)}, ledger.Record{Wallet: wallet(2)}, ledger.Record{Policy: sign(t, policy.DocPolicy, w.policy(), "custodian-1", "custodian-3")})
	w.commit(ledger.Record{Binding: sign(t, policy.DocBinding, w.binding(), "custodian-1", "custodian-2")})
	return w
}

// wallet n has a public key that nobody holds; nothing is signed here.
func wallet(n int) *ledger.Wallet {
	key := make([]byte, tx.Dilithium3.PublicKeySize())
	binary.BigEndian.PutUint64(key, uint64(n))
	address, err := tx.Sender(tx.KindQuantum, key)
	if err != nil {
		panic(err)
	}
	return &ledger.Wallet{WalletID: id("wallet", n), VaultAccountID: id("vault", n), Network: network, Scheme: tx.Dilithium3, PublicKey: key, Address: address}
}

func account(name string) tx.Address {
	sum := sha256.Sum256([]byte(name))
	return tx.Address(sum[:20])
}

func (w *world) policy() *policy.Policy {
	return &policy.Policy{Format: policy.Format, Instance: "dev-1", ID: id("pol", 1), Version: 1, Name: "dev-default", Scope: policy.Scope{All: true},
		Rules: []policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"}}, CreatedAt: w.now}
}

func (w *world) binding() *policy.Binding {
	return &policy.Binding{Format: policy.Format, Instance: "dev-1", Version: 1, TokenID: id("token", 1), Network: network, ChainID: chainID,
		ContractAddress: account("contract"), TemplateID: "tpl_qrc20_v1", Symbol: "EIT", Decimals: 18, PolicyID: id("pol", 1),
		Performers: []string{id("wallet", 1)}, Verified: true, CreatedAt: w.now}
}

// batch is the next one, signed, not applied.
func (w *world) batch(records ...ledger.Record) *ledger.Batch {
	head, digest := w.fold.Head()
	b := &ledger.Batch{Format: ledger.Format, Instance: "dev-1", Epoch: w.fold.Epoch(), Term: w.term, Sequence: head + 1, Previous: digest,
		Author: w.author, Time: w.now, Records: records}
	return w.signed(b)
}

// signed signs as the batch's author.
func (w *world) signed(b *ledger.Batch) *ledger.Batch {
	w.t.Helper()
	input, err := b.SigningInput()
	require.NoError(w.t, err)
	seed := seedOf(b.Author)
	b.Signature = ed25519.Sign(ed25519.NewKeyFromSeed(seed[:]), input)
	return b
}

func (w *world) encode(b *ledger.Batch) []byte {
	w.t.Helper()
	value, err := b.Encode()
	require.NoError(w.t, err)
	return value
}

// commit applies a batch of the records.
func (w *world) commit(records ...ledger.Record) *ledger.Batch {
	w.t.Helper()
	value := w.encode(w.batch(records...))
	b, err := w.fold.Apply(value)
	require.NoError(w.t, err)
	w.values = append(w.values, value)
	return b
}

// refused asserts that neither stage nor fold takes the records, for that reason, and that the fold
// is as it was.
func (w *world) refused(reason ledger.Reason, says string, records ...ledger.Record) {
	w.t.Helper()
	before := ledger.State(w.fold)
	err := w.fold.Stage(w.now, w.author).Add(records...)
	w.isRefusal(err, reason, says)
	_, err = w.fold.Apply(w.encode(w.batch(records...)))
	w.isRefusal(err, reason, says)
	require.Equal(w.t, before, ledger.State(w.fold), "the fold changed")
}

func (w *world) isRefusal(err error, reason ledger.Reason, says string) {
	w.t.Helper()
	var r *ledger.Refusal
	require.ErrorAs(w.t, err, &r)
	require.Equal(w.t, reason, r.Reason, "%v", err)
	require.ErrorContains(w.t, err, says)
}

// pass lets time go by.
func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// op draws an operation id.
func (w *world) op() string {
	w.ops++
	return opAt(w.now, w.ops)
}

// mint is of 1,000 units of token 1 by wallet 1, good for an hour.
func (w *world) mint(op string, change ...func(*policy.Intent)) *policy.Intent {
	_, charter := w.fold.Charter()
	contract := account("contract")
	i := &policy.Intent{Format: policy.Format, Domain: policy.IntentDomain, Instance: "dev-1", Epoch: w.fold.Epoch(), Charter: charter, OperationID: op,
		OperationType: policy.OpMint, Network: network, ChainID: chainID, Scheme: tx.Dilithium3,
		Token:     policy.Token{ID: id("token", 1), ContractAddress: &contract, TemplateID: "tpl_qrc20_v1", Symbol: "EIT", Decimals: 18},
		Performer: policy.Performer{WalletID: id("wallet", 1), Address: wallet(1).Address},
		Params:    policy.Params{Amount: ptr(policy.AmountOf(1000)), Recipient: ptr(account("alice"))},
		FeeCap:    policy.AmountOf(1e16), Policies: []policy.PolicyRef{{ID: id("pol", 1), Version: 1, Digest: policy.DigestOf([]byte("policy"))}},
		Requester: "oscar", NotBefore: w.now, ExpiresAt: w.now.Add(time.Hour)}
	for _, f := range change {
		f(i)
	}
	return i
}

func grantTo(subject tx.Address) func(*policy.Intent) {
	return func(i *policy.Intent) {
		i.OperationType, i.Params = policy.OpGrantRole, policy.Params{Role: qrc20.Minter, Subject: &subject}
	}
}

func deployOf(token string, supply uint64) func(*policy.Intent) {
	return func(i *policy.Intent) {
		i.OperationType = policy.OpDeployToken
		i.Token.ID, i.Token.ContractAddress = token, nil
		i.Params = policy.Params{Name: ptr("Example"), Symbol: ptr("EIT"), Decimals: ptr(uint8(18)), Cap: ptr(policy.Amount{}), Mintable: ptr(true),
			Burnable: ptr(true), InitialSupply: ptr(policy.AmountOf(supply)), Admin: ptr(i.Performer.Address)}
		code, err := i.Params.InitCode("tpl_qrc20_v1")
		if err != nil {
			panic(err)
		}
		i.Params.InitcodeKeccak = ptr(tx.HashOf(code))
	}
}

func cancelling(nonce string) func(*policy.Intent) {
	return func(i *policy.Intent) {
		i.OperationType, i.Token, i.Params = policy.OpCancel, policy.Token{}, policy.Params{Nonce: &nonce}
	}
}

// decide is a person's decision on the intent.
func (w *world) decide(verb policy.Verb, i *policy.Intent, person string) ledger.Record {
	w.t.Helper()
	b, err := i.Encode()
	require.NoError(w.t, err)
	return ledger.Record{Decision: sign(w.t, policy.DocDecision, &policy.Decision{Format: policy.Format, Decision: verb, Intent: b, Approver: person, DecidedAt: w.now}, person)}
}

func (w *world) approve(i *policy.Intent, person string) ledger.Record {
	return w.decide(policy.Approve, i, person)
}

// gasOf lies within the template's bounds for the intent.
func gasOf(i *policy.Intent) uint64 {
	switch i.OperationType {
	case policy.OpDeployToken:
		t, _ := qrc20.TemplateByID(i.Token.TemplateID)
		least, _ := t.DeployGasBounds()
		return least
	case policy.OpCancel:
		return 21_000
	case policy.OpGrantRole:
		least, _ := qrc20.GasBounds("grantRole")
		return least
	}
	least, _ := qrc20.GasBounds("mint")
	return least
}

// authorize is what the seal would record for the intent at the lane's next nonce.
func (w *world) authorize(i *policy.Intent, change ...func(*ledger.Authorize)) ledger.Record {
	w.t.Helper()
	b, err := i.Encode()
	require.NoError(w.t, err)
	a := &ledger.Authorize{OperationID: i.OperationID, Intent: policy.DigestOf(b), Charges: []ledger.Charge{}, WalletID: i.Performer.WalletID,
		Nonce: w.fold.NextNonce(i.Performer.WalletID), GasLimit: gasOf(i), MaxFee: fee, Tip: fee, Expiry: i.ExpiresAt}
	if i.OperationType == policy.OpCancel {
		n, _ := policy.ParseAmount(*i.Params.Nonce)
		a.Nonce = n.Big().Uint64()
	}
	contract := tx.CreateAddress(i.Performer.Address, a.Nonce)
	if i.Token.ContractAddress != nil {
		contract = *i.Token.ContractAddress
	}
	if amount, ok := i.Amount(); ok && !amount.Is0() {
		a.Charges = append(a.Charges, ledger.Charge{Amount: amount, ChainID: i.ChainID, Contract: contract, Operation: i.AmountOperation()})
	}
	for _, f := range change {
		f(a)
	}
	if a.Tx.IsZero() {
		a.Tx = w.digest(i, a.Nonce, a.GasLimit, a.MaxFee, a.Tip)
	}
	return ledger.Record{Authorize: a}
}

// digest is of the transaction that follows, or of anything where none does.
func (w *world) digest(i *policy.Intent, nonce, gas uint64, maxFee, tip policy.Amount) tx.Hash {
	u, err := i.Transaction(nonce, gas, maxFee.Big(), tip.Big())
	if err != nil {
		return tx.Hash{1}
	}
	h, err := u.SigningHash()
	require.NoError(w.t, err)
	return h
}

// authorized commits two approvals of the intent and its authorization.
func (w *world) authorized(i *policy.Intent) {
	w.t.Helper()
	w.commit(w.approve(i, "ann"), w.approve(i, "bob"), w.authorize(i))
}

// deployment is the authorization of a deployment and its binding.
func (w *world) deployment(i *policy.Intent) []ledger.Record {
	w.t.Helper()
	r := w.authorize(i)
	contract := tx.CreateAddress(i.Performer.Address, r.Authorize.Nonce)
	replaced, digest, _, _ := w.fold.BindingDocument(i.Token.ID)
	b, err := i.DeployBinding(contract, []string{i.Performer.WalletID}, replaced, digest, w.now)
	require.NoError(w.t, err)
	return []ledger.Record{r, {DeployBinding: b}}
}

// again folds the log from its beginning.
func (w *world) again() *ledger.Fold {
	w.t.Helper()
	f := ledger.NewFold(w.root)
	for _, v := range w.values {
		_, err := f.Apply(v)
		require.NoError(w.t, err)
	}
	return f
}
