package operation

import (
	"bytes"
	"encoding/json/v2"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// A signed transaction is read as it was written, in the form of today and of earlier versions, and a changed byte of
// it is found.
func TestAStoredTransaction(t *testing.T) {
	raw := []byte{0x02, 0xf8, 0x6c, 0x80, 0xff, '{'}
	want := storedTx{raw, tx.HashOf(raw), 1 << 40}
	old, err := json.Marshal(want)
	require.NoError(t, err)
	nobodys := func() ([]byte, error) { return nil, errors.New("nobody's key is asked for") }
	for _, b := range [][]byte{want.encode(nil), want.encode(make([]byte, worthLeaving)), old} {
		got, err := parseStoredTx(b, nobodys)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	b := want.encode(nil)
	require.Len(t, b, len(raw)+41)
	for at := range b {
		if at > 32 && at < storedTxHead {
			continue // the nonce: the bytes hold it too, and are what counts
		}
		bad := append([]byte(nil), b...)
		bad[at] ^= 1
		_, err := parseStoredTx(bad, nobodys)
		require.Error(t, err, "byte %d", at)
	}
	for _, bad := range [][]byte{nil, {}, {storedTxFormat}, b[:storedTxHead], []byte("{}"), []byte(`{"raw":"","hash":"0x"}`), make([]byte, store.MaxTxBytes+1)} {
		_, err := parseStoredTx(bad, nobodys)
		require.Error(t, err)
	}
}

// The public key, which is the wallet's, is not stored, and the exact bytes come back with it; with another one, or
// where a byte was changed, nothing does.
func TestATransactionIsStoredWithoutItsPublicKey(t *testing.T) {
	key := bytes.Repeat([]byte{7, 1, 3, 5}, 488)
	raw := slices.Concat([]byte("\x02before"), key, []byte("after"))
	want := storedTx{raw, tx.HashOf(raw), 9}
	b := want.encode(key)
	require.Len(t, b, len(raw)-len(key)+storedKeylessHead)
	of := func(key []byte) publicKey { return func() ([]byte, error) { return key, nil } }
	got, err := parseStoredTx(b, of(key))
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, other := range [][]byte{nil, key[1:], append(bytes.Clone(key), 0)} {
		_, err := parseStoredTx(b, of(other))
		require.Error(t, err)
	}
	_, err = parseStoredTx(b, func() ([]byte, error) { return nil, store.ErrUnavailable })
	require.ErrorIs(t, err, store.ErrUnavailable)
	for at := range b {
		if at > 32 && at < storedTxHead {
			continue // the nonce: the bytes hold it too, and are what counts
		}
		bad := bytes.Clone(b)
		bad[at] ^= 1
		_, err := parseStoredTx(bad, of(key))
		require.Error(t, err, "byte %d", at)
	}
}

func FuzzStoredTx(f *testing.F) {
	key := bytes.Repeat([]byte{7, 1}, 40)
	of := func() ([]byte, error) { return key, nil }
	long := slices.Concat([]byte{2, 1}, key, []byte{3})
	f.Add(storedTx{long, tx.HashOf(long), 7}.encode(key))
	raw := []byte{0x02, 0xf8, 0x6c}
	f.Add(storedTx{raw, tx.HashOf(raw), 7}.encode(nil))
	old, err := json.Marshal(storedTx{raw, tx.HashOf(raw), 7})
	require.NoError(f, err)
	f.Add(old)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseStoredTx(b, of)
		if err != nil {
			return
		}
		again, err := parseStoredTx(got.encode(key), of)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}
