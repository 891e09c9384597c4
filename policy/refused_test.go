package policy_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json/v2"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	. "github.com/mintwarden/mintwarden/policy"
)

// One key has one encoding: whoever shifts its bits within the BIT STRING has the same key
// under another keyid, and would be two signers.
func TestAttack_OneKeyInTwoEncodings(t *testing.T) {
	var key *ecdsa.PrivateKey
	for {
		var err error
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		if b, err := key.PublicKey.Bytes(); err == nil && b[len(b)-1]&1 == 0 {
			break
		}
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	_, err = ParsePublicKey(spki)
	require.NoError(t, err)
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	_, err = asn1.Unmarshal(spki, &info)
	require.NoError(t, err)
	shifted := new(big.Int).Lsh(new(big.Int).SetBytes(info.Key.Bytes), 3).FillBytes(make([]byte, len(info.Key.Bytes)))
	info.Key = asn1.BitString{Bytes: shifted, BitLength: 8*len(shifted) - 3}
	other, err := asn1.Marshal(info)
	require.NoError(t, err)
	again, err := x509.ParsePKIXPublicKey(other)
	require.NoError(t, err, "the standard library takes it")
	require.True(t, key.PublicKey.Equal(again))
	_, err = ParsePublicKey(other)
	require.ErrorIs(t, err, ErrKey)
	require.ErrorContains(t, err, "canonical")
	_, err = ParsePublicKey(append(spki, make([]byte, 2048)...))
	require.ErrorContains(t, err, "bytes")
}

// A PEM file holds one block of one kind.
func TestAKeyFileWithMoreInIt(t *testing.T) {
	private, public, err := GenerateKeyPEM(Ed25519)
	require.NoError(t, err)
	_, err = ParsePublicKeyPEM(public)
	require.NoError(t, err)
	_, err = LoadSignerPEM(private)
	require.NoError(t, err)
	block, _ := pem.Decode(public)
	secret, _ := pem.Decode(private)
	rename := func(b *pem.Block, kind string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b.Bytes})
	}
	for name, text := range map[string][]byte{"nothing": nil, "two": append(bytes.Clone(public), public...), "text behind": append(bytes.Clone(public), 'x'),
		"a certificate by name": rename(block, "CERTIFICATE")} {
		_, err = ParsePublicKeyPEM(text)
		require.ErrorIs(t, err, ErrKey, name)
	}
	for name, text := range map[string][]byte{"nothing": nil, "two": append(bytes.Clone(private), private...), "text behind": append(bytes.Clone(private), 'x'),
		"another kind by name": rename(secret, "EC PRIVATE KEY")} {
		_, err = LoadSignerPEM(text)
		require.ErrorIs(t, err, ErrKey, name)
	}
}

// wrongSigner is a key whose token signs something else.
type wrongSigner struct{ crypto.Signer }

func (w wrongSigner) Sign(r io.Reader, _ []byte, opts crypto.SignerOpts) ([]byte, error) {
	return w.Signer.Sign(r, make([]byte, opts.HashFunc().Size()), opts)
}

// What a token signs is verified before it is an envelope's.
func TestASignatureThatDoesNotVerifyIsNotMade(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	s, err := NewSigner(wrongSigner{key})
	require.NoError(t, err)
	_, err = Sign(PayloadType(DocPolicy), []byte("{}"), s)
	require.ErrorIs(t, err, ErrSign)
	require.ErrorContains(t, err, "does not verify")
}

// A look-up that gives another key than was asked for counts nobody.
func TestAttack_AKeyIDThatNamesAnotherKey(t *testing.T) {
	e, err := Sign(PayloadType(DocPolicy), []byte("{}"), signer(t, "ann"))
	require.NoError(t, err)
	own := signer(t, "ann").Public()
	_, err = e.Verify(PayloadType(DocPolicy), func(string) (PublicKey, bool) { return own, true })
	require.NoError(t, err)
	e.Signatures[0].KeyID = signer(t, "bob").Public().KeyID()
	_, err = e.Verify(PayloadType(DocPolicy), func(string) (PublicKey, bool) { return own, true })
	require.ErrorIs(t, err, ErrEnvelope)
}

