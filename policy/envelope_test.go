package policy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/stretchr/testify/require"

	. "github.com/mintwarden/mintwarden/policy"
)

func decision(t testing.TB, who string, verb Verb) []byte {
	i, err := mint(t).Encode()
	require.NoError(t, err)
	b, err := (&Decision{Format: Format, Decision: verb, Intent: i, Approver: who, DecidedAt: noon}).Encode()
	require.NoError(t, err)
	return b
}

func sign(t testing.TB, doc string, payload []byte, who ...string) *Envelope {
	var signers []*Signer
	for _, w := range who {
		signers = append(signers, signer(t, w))
	}
	e, err := Sign(PayloadType(doc), payload, signers...)
	require.NoError(t, err)
	return e
}

func TestKeysOfEveryAlgorithmSignAndVerify(t *testing.T) {
	for _, alg := range []Algorithm{ECDSAP256, Ed25519, MLDSA65} {
		private, public, err := GenerateKeyPEM(alg)
		require.NoError(t, err)
		s, err := LoadSignerPEM(private)
		require.NoError(t, err)
		key, err := ParsePublicKeyPEM(public)
		require.NoError(t, err)
		require.Equal(t, s.Public(), key)
		require.Equal(t, alg, key.Algorithm())
		require.Equal(t, string(DigestOf(key.SPKI())), key.KeyID())
		e, err := Sign(PayloadType(DocPolicy), []byte("{}"), s)
		require.NoError(t, err)
		ids, err := e.Verify(PayloadType(DocPolicy), func(id string) (PublicKey, bool) { return key, id == key.KeyID() })
		require.NoError(t, err)
		require.Equal(t, []string{key.KeyID()}, ids)
		_, err = e.Verify(PayloadType(DocCharter), func(string) (PublicKey, bool) { return key, true })
		require.ErrorIs(t, err, ErrEnvelope)
		text, err := key.MarshalText()
		require.NoError(t, err)
		var again PublicKey
		require.NoError(t, again.UnmarshalText(text))
		require.Equal(t, key, again)
	}
	_, _, err := GenerateKeyPEM("rsa")
	require.ErrorIs(t, err, ErrKey)
}

// What is signed is what others' verifiers check: spec/formats.md, “Envelope”.
func TestSignaturesAreOverWhatTheSpecSays(t *testing.T) {
	payload := decision(t, "ann", Approve)
	pae := dsse.PAE("application/vnd.mintwarden.decision+json", payload)
	require.Equal(t, fmt.Sprintf("DSSEv1 40 application/vnd.mintwarden.decision+json %d %s", len(payload), payload), string(pae))
	e := sign(t, DocDecision, payload, "ann", "cat")
	key, err := x509.ParsePKIXPublicKey(signer(t, "ann").Public().SPKI())
	require.NoError(t, err)
	sum := sha256.Sum256(pae)
	require.True(t, ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), sum[:], e.Signatures[0].Sig))
	key, err = x509.ParsePKIXPublicKey(signer(t, "cat").Public().SPKI())
	require.NoError(t, err)
	require.NoError(t, mldsa.Verify(key.(*mldsa.PublicKey), pae, e.Signatures[1].Sig, &mldsa.Options{Context: "application/vnd.mintwarden.decision+json"}))
	require.Error(t, mldsa.Verify(key.(*mldsa.PublicKey), pae, e.Signatures[1].Sig, nil))
}

