package sealed

import (
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// takeEnv names a module; the test program is then somebody without a PIN, who destroys
// every public key that it finds there.
const takeEnv = "SEALED_TEST_TAKE"

func takePublicHalves(module string) int {
	p := pkcs11.New(module)
	err := p.Initialize()
	slots, _ := p.GetSlotList(true)
	for _, slot := range slots {
		s, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if err != nil {
			continue // of a slot without a token
		}
		_ = p.FindObjectsInit(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY)})
		halves, _, _ := p.FindObjects(s, 100)
		_ = p.FindObjectsFinal(s)
		for _, h := range halves {
			if err := p.DestroyObject(s, h); err != nil {
				slog.Error("taking", "error", err)
				return 1
			}
			_, _ = os.Stdout.WriteString("x")
		}
	}
	if err != nil {
		slog.Error("taking", "error", err)
		return 1
	}
	return 0
}

const evmNetwork = "evm"

// withEVM adds a network whose wallets are pairs of the token.
func withEVM(c *policy.Charter) {
	c.Networks = append(c.Networks, policy.Network{Name: evmNetwork, Kind: tx.KindEVM, ChainID: 31337, Scheme: tx.Secp256k1, Currency: "ETH",
		DefaultMaxFee: c.Networks[0].DefaultMaxFee, DailyFee: c.Networks[0].DailyFee})
}

// Somebody who reaches the token without a PIN destroys every public half: the appliance
// starts, decides, proves and signs as before, and the log says what is missing.
func TestAttack_EveryPublicHalfIsDestroyed(t *testing.T) {
	p := newProcess(t)
	c := p.start()
	ctx := t.Context()
	me, err := c.Init(ctx)
	require.NoError(t, err)
	who := newPeople(t)
	charter := who.charter(me, withEVM)
	payload, err := charter.Encode()
	e := sign(t, policy.DocCharter, payload, err, who.custodians...)
	p.configure(e.PayloadDigest())
	_, err = c.CharterApply(ctx, e)
	require.NoError(t, err)
	i := &instance{t: t, door: c, people: who, charter: charter, digest: e.PayloadDigest(), first: e}
	i.furnish()
	i.deploy()
	w, err := c.WalletCreate(ctx, seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: newID("vault"), Network: evmNetwork, Scheme: tx.Secp256k1})
	require.NoError(t, err)
	require.Equal(t, "hsm-native", w.Protection)
	p.stop()

	thief := exec.Command(os.Args[0])
	thief.Env = append(os.Environ(), p.token.Env(), takeEnv+"="+p.token.ModulePath)
	took, err := thief.Output()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(took), 3, "canary, ledger key, wallet")

	p.launch()
	p.await("the token has lost a key's public half, or it was taken away; it is taken from where it is known")
	p.back(c)
	p.awaitLedger(c)
	mints(t, i, c)
	proof, err := c.WalletProve(ctx, seal.WalletProveRequest{WalletID: w.WalletID})
	require.NoError(t, err)
	require.Equal(t, w.PublicKey, proof.PublicKey)
	require.True(t, tx.VerifySignature(tx.Secp256k1, proof.PublicKey, tx.OwnershipDigest(proof.Address), proof.Signature))
	same, err := c.WalletCreate(ctx, seal.WalletCreateRequest{WalletID: w.WalletID, VaultAccountID: w.VaultAccountID, Network: evmNetwork, Scheme: tx.Secp256k1})
	require.NoError(t, err)
	require.Equal(t, w, same)
	again, err := c.Init(ctx)
	require.NoError(t, err)
	require.Equal(t, me, again)
}

// What the ledger knows of the token's keys.
func TestPublicKeysThatTheLedgerKnows(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	own, err := house.hsm.Ed25519Public(t.Context(), ledgerKeys+testAppliance)
	require.NoError(t, err)
	require.Equal(t, []byte(own), r.publicKey(ledgerKeys+testAppliance))
	require.Equal(t, i.wallet.PublicKey, r.publicKey(i.wallet.WalletID))
	for _, id := range []string{"", canaryKey, ledgerKeys, ledgerKeys + "appliance-9", testAppliance, newID("wallet")} {
		require.Nil(t, r.publicKey(id), id)
	}
	require.Nil(t, newTestRoom(t, "", roomOptions{}).publicKey(i.wallet.WalletID), "no ledger yet")
}
