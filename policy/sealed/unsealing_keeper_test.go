package sealed

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Shares wait an hour for the others, in the keeper's own memory, and are wiped
// then.
func TestACollectionEndsInTime(t *testing.T) {
	dir := t.TempDir()
	who := newPeople(t)
	_, shares := split(t, dir, who, processPIN)
	c := &ceremony{t, who, shares}
	file := unsealKeyFile{state: dir}
	public, err := file.public()
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		q := &collection{state: dir, appliance: testAppliance, life: collectionLife, unsealKey: file.private, refused: func(string) bool { return false }}
		var sent []byte
		give := func(n int) error {
			p, err := q.look()
			require.NoError(t, err)
			e := c.document(&seal.Unsealing{Instance: p.Instance, Nonce: p.Nonce, UnsealKey: public}, n, nil)
			d, err := policy.ParseUnseal(e.Payload)
			require.NoError(t, err)
			sent = d.Share
			_, err = q.take(asking{Custodian: "custodian-" + names[n], Instance: d.Instance, Nonce: d.Nonce, Share: d.Share})
			return err
		}
		require.NoError(t, give(0))
		before, err := q.look()
		require.NoError(t, err)
		held, timer := q.shares["custodian-1"], q.timer
		require.NotNil(t, timer)
		again := asking{Custodian: "custodian-1", Instance: before.Instance, Nonce: before.Nonce, Share: sent}
		for range 3 { // the same document, however often, is one share and one timer
			_, err := q.take(again)
			require.NoError(t, err)
			require.Same(t, timer, q.timer)
		}
		time.Sleep(collectionLife - time.Minute)
		synctest.Wait()
		p, err := q.look()
		require.NoError(t, err)
		require.Equal(t, []string{"custodian-1"}, p.Shares)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		p, err = q.look()
		require.NoError(t, err)
		require.Empty(t, p.Shares)
		require.NotEqual(t, before.Nonce, p.Nonce)
		require.True(t, held.IsZero(), "wiped")

		// A timer of one collection does not end the next.
		require.NoError(t, give(0))
		q.reset()
		time.Sleep(collectionLife - time.Minute)
		require.NoError(t, give(1))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		p, err = q.look()
		require.NoError(t, err)
		require.Equal(t, []string{"custodian-2"}, p.Shares)
		q.reset()
	})
}

// A custody that was altered is found when a quorum opens it, and the shares are
// forgotten; one of another appliance, or that cannot be read, takes none.
func TestACustodyThatDoesNotHold(t *testing.T) {
	who := newPeople(t)
	for name, x := range map[string]struct {
		change func(dir string, c *seal.Custody)
		want   string
		late   bool // only the quorum finds it
	}{
		"altered":           {func(_ string, c *seal.Custody) { c.Sealed[50] ^= 1 }, "altered", true},
		"another appliance": {func(_ string, c *seal.Custody) { c.ApplianceID = "appliance-2" }, "of appliance appliance-2", false},
		"not readable":      {func(_ string, c *seal.Custody) { c.Threshold = 9 }, "threshold 9", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			custody, shares := split(t, dir, who, processPIN)
			text, err := custody.Encode()
			require.NoError(t, err)
			x.change(dir, custody)
			altered, err := custody.Encode()
			if err != nil {
				altered = bytes.Replace(text, []byte(`"threshold":2`), []byte(`"threshold":9`), 1)
			}
			require.NoError(t, os.WriteFile(filepath.Join(dir, seal.CustodyFile), altered, 0o600))
			file := unsealKeyFile{state: dir}
			public, err := file.public()
			require.NoError(t, err)
			q := &collection{state: dir, appliance: testAppliance, life: time.Hour, unsealKey: file.private, refused: func(string) bool { return false }}
			p, err := q.look()
			if !x.late {
				require.ErrorContains(t, err, x.want)
				_, err = q.take(asking{})
				requireKind(t, seal.KindStore, err)
				return
			}
			require.NoError(t, err)
			c := &ceremony{t, who, shares}
			for _, n := range []int{0, 1} {
				e := c.document(&seal.Unsealing{Instance: "test", Nonce: p.Nonce, UnsealKey: public}, n, nil)
				d, perr := policy.ParseUnseal(e.Payload)
				require.NoError(t, perr)
				_, err = q.take(asking{Custodian: "custodian-" + names[n], Instance: d.Instance, Nonce: d.Nonce, Share: d.Share})
			}
			requireKind(t, seal.KindInvalid, err)
			require.ErrorContains(t, err, x.want)
			again, err := q.look()
			require.NoError(t, err)
			require.Empty(t, again.Shares)
			require.NotEqual(t, p.Nonce, again.Nonce)
			// It goes, and comes back.
			require.NoError(t, os.Remove(filepath.Join(dir, seal.CustodyFile)))
			p, err = q.look()
			require.NoError(t, err)
			require.Nil(t, p)
		})
	}
}

