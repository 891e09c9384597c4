package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

const (
	network = "quantum-chain-devnet"
	chainID = 2080377
)

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

// keyOf gives everybody the same key in every run, one kind each for ann, bob
// and cat, and for the custodians.
func keyOf(name string) crypto.Signer {
	seed := sha256.Sum256([]byte("key of " + name))
	var key crypto.Signer
	var err error
	switch name {
	case "ann", "custodian-1":
		key, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	case "cat", "custodian-3":
		key, err = mldsa.NewPrivateKey(mldsa.MLDSA65(), seed[:])
	default:
		key = ed25519.NewKeyFromSeed(seed[:])
	}
	if err != nil {
		panic(err)
	}
	return key
}

func signerOf(name string) *policy.Signer {
	s, err := policy.NewSigner(keyOf(name))
	if err != nil {
		panic(err)
	}
	return s
}

// keyFileOf is a PEM file with the person's key.
func keyFileOf(t testing.TB, name string) string {
	der, err := x509.MarshalPKCS8PrivateKey(keyOf(name))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), name+".key")
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return path
}

func keys(names ...string) []policy.PublicKey {
	out := []policy.PublicKey{}
	for _, n := range names {
		out = append(out, signerOf(n).Public())
	}
	return out
}

// charter has the approvers ann, bob and cat, and dan who is of no group.
func charter() *policy.Charter {
	c := &policy.Charter{Format: policy.Format, Instance: "dev-1", Version: 1, Environment: policy.Dev, TenantID: "acme",
		Networks: []policy.Network{{Name: network, Kind: tx.KindQuantum, ChainID: chainID, Scheme: tx.Dilithium3, Currency: "QC",
			DefaultMaxFee: policy.AmountOf(1e16), DailyFee: policy.AmountOf(1e18)}},
		Custodians: policy.Custodians{Threshold: 2, Members: []policy.Custodian{{Name: "custodian-1", Keys: keys("custodian-1")},
			{Name: "custodian-2", Keys: keys("custodian-2")}, {Name: "custodian-3", Keys: keys("custodian-3")}}},
		Groups: map[string][]string{"approvers": {"ann", "bob", "cat"}},
		Appliances: []policy.Appliance{{ID: "appliance-1", LedgerKey: signerOf("appliance-1").Public(), UnsealKey: []byte("unseal key"),
			Token: policy.SecurityToken{Serial: "0123456789abcdef", CheckValues: map[string]string{"canary": "a1b2c3"}}}},
	}
	for n, name := range []string{"ann", "bob", "cat", "dan"} {
		c.Persons = append(c.Persons, policy.Person{Name: name, Keys: keys(name), Users: []string{id("user", n+1)}})
	}
	return c
}

func signed(t testing.TB, kind string, d interface{ Encode() ([]byte, error) }, by ...string) *policy.Envelope {
	t.Helper()
	b, err := d.Encode()
	require.NoError(t, err)
	var signers []*policy.Signer
	for _, n := range by {
		signers = append(signers, signerOf(n))
	}
	e, err := policy.Sign(policy.PayloadType(kind), b, signers...)
	require.NoError(t, err)
	return e
}

// world is a ledger as a seal would have written it, with test keys.
type world struct {
	t      testing.TB
	fold   *ledger.Fold
	root   policy.Digest
	now    time.Time
	values [][]byte // batch 1 first
	epoch  uint64   // that a recover begins
}

// newWorld has wallets 1 and 2 (of vaults 1 and 2), a policy for all, and token
// 1, which wallet 1 performs.
func newWorld(t testing.TB, change ...func(*policy.Charter)) *world {
	return newWorldAt(t, policy.Seconds(time.Now().Add(-time.Minute)), change...)
}

// newWorldAt is newWorld, begun at another time.
func newWorldAt(t testing.TB, now time.Time, change ...func(*policy.Charter)) *world {
	c := charter()
	for _, f := range change {
		f(c)
	}
	e := signed(t, policy.DocCharter, c, "custodian-1", "custodian-2", "custodian-3")
	w := &world{t: t, root: e.PayloadDigest(), now: now, fold: ledger.NewFold(e.PayloadDigest())}
	w.commit(ledger.Record{Charter: e})
	w.commit(ledger.Record{Wallet: wallet(1)}, ledger.Record{Wallet: wallet(2)},
		ledger.Record{Policy: signed(t, policy.DocPolicy, w.policy(1, nil), "custodian-1", "custodian-3")})
	w.commit(ledger.Record{Binding: signed(t, policy.DocBinding, w.binding(), "custodian-1", "custodian-2")})
	return w
}