// Base64 has one spelling: no line breaks, and nothing longer than what it is of may be.
func TestAnEnvelopesBase64HasOneSpelling(t *testing.T) {
	e, err := Sign(PayloadType(DocPolicy), bytes.Repeat([]byte("{}"), 50), signer(t, "ann"))
	require.NoError(t, err)
	text, err := json.Marshal(e)
	require.NoError(t, err)
	_, err = ParseEnvelope(text)
	require.NoError(t, err)
	payload := base64.StdEncoding.EncodeToString(e.Payload)
	for name, other := range map[string]string{"a line break": payload[:64] + `\n` + payload[64:], "two": payload + `\r\n`, "a byte too many": payload + "A",
		"no padding": strings.TrimRight(payload, "=")} {
		_, err = ParseEnvelope([]byte(strings.Replace(string(text), payload, other, 1)))
		require.ErrorIs(t, err, ErrEnvelope, name)
	}
}

func TestADigestHasOneSpelling(t *testing.T) {
	d := string(DigestOf([]byte("x")))
	require.True(t, Digest(d).Valid())
	for _, other := range []string{"", strings.ToUpper(d), "sha256:" + strings.ToUpper(d[7:]), d[:70] + "g", d[:70] + "/", d[:70] + ":", d[:70] + "`", d + "0", d[7:], "sha512:" + d[7:]} {
		require.False(t, Digest(other).Valid(), other)
	}
}

func TestAmountsThatPassTheLargest(t *testing.T) {
	most := MaxAmount()
	for _, f := range []func() (Amount, bool){func() (Amount, bool) { return most.Add(AmountOf(1)) }, func() (Amount, bool) { return most.Mul(2) },
		func() (Amount, bool) { return AmountOf(1).Add(most) }} {
		got, ok := f()
		require.False(t, ok)
		require.Equal(t, most, got)
	}
	got, ok := most.Mul(1)
	require.True(t, ok)
	require.Equal(t, most, got)
}

// A document that is too long, or of version 0, is none, also where it is made.
func TestADocumentThatIsTooLongIsNotMade(t *testing.T) {
	p := policyOf(twoOf("traders"))
	p.Rules = append(p.Rules, Rule{Type: RuleBlacklistAddress, Addresses: addresses(2000)})
	require.NoError(t, p.Check())
	_, err := p.Encode()
	require.ErrorIs(t, err, ErrDocument)
	require.ErrorContains(t, err, "at most 65536")
	p = policyOf(twoOf("traders"))
	p.Version, p.Replaces = 0, ptr(DigestOf(nil))
	require.ErrorIs(t, p.Check(), ErrDocument)
	p.Version = 2
	require.NoError(t, p.Check())
}

func addresses(n int) []tx.Address {
	all := make([]tx.Address, n)
	for i := range all {
		all[i] = account(fmt.Sprint("address ", i))
	}
	return all
}

func TestABindingsExternalAccounts(t *testing.T) {
	sorted := addresses(257)
	slices.SortFunc(sorted, func(a, b tx.Address) int { return bytes.Compare(a[:], b[:]) })
	for name, c := range map[string]struct {
		external []tx.Address
		taken    bool
	}{"two": {sorted[:2], true}, "out of order": {[]tx.Address{sorted[1], sorted[0]}, false}, "twice": {[]tx.Address{sorted[0], sorted[0]}, false},
		"the zero address": {[]tx.Address{{}}, false}, "as many as may be": {sorted[:256], true}, "one more": {sorted[:257], false}} {
		b := binding(t)
		b.External = c.external
		require.Equal(t, c.taken, b.Check() == nil, name)
	}
}

