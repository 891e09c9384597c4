package policy_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	. "github.com/mintwarden/mintwarden/policy"
)

// noon is a Monday.
var noon = time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)

const network = "quantum-chain-devnet"

func id(prefix string, n int) string { return fmt.Sprintf("%s_%026d", prefix, n) }

// account is the address that the test data call by that name.
func account(name string) tx.Address {
	sum := sha256.Sum256([]byte(name))
	return tx.Address(sum[:20])
}

func ptr[T any](v T) *T { return &v }

func amount(t testing.TB, s string) Amount {
	a, err := ParseAmount(s)
	require.NoError(t, err)
	return a
}

// signer gives everybody the same key in every run: ann signs with ECDSA, bob with Ed25519, cat
// with ML-DSA-65, everybody else with Ed25519.
func signer(t testing.TB, name string) *Signer {
	if s, ok := signers.Load(name); ok {
		return s.(*Signer)
	}
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
	require.NoError(t, err)
	s, err := NewSigner(key)
	require.NoError(t, err)
	signers.Store(name, s)
	return s
}

// signers keeps what was derived once.
var signers sync.Map

func keys(t testing.TB, names ...string) []PublicKey {
	out := []PublicKey{}
	for _, n := range names {
		out = append(out, signer(t, n).Public())
	}
	return out
}

// charter has the persons ann to eve, and oscar who asks and has no key.
func charter(t testing.TB) *Charter {
	c := &Charter{Format: Format, Instance: "dev-1", Version: 1, Environment: Dev, TenantID: "acme",
		Networks: []Network{
			{Name: network, Kind: tx.KindQuantum, ChainID: 2080377, Scheme: tx.Dilithium3, Currency: "QC",
				DefaultMaxFee: AmountOf(10_000_000_000_000_000), DailyFee: amount(t, "1000000000000000000")},
			{Name: "geth-dev", Kind: tx.KindEVM, ChainID: 1337, Scheme: tx.Secp256k1, Currency: "ETH",
				DefaultMaxFee: AmountOf(10_000_000_000_000_000), DailyFee: amount(t, "1000000000000000000")}},
		Custodians: Custodians{Threshold: 2, Members: []Custodian{
			{"custodian-1", keys(t, "custodian-1")}, {"custodian-2", keys(t, "custodian-2", "custodian-2's other")}, {"custodian-3", keys(t, "custodian-3")}}},
		Groups: map[string][]string{"approvers": {"ann", "bob", "cat"}, "traders": {"ann", "bob"}, "compliance": {"bob", "dan"}, "nobody": {}},
		Appliances: []Appliance{{ID: "appliance-1", LedgerKey: signer(t, "appliance-1").Public(), UnsealKey: []byte{1, 2, 3},
			Token: SecurityToken{Serial: "0123456789abcdef", CheckValues: map[string]string{"canary": "a1b2c3"}}}},
	}
	for n, name := range []string{"ann", "bob", "cat", "dan", "eve"} {
		c.Persons = append(c.Persons, Person{name, keys(t, name), []string{id("user", n+1)}})
	}
	c.Persons[0].Keys = append(c.Persons[0].Keys, keys(t, "ann's other")...)
	c.Persons = append(c.Persons, Person{"oscar", []PublicKey{}, []string{id("user", 9)}})
	return c
}

// mint is 1,000 EIT to alice, good for an hour from noon.
func mint(t testing.TB) *Intent {
	contract := account("contract")
	return &Intent{Format: Format, Domain: IntentDomain, Instance: "dev-1", Epoch: 1, Charter: DigestOf([]byte("charter")), OperationID: id("op", 1),
		OperationType: OpMint, Network: network, ChainID: 2080377, Scheme: tx.Dilithium3,
		Token:     Token{ID: id("token", 1), ContractAddress: &contract, TemplateID: "tpl_qrc20_v1", Symbol: "EIT", Decimals: 18},
		Performer: Performer{WalletID: id("wallet", 1), Address: account("treasury")},
		Params:    Params{Amount: ptr(amount(t, "1000000000000000000000")), Recipient: ptr(account("alice"))},
		FeeCap:    AmountOf(10_000_000_000_000_000), Policies: []PolicyRef{{id("pol", 1), 1, DigestOf([]byte("policy"))}},
		Requester: "oscar", NotBefore: noon, ExpiresAt: noon.Add(time.Hour)}
}

// become changes the intent to another type with that type's parameters.
func become(t testing.TB, i *Intent, op OperationType) {
	i.OperationType = op
	a := ptr(amount(t, "1000"))
	alice, bob := ptr(account("alice")), ptr(account("bert"))
	switch op {
	case OpMint:
		i.Params = Params{Amount: a, Recipient: alice}
	case OpBurn:
		i.Params = Params{Amount: a, Source: bob}
	case OpTransfer:
		i.Params = Params{Amount: a, Source: bob, Recipient: alice}
	case OpGrantRole, OpRevokeRole:
		i.Params = Params{Role: qrc20.Minter, Subject: alice}
	case OpPause, OpUnpause:
		i.Params = Params{}
	case OpFreeze, OpUnfreeze, OpAllowlistAdd, OpAllowlistRemove:
		i.Params = Params{Subject: alice}
	case OpCancel:
		i.Params, i.Token = Params{Nonce: ptr("7")}, Token{}
	case OpDeployToken:
		i.Token.ContractAddress = nil
		i.Params = Params{Name: ptr("Example Institutional Token"), Symbol: ptr("EIT"), Decimals: ptr(uint8(18)), Cap: ptr(Amount{}),
			Mintable: ptr(true), Burnable: ptr(true), InitialSupply: ptr(Amount{}), Admin: ptr(account("treasury"))}
		code, err := i.Params.InitCode("tpl_qrc20_v1")
		require.NoError(t, err)
		i.Params.InitcodeKeccak = ptr(tx.HashOf(code))
	}
}

func binding(t testing.TB) *Binding {
	return &Binding{Format: Format, Instance: "dev-1", Version: 1, TokenID: id("token", 1), Network: network, ChainID: 2080377,
		ContractAddress: account("contract"), TemplateID: "tpl_qrc20_v1", Symbol: "EIT", Decimals: 18, PolicyID: id("pol", 1),
		Performers: []string{id("wallet", 1), id("wallet", 2)}, Verified: true, CreatedAt: noon}
}

func policyOf(rules ...Rule) *Policy {
	return &Policy{Format: Format, Instance: "dev-1", ID: id("pol", 1), Version: 1, Name: "dev-default", Scope: Scope{All: true}, Rules: rules, CreatedAt: noon}
}

func inForce(t testing.TB, p *Policy) *InForce {
	b, err := p.Encode()
	require.NoError(t, err)
	return &InForce{Policy: p, Digest: DigestOf(b)}
}

func twoOf(group string) Rule {
	return Rule{Type: RuleRequireApproval, MinApprovers: 2, ApproverGroup: group}
}

// noUsage is the usage of a ledger that has charged nothing.
type noUsage struct{}

func (noUsage) Charged(uint64, tx.Address, OperationType, time.Time) Amount { return Amount{} }
