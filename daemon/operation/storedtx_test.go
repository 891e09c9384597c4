package operation

import (
	"encoding/json/v2"
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
	for _, b := range [][]byte{want.encode(), old} {
		got, err := parseStoredTx(b)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	b := want.encode()
	require.Len(t, b, len(raw)+41)
	for at := range b {
		if at > 32 && at < storedTxHead {
			continue // the nonce: the bytes hold it too, and are what counts
		}
		bad := append([]byte(nil), b...)
		bad[at] ^= 1
		_, err := parseStoredTx(bad)
		require.Error(t, err, "byte %d", at)
	}
	for _, bad := range [][]byte{nil, {}, {storedTxFormat}, b[:storedTxHead], []byte("{}"), []byte(`{"raw":"","hash":"0x"}`), make([]byte, store.MaxTxBytes+1)} {
		_, err := parseStoredTx(bad)
		require.Error(t, err)
	}
}

func FuzzStoredTx(f *testing.F) {
	raw := []byte{0x02, 0xf8, 0x6c}
	f.Add(storedTx{raw, tx.HashOf(raw), 7}.encode())
	old, err := json.Marshal(storedTx{raw, tx.HashOf(raw), 7})
	require.NoError(f, err)
	f.Add(old)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseStoredTx(b)
		if err != nil {
			return
		}
		again, err := parseStoredTx(got.encode())
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}
