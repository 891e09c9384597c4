package hsm_test

import (
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

// beside is a session of our own beside the token's, in its login.
func beside(t *testing.T) (*pkcs11.Ctx, pkcs11.SessionHandle) {
	t.Helper()
	p := pkcs11.New(token.ModulePath)
	require.ErrorIs(t, p.Initialize(), pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED))
	s := sessionBeside(t, p)
	t.Cleanup(func() { _ = p.CloseSession(s) })
	return p, s
}

// sessionBeside is a session of somebody else's at the tests' token; it is his to close.
func sessionBeside(t *testing.T, p *pkcs11.Ctx) pkcs11.SessionHandle {
	t.Helper()
	slots, err := p.GetSlotList(true)
	require.NoError(t, err)
	for _, slot := range slots {
		info, err := p.GetTokenInfo(slot)
		require.NoError(t, err)
		if info.Label == token.Label {
			s, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
			require.NoError(t, err)
			return s
		}
	}
	t.Fatalf("no token %s", token.Label)
	return 0
}

func one(t *testing.T, p *pkcs11.Ctx, s pkcs11.SessionHandle, class uint, id string) pkcs11.ObjectHandle {
	t.Helper()
	require.NoError(t, p.FindObjectsInit(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id))}))
	found, _, err := p.FindObjects(s, 2)
	require.NoError(t, err)
	require.NoError(t, p.FindObjectsFinal(s))
	require.Len(t, found, 1)
	return found[0]
}

// Every key has one job: whoever has the login gets no other work out of it, and nothing out of the token by it.
func TestAttack_AKeyIsAskedToDoAnothersJob(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	wrapping, pair, wallet := fresh("job-wrapping"), fresh("job-pair"), fresh("job-wallet")
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, wrapping, wrapping))
	_, err := tok.GenerateEd25519(ctx, pair, pair)
	require.NoError(t, err)
	_, err = tok.GenerateSecp256k1(ctx, wallet, wallet)
	require.NoError(t, err)
	_, err = tok.CreateSeedKey(ctx, fresh("job-seed"), hsm.Dilithium3, wrapping)
	require.NoError(t, err)
	p, s := beside(t)

	type job struct {
		name string
		kind uint
	}
	for id, of := range map[string]struct {
		class uint
		may   []uint
	}{
		wrapping: {pkcs11.CKO_SECRET_KEY, []uint{pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT}},
		pair:     {pkcs11.CKO_PRIVATE_KEY, []uint{pkcs11.CKA_SIGN}},
		wallet:   {pkcs11.CKO_PRIVATE_KEY, []uint{pkcs11.CKA_SIGN}},
	} {
		h := one(t, p, s, of.class, id)
		jobs := []job{{"sign", pkcs11.CKA_SIGN}, {"decrypt", pkcs11.CKA_DECRYPT}, {"unwrap", pkcs11.CKA_UNWRAP}, {"derive", pkcs11.CKA_DERIVE}}
		if of.class == pkcs11.CKO_SECRET_KEY {
			jobs = append(jobs, job{"encrypt", pkcs11.CKA_ENCRYPT}, job{"wrap", pkcs11.CKA_WRAP}, job{"verify", pkcs11.CKA_VERIFY})
		}
		for _, j := range jobs {
			got, err := p.GetAttributeValue(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(j.kind, nil)})
			require.NoError(t, err)
			want := []byte{0}
			for _, may := range of.may {
				if may == j.kind {
					want = []byte{1}
				}
			}
			require.Equal(t, want, got[0].Value, "%s: %s", id, j.name)
		}
		label, err := p.GetAttributeValue(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil)})
		require.NoError(t, err)
		require.Equal(t, id, string(label[0].Value))
	}

	// Tried: a key of ours that the token would give away wrapped, under the wrapping key and as it is.
	secret := one(t, p, s, pkcs11.CKO_SECRET_KEY, wrapping)
	loose, err := p.CreateObject(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
		pkcs11.NewAttribute(pkcs11.CKA_WRAP, true), pkcs11.NewAttribute(pkcs11.CKA_VALUE, make([]byte, 32))})
	require.NoError(t, err)
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_WRAP, nil)}
	_, err = p.WrapKey(s, mechanism, secret, loose)
	require.Error(t, err, "the wrapping key wraps no key by PKCS#11's own call")
	for _, id := range []string{pair, wallet} {
		_, err = p.WrapKey(s, mechanism, loose, one(t, p, s, pkcs11.CKO_PRIVATE_KEY, id))
		require.Error(t, err, "%s is not given away", id)
	}
	_, err = p.WrapKey(s, mechanism, loose, secret)
	require.Error(t, err)
	require.Error(t, p.SignInit(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_CMAC, nil)}, secret))
	for _, id := range []string{wallet, pair, wrapping} {
		class := uint(pkcs11.CKO_PRIVATE_KEY)
		if id == wrapping {
			class = pkcs11.CKO_SECRET_KEY
		}
		h := one(t, p, s, class, id)
		require.Error(t, p.SetAttributeValue(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true)}), id)
	}
}