// A deployment makes its token's binding; one that stands already was not what the approvers saw.
func TestAttack_ADeploymentJudgedByABinding(t *testing.T) {
	i := mint(t)
	become(t, i, OpDeployToken)
	in := Input{Charter: charter(t), Intent: i, Binding: binding(t), Policies: []*InForce{inForce(t, policyOf(twoOf("traders")))}, Now: noon}
	v := Judge(in)
	require.Equal(t, Deny, v.Outcome)
	require.Contains(t, fmt.Sprint(v), "without a binding")
}

// What a foreign transaction does is read from it alone: coins sent, or a contract made, are
// nothing that is shown to anybody.
func TestAForeignTransactionThatSendsCoins(t *testing.T) {
	i := mint(t)
	for name, change := range map[string]func(u *tx.Unsigned){"coins": func(u *tx.Unsigned) { u.Value = big.NewInt(1) }, "a creation": func(u *tx.Unsigned) { u.To = nil }} {
		u, err := i.Transaction(7, 100_000, big.NewInt(10), big.NewInt(1))
		require.NoError(t, err)
		raw, err := u.EncodeUnsigned()
		require.NoError(t, err)
		_, err = ReadForeign(i.Scheme.Kind(), i.Performer.Address, raw)
		require.NoError(t, err)
		change(u)
		raw, err = u.EncodeUnsigned()
		require.NoError(t, err)
		_, err = ReadForeign(i.Scheme.Kind(), i.Performer.Address, raw)
		require.ErrorIs(t, err, ErrForeign, name)
	}
}

// Parameters with one thing wrong in them are no parameters.
func TestParametersThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		op     OperationType
		change func(*Params)
	}{
		"a role that there is not":      {OpGrantRole, func(p *Params) { p.Role = "SUPERUSER" }},
		"a token without a name":        {OpDeployToken, func(p *Params) { p.Name = ptr("") }},
		"creation code that is nothing": {OpDeployToken, func(p *Params) { p.InitcodeKeccak = ptr(tx.Hash{}) }},
		"a name that is too long":       {OpDeployToken, func(p *Params) { p.Name = ptr(strings.Repeat("n", 4096)) }},
		"a name that is no text":        {OpDeployToken, func(p *Params) { p.Name = ptr("n\xff") }},
	} {
		i := mint(t)
		become(t, i, c.op)
		require.NoError(t, i.Check(), name)
		c.change(&i.Params)
		require.ErrorIs(t, i.Check(), ErrDocument, name)
	}
}

// A policy is of the instance whose custodians sign it, and each thing in it stands once.
func TestPoliciesThatAreRefused(t *testing.T) {
	c := charter(t)
	require.NoError(t, CheckPolicy(policyOf(twoOf("traders")), c))
	p := policyOf(twoOf("traders"))
	p.Instance = "dev-2"
	require.ErrorContains(t, CheckPolicy(p, c), "instance dev-2")
	tree := func(q *Quorum) *Policy { return policyOf(Rule{Type: RuleRequireApproval, Quorum: q}) }
	leaf := &Quorum{Group: "traders", Min: 1}
	require.NoError(t, CheckPolicy(tree(&Quorum{Any: []*Quorum{leaf}}), c))
	wide := &Quorum{KOf: &KOf{K: 8}}
	for range 16 {
		wide.KOf.Of = append(wide.KOf.Of, leaf)
	}
	for name, p := range map[string]*Policy{
		"a null branch":             tree(&Quorum{All: []*Quorum{leaf, nil}}),
		"a leaf that asks nobody":   tree(&Quorum{Any: []*Quorum{{Group: "traders"}}}),
		"a leaf that asks too many": tree(&Quorum{Any: []*Quorum{{Group: "traders", Min: 1000}}}),
		"a leaf without a group":    tree(&Quorum{Any: []*Quorum{{Min: 1}}}),
		"more ways than are tried":  tree(wide),
		"an address that is twice":  policyOf(twoOf("traders"), Rule{Type: RuleBlacklistAddress, Addresses: append(addresses(2), addresses(1)...)}),
		"hours that are none":       policyOf(twoOf("traders"), Rule{Type: RuleTimeWindow, Days: []Weekday{"MON"}, Start: "0:9:0", End: "17:00"}),
		"hours with other digits":   policyOf(twoOf("traders"), Rule{Type: RuleTimeWindow, Days: []Weekday{"MON"}, Start: "0/:00", End: "17:00"}),
		"hours with a letter":       policyOf(twoOf("traders"), Rule{Type: RuleTimeWindow, Days: []Weekday{"MON"}, Start: "09:00", End: "1a:00"}),
	} {
		require.ErrorIs(t, CheckPolicy(p, c), ErrDocument, name)
	}
	require.ErrorContains(t, tree(wide).Check(), "ways to hold")
	require.ErrorContains(t, tree(&Quorum{Any: []*Quorum{{Group: "traders"}}}).Check(), "min 0")
	for _, start := range []Clock{"0/:00", "00:0/", "1a:00", "0:9:0"} {
		hours := policyOf(Rule{Type: RuleTimeWindow, Days: []Weekday{"MON"}, Start: start, End: "17:00"})
		require.ErrorContains(t, hours.Check(), "HH:MM")
	}
}