// wallet n has a public key that nobody holds; nothing is signed with it here.
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

// policy asks two approvers, and takes at most 1,000 tokens of 18 decimals.
func (w *world) policy(version uint64, replaces *policy.Digest, rules ...policy.Rule) *policy.Policy {
	if rules == nil {
		most, err := policy.ParseAmount("1000000000000000000000")
		require.NoError(w.t, err)
		rules = []policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"}, {Type: policy.RuleMaxAmount, Amount: &most}}
	}
	return &policy.Policy{Format: policy.Format, Instance: "dev-1", ID: id("pol", 1), Version: version, Replaces: replaces, Name: "dev-default",
		Scope: policy.Scope{All: true}, Rules: rules, CreatedAt: w.now}
}

func (w *world) binding() *policy.Binding {
	return &policy.Binding{Format: policy.Format, Instance: "dev-1", Version: 1, TokenID: id("token", 1), Network: network, ChainID: chainID,
		ContractAddress: account("contract"), TemplateID: "tpl_qrc20_v1", Symbol: "EIT", Decimals: 18, PolicyID: id("pol", 1),
		Performers: []string{id("wallet", 1)}, Verified: true, CreatedAt: w.now}
}

// value is the next batch's bytes.
func (w *world) value(records ...ledger.Record) []byte {
	w.t.Helper()
	head, digest := w.fold.Head()
	b := &ledger.Batch{Format: ledger.Format, Instance: "dev-1", Epoch: max(w.fold.Epoch(), w.epoch), Term: 1, Sequence: head + 1, Previous: digest,
		Author: "appliance-1", Time: w.now, Records: records}
	input, err := b.SigningInput()
	require.NoError(w.t, err)
	b.Signature = ed25519.Sign(keyOf("appliance-1").(ed25519.PrivateKey), input)
	value, err := b.Encode()
	require.NoError(w.t, err)
	return value
}

func (w *world) commit(records ...ledger.Record) {
	w.t.Helper()
	value := w.value(records...)
	_, err := w.fold.Apply(value)
	require.NoError(w.t, err)
	w.values = append(w.values, value)
}

// filler is a record that can stand in any batch.
func (w *world) filler(n int) ledger.Record {
	return ledger.Record{Cancel: &ledger.Cancel{OperationID: opAt(w.now, 1000+n), Reason: "nothing"}}
}

// mint is of 1,000 EIT to wallet 2, asked by oscar, good for an hour.
func (w *world) mint(n int) *policy.Intent {
	_, charter := w.fold.Charter()
	in, _ := w.fold.Policy(id("pol", 1))
	contract := account("contract")
	amount, err := policy.ParseAmount("1000000000000000000000")
	require.NoError(w.t, err)
	return &policy.Intent{Format: policy.Format, Domain: policy.IntentDomain, Instance: "dev-1", Epoch: w.fold.Epoch(), Charter: charter,
		OperationID: opAt(w.now, n), OperationType: policy.OpMint, Network: network, ChainID: chainID, Scheme: tx.Dilithium3,
		Token:     policy.Token{ID: id("token", 1), ContractAddress: &contract, TemplateID: "tpl_qrc20_v1", Symbol: "EIT", Decimals: 18},
		Performer: policy.Performer{WalletID: id("wallet", 1), Address: wallet(1).Address},
		Params:    policy.Params{Amount: &amount, Recipient: ptr(wallet(2).Address)},
		FeeCap:    policy.AmountOf(1e16), Policies: []policy.PolicyRef{in.Ref()},
		Requester: "oscar", NotBefore: w.now, ExpiresAt: w.now.Add(time.Hour)}
}

// deploy makes an intent the deployment of token 2.
func deploy(t testing.TB, i *policy.Intent) {
	i.OperationType = policy.OpDeployToken
	i.Token.ID, i.Token.ContractAddress = id("token", 2), nil
	i.Params = policy.Params{Name: ptr("Example"), Symbol: ptr("EIT"), Decimals: ptr(uint8(18)), Cap: ptr(policy.Amount{}), Mintable: ptr(true),
		Burnable: ptr(true), InitialSupply: ptr(policy.Amount{}), Admin: ptr(i.Performer.Address)}
	code, err := i.Params.InitCode("tpl_qrc20_v1")
	require.NoError(t, err)
	i.Params.InitcodeKeccak = ptr(tx.HashOf(code))
}