func TestOtherKeysAreRefused(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	m44, err := mldsa.GenerateKey(mldsa.MLDSA44())
	require.NoError(t, err)
	for _, key := range []any{p384.Public(), r.Public(), m44.Public()} {
		der, err := x509.MarshalPKIXPublicKey(key)
		require.NoError(t, err)
		_, err = ParsePublicKey(der)
		require.ErrorIs(t, err, ErrKey)
	}
	good := signer(t, "ann").Public().SPKI()
	for _, der := range [][]byte{nil, good[:20], append(append([]byte(nil), good...), 0), make([]byte, 5000)} {
		_, err := ParsePublicKey(der)
		require.ErrorIs(t, err, ErrKey)
	}
	_, err = LoadSignerPEM([]byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"))
	require.ErrorIs(t, err, ErrKey)
	require.NotContains(t, err.Error(), "c2VjcmV0")
}

func TestEnvelopesParseToThemselves(t *testing.T) {
	e := sign(t, DocDecision, decision(t, "ann", Approve), "ann", "bob", "cat")
	again, err := ParseEnvelope(e.Encode())
	require.NoError(t, err)
	require.Equal(t, e, again)
}

func TestEnvelopesRefuse(t *testing.T) {
	good := sign(t, DocDecision, decision(t, "ann", Approve), "ann", "bob")
	text := string(good.Encode())
	keyid := signer(t, "ann").Public().KeyID()
	change := func(old, now string) string {
		require.Equal(t, 1, strings.Count(text, old), old)
		return strings.Replace(text, old, now, 1)
	}
	payload := base64.StdEncoding.EncodeToString(good.Payload)
	many := &Envelope{PayloadType: good.PayloadType, Payload: good.Payload}
	for n := range MaxSignatures + 1 {
		many.Signatures = append(many.Signatures, Signature{KeyID: string(DigestOf([]byte{byte(n)})), Sig: []byte{1}})
	}
	for name, text := range map[string]string{
		"nothing":               "",
		"no signatures":         change(text[strings.Index(text, `"signatures":`):], `"signatures":[]}`),
		"17 signatures":         string(many.Encode()),
		"an unknown member":     change(`"payloadType"`, `"x":1,"payloadType"`),
		"a member missing":      change(`"keyid":"`+keyid+`",`, ""),
		"an empty keyid":        change(keyid, ""),
		"another keyid form":    change(keyid, strings.TrimPrefix(keyid, "sha256:")),
		"a keyid twice":         change(keyid, signer(t, "bob").Public().KeyID()),
		"URL-safe base64":       change(payload, base64.URLEncoding.EncodeToString([]byte{0xfb, 0xff, 0xfe})),
		"base64 without pads":   change(payload, base64.RawStdEncoding.EncodeToString([]byte("1234"))),
		"loose base64":          change(payload, "QUJDRB=="),
		"base64 in lines":       change(payload, payload[:8]+`\n`+payload[8:]),
		"an empty payload":      change(payload, ""),
		"a great payload":       change(payload, base64.StdEncoding.EncodeToString(make([]byte, MaxDocument+1))),
		"a great envelope":      text + strings.Repeat(" ", MaxEnvelope),
		"no media type":         change("application/vnd.mintwarden.decision+json", "text/plain"),
		"a repeated member":     change(`"payloadType"`, `"payload":"AA==","payloadType"`),
		"another member's case": change(`"payloadType"`, `"PayloadType"`),
	} {
		_, err := ParseEnvelope([]byte(text))
		require.ErrorIs(t, err, ErrEnvelope, name)
	}
}

// Flipping any bit of payload, type, key id or signature refuses the whole envelope, although the
// other signatures hold.
func TestOneBadSignatureRefusesTheWholeEnvelope(t *testing.T) {
	known := func(id string) (PublicKey, bool) {
		for _, n := range []string{"ann", "bob", "cat"} {
			if k := signer(t, n).Public(); k.KeyID() == id {
				return k, true
			}
		}
		return PublicKey{}, false
	}
	verify := func(e *Envelope) error {
		_, err := e.Verify(PayloadType(DocDecision), known)
		return err
	}
	fresh := func() *Envelope {
		return sign(t, DocDecision, decision(t, "ann", Approve), "ann", "bob", "cat")
	}
	require.NoError(t, verify(fresh()))
	for n := range 3 {
		for _, at := range []int{0, 5, -1} {
			e := fresh()
			sig := e.Signatures[n].Sig
			sig[(at+len(sig))%len(sig)] ^= 1
			require.ErrorIs(t, verify(e), ErrEnvelope, "signature %d, byte %d", n, at)
		}
		e := fresh()
		e.Signatures[n].Sig = nil
		require.ErrorIs(t, verify(e), ErrEnvelope)
		e = fresh()
		e.Signatures[n].KeyID = signer(t, "eve").Public().KeyID()
		require.ErrorIs(t, verify(e), ErrEnvelope, "unknown key")
		e = fresh()
		e.Signatures[n].KeyID = e.Signatures[(n+1)%3].KeyID
		require.ErrorIs(t, verify(e), ErrEnvelope, "repeated key")
		e = fresh()
		e.Signatures[n], e.Signatures[(n+1)%3] = Signature{e.Signatures[n].KeyID, e.Signatures[(n+1)%3].Sig}, Signature{e.Signatures[(n+1)%3].KeyID, e.Signatures[n].Sig}
		require.ErrorIs(t, verify(e), ErrEnvelope, "signatures exchanged")
	}
	e := fresh()
	e.Payload[len(e.Payload)/2] ^= 1
	require.ErrorIs(t, verify(e), ErrEnvelope)
	e = fresh()
	e.PayloadType = PayloadType(DocPolicy)
	require.ErrorIs(t, verify(e), ErrEnvelope)
}

func TestAddSignature(t *testing.T) {
	e := sign(t, DocPolicy, []byte("{}"), "ann")
	require.NoError(t, e.AddSignature(signer(t, "bob")))
	require.Len(t, e.Signatures, 2)
	require.NoError(t, e.AddSignature(signer(t, "ann")))
	require.Len(t, e.Signatures, 2, "a key signs once")
	for n := range MaxSignatures - 2 {
		require.NoError(t, e.AddSignature(signer(t, fmt.Sprint("more ", n))))
	}
	require.ErrorIs(t, e.AddSignature(signer(t, "one too many")), ErrSign)
}

// A decision is one person's: the one whose key signed is the one whom it names.
func TestVerifyDecision(t *testing.T) {
	c := charter(t)
	d, err := c.VerifyDecision(sign(t, DocDecision, decision(t, "ann", Approve), "ann"))
	require.NoError(t, err)
	require.Equal(t, "ann", d.Approver)
	_, err = c.VerifyDecision(sign(t, DocDecision, decision(t, "ann", Reject), "ann", "ann's other"))
	require.NoError(t, err, "one person may sign with two keys")
	for name, e := range map[string]*Envelope{
		"another's key":          sign(t, DocDecision, decision(t, "ann", Approve), "bob"),
		"two persons":            sign(t, DocDecision, decision(t, "ann", Approve), "ann", "bob"),
		"a custodian":            sign(t, DocDecision, decision(t, "ann", Approve), "custodian-1"),
		"a stranger":             sign(t, DocDecision, decision(t, "ann", Approve), "zoe"),
		"another payload type":   sign(t, DocPolicy, decision(t, "ann", Approve), "ann"),
		"nobody":                 sign(t, DocDecision, decision(t, "ann", Approve)),
		"no decision":            sign(t, DocDecision, []byte("{}"), "ann"),
		"an intent for decision": sign(t, DocDecision, mustEncode(t, mint(t)), "ann"),
	} {
		_, err := c.VerifyDecision(e)
		require.Error(t, err, name)
	}
}

func TestVerifyRequest(t *testing.T) {
	c := charter(t)
	i := mint(t)
	i.Requester = "bob"
	b := mustEncode(t, i)
	request := mustEncode(t, &Request{Format: Format, Intent: b, Requester: "bob", RequestedAt: noon})
	_, err := c.VerifyRequest(sign(t, DocRequest, request, "bob"))
	require.NoError(t, err)
	_, err = c.VerifyRequest(sign(t, DocRequest, request, "ann"))
	require.ErrorIs(t, err, ErrEnvelope)
	_, err = (&Request{Format: Format, Intent: b, Requester: "ann", RequestedAt: noon}).Encode()
	require.ErrorIs(t, err, ErrDocument)
}

func mustEncode(t testing.TB, d document) []byte {
	b, err := d.Encode()
	require.NoError(t, err)
	return b
}

func TestFirstCharterNeedsEveryCustodian(t *testing.T) {
	c := charter(t)
	b := mustEncode(t, c)
	have, err := CheckFirstCharter(sign(t, DocCharter, b, "custodian-1", "custodian-2", "custodian-3"))
	require.NoError(t, err)
	require.Equal(t, c, have)
	_, err = CheckFirstCharter(sign(t, DocCharter, b, "custodian-1", "custodian-2's other", "custodian-3"))
	require.NoError(t, err)
	for name, who := range map[string][]string{
		"two of three":              {"custodian-1", "custodian-2"},
		"two keys of one custodian": {"custodian-1", "custodian-2", "custodian-2's other"},
		"a stranger beside them":    {"custodian-1", "custodian-2", "custodian-3", "zoe"},
		"a person beside them":      {"custodian-1", "custodian-2", "custodian-3", "ann"},
	} {
		_, err := CheckFirstCharter(sign(t, DocCharter, b, who...))
		require.ErrorIs(t, err, ErrEnvelope, name)
	}
	d := DigestOf(b)
	c.Version, c.Replaces = 2, &d
	_, err = CheckFirstCharter(sign(t, DocCharter, mustEncode(t, c), "custodian-1", "custodian-2", "custodian-3"))
	require.ErrorIs(t, err, ErrDocument)
}

func TestLaterChartersNeedTheOldThreshold(t *testing.T) {
	old := charter(t)
	digest := DigestOf(mustEncode(t, old))
	next := func(change func(*Charter)) []byte {
		c := charter(t)
		c.Version, c.Replaces = 2, &digest
		change(c)
		return mustEncode(t, c)
	}
	newcomer := next(func(c *Charter) {
		c.Custodians.Members[2] = Custodian{"custodian-4", keys(t, "custodian-4")}
	})
	_, err := CheckCharter(old, digest, sign(t, DocCharter, newcomer, "custodian-1", "custodian-2"))
	require.NoError(t, err)
	for name, who := range map[string][]string{
		"below the threshold":     {"custodian-1"},
		"one custodian, two keys": {"custodian-2", "custodian-2's other"},
		"the newcomer's own":      {"custodian-1", "custodian-4"},
		"new threshold":           {"custodian-4"},
	} {
		_, err := CheckCharter(old, digest, sign(t, DocCharter, newcomer, who...))
		require.ErrorIs(t, err, ErrEnvelope, name)
	}
	other := DigestOf([]byte("another charter"))
	for name, change := range map[string]func(*Charter){
		"version 3":           func(c *Charter) { c.Version = 3 },
		"another predecessor": func(c *Charter) { c.Replaces = &other },
		"another instance":    func(c *Charter) { c.Instance = "dev-2" },
		"another environment": func(c *Charter) { c.Environment = Production },
		"another tenant":      func(c *Charter) { c.TenantID = "umbrella" },
	} {
		_, err := CheckCharter(old, digest, sign(t, DocCharter, next(change), "custodian-1", "custodian-2"))
		require.ErrorIs(t, err, ErrDocument, name)
	}
}

func FuzzParseEnvelope(f *testing.F) {
	f.Add(sign(f, DocDecision, decision(f, "ann", Approve), "ann", "bob").Encode())
	f.Add([]byte(`{"payloadType":"application/x","payload":"e30=","signatures":[{"keyid":"` + string(NoDigest) + `","sig":"AA=="}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEnvelope(b)
		if err != nil {
			require.ErrorIs(t, err, ErrEnvelope)
			return
		}
		again, err := ParseEnvelope(e.Encode())
		require.NoError(t, err)
		require.Equal(t, e, again)
	})
}

func FuzzParsePublicKey(f *testing.F) {
	for _, n := range []string{"ann", "bob", "cat"} {
		f.Add(signer(f, n).Public().SPKI())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParsePublicKey(b)
		if err == nil && string(k.SPKI()) != string(b) {
			t.Fatal("two encodings of one key")
		}
	})
}