// A part in a renewal with one thing wrong in it is none.
func TestPartsOfARenewalThatAreRefused(t *testing.T) {
	good := func() *Renew {
		return &Renew{Format: Format, Instance: "dev-1", ApplianceID: "appliance-1", Charter: DigestOf(nil), Nonce: make([]byte, 32), Share: []byte("share"), CreatedAt: noon}
	}
	require.NoError(t, good().Check())
	received := func(r *Renew) { r.Share, r.Received = nil, DigestOf(nil) }
	r := good()
	received(r)
	require.NoError(t, r.Check())
	for name, change := range map[string]func(r *Renew){
		"a short nonce":            func(r *Renew) { r.Nonce = make([]byte, 15) },
		"a long nonce":             func(r *Renew) { r.Nonce = make([]byte, 65) },
		"no charter":               func(r *Renew) { r.Charter = "" },
		"no digest of a charter":   func(r *Renew) { r.Charter = "sha256:00" },
		"a share that is too long": func(r *Renew) { r.Share = make([]byte, 4097) },
		"a key of another size":    func(r *Renew) { r.ReceiveKey = make([]byte, 32) },
		"a word on nothing":        func(r *Renew) { received(r); r.Received = "yes" },
		"a word beside a share":    func(r *Renew) { r.Received = DigestOf(nil) },
		"neither":                  func(r *Renew) { r.Share = nil },
	} {
		r := good()
		change(r)
		require.ErrorIs(t, r.Check(), ErrDocument, name)
	}
}

// A policy with a rule that says nothing is tightened by no number: it is the threshold's, whatever else changed.
func TestAttack_AMalformedRuleIsNoTightening(t *testing.T) {
	limit := func(rules ...Rule) *Policy {
		return policyOf(append([]Rule{twoOf("traders")}, rules...)...)
	}
	most := func(n uint64) Rule { return Rule{Type: RuleMaxAmount, Amount: ptr(AmountOf(n))} }
	require.Equal(t, Tighter, Compare(limit(most(10)), limit(most(9))))
	for name, bad := range map[string]Rule{"no amount": {Type: RuleMaxAmount}, "no type": {}, "an unknown type": {Type: "MAX_LUCK"},
		"no list": {Type: RuleBlacklistAddress}, "nobody": {Type: RuleRequireApproval, ApproverGroup: "traders"}} {
		require.Equal(t, Looser, Compare(limit(most(10)), limit(most(9), bad)), name)
		require.Equal(t, Looser, Compare(limit(most(10), bad), limit(most(9), bad)), name)
	}
}