// A share that comes while a signal seals us does not unseal.
func TestAQuorumThatASignalOvertakesDoesNotUnseal(t *testing.T) {
	dir := t.TempDir()
	who := newPeople(t)
	_, shares := split(t, dir, who, processPIN)
	c := &ceremony{t, who, shares}
	file := unsealKeyFile{state: dir}
	public, err := file.public()
	require.NoError(t, err)
	k := &keeper{cfg: &Config{State: dir}, log: slog.New(slog.DiscardHandler), renewal: &renewing{}}
	k.quorum = &collection{state: dir, appliance: testAppliance, life: time.Hour, unsealKey: file.private, refused: k.refused}
	require.NoError(t, k.mark())
	p, err := k.quorum.look()
	require.NoError(t, err)
	k.tell(true)
	var open bool
	for _, n := range []int{0, 1} {
		e := c.document(&seal.Unsealing{Instance: "test", Nonce: p.Nonce, UnsealKey: public}, n, nil)
		d, perr := policy.ParseUnseal(e.Payload)
		require.NoError(t, perr)
		open, err = k.share(asking{Custodian: "custodian-" + names[n], Instance: d.Instance, Nonce: d.Nonce, Share: d.Share})
	}
	require.False(t, open)
	requireKind(t, seal.KindSealed, err)
	require.Nil(t, k.pin)
	require.FileExists(t, k.marker("sealed"))
}

// spellings are the forms that a secret may have on a wire or in a file.
func spellings(secret []byte) map[string][]byte {
	return map[string][]byte{
		"raw": secret, "hex": fmt.Appendf(nil, "%x", secret), "HEX": fmt.Appendf(nil, "%X", secret),
		"base64": base64Inside(secret, 0), "base64, shifted by 1": base64Inside(secret, 1), "base64, shifted by 2": base64Inside(secret, 2),
	}
}

// BenchmarkUnseal is the keeper's work of one unsealing: shares of a quorum of
// 2 and of 5 opened, told apart, combined, and the PIN decrypted.
func BenchmarkUnseal(b *testing.B) {
	for _, threshold := range []int{2, 5} {
		b.Run(fmt.Sprintf("threshold=%d", threshold), func(b *testing.B) {
			dir := b.TempDir()
			seats := policy.Custodians{Threshold: uint32(threshold)}
			for i := range 5 {
				_, text, err := policy.GenerateKeyPEM(policy.Ed25519)
				require.NoError(b, err)
				key, err := policy.ParsePublicKeyPEM(text)
				require.NoError(b, err)
				seats.Members = append(seats.Members, policy.Custodian{Name: fmt.Sprintf("custodian-%d", i+1), Keys: []policy.PublicKey{key}})
			}
			custody, shares, err := seal.NewCustody("test", testAppliance, seats, []byte(processPIN), []byte("so-pin-1"), time.Now())
			require.NoError(b, err)
			require.NoError(b, seal.WriteCustody(dir, custody))
			file := unsealKeyFile{state: dir}
			public, err := file.public()
			require.NoError(b, err)
			q := &collection{state: dir, appliance: testAppliance, life: time.Hour, unsealKey: file.private, refused: func(string) bool { return false }}
			defer q.reset()
			for b.Loop() {
				b.StopTimer()
				p, err := q.look()
				require.NoError(b, err)
				var given []asking
				for _, m := range custody.Members[:threshold] {
					sealed, err := seal.SealShare(public, seal.Binding{Instance: "test", ApplianceID: testAppliance, Custodian: m.Name, Nonce: p.Nonce}, shares[m.Name])
					require.NoError(b, err)
					given = append(given, asking{Custodian: m.Name, Instance: "test", Nonce: p.Nonce, Share: sealed})
				}
				b.StartTimer()
				for i, g := range given {
					opened, err := q.take(g)
					if err != nil || (opened != nil) != (i == threshold-1) {
						b.Fatal(err)
					}
					opened.destroy()
				}
			}
		})
	}
}
