package operation

import (
	"encoding/binary"
	"encoding/json/v2"
	"fmt"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// storedTx is a signed transaction in the store. With a post-quantum signature it is the largest of an operation's
// keys, and it does not get smaller by packing: its bytes stand as they are behind a byte for the format, the hash
// and the nonce (8 bytes, big-endian). Earlier versions wrote JSON, which begins with a brace.
type storedTx struct {
	Raw   []byte  `json:"raw"`
	Hash  tx.Hash `json:"hash"`
	Nonce uint64  `json:"nonce"`
}

const (
	storedTxFormat = 1
	storedTxHead   = 1 + len(tx.Hash{}) + 8
)

func (t storedTx) encode() []byte {
	b := make([]byte, 0, storedTxHead+len(t.Raw))
	b = append(append(b, storedTxFormat), t.Hash[:]...)
	return append(binary.BigEndian.AppendUint64(b, t.Nonce), t.Raw...)
}

// parseStoredTx is strict: the hash is that of the bytes. The error does not say whose transaction it is.
func parseStoredTx(b []byte) (storedTx, error) {
	var t storedTx
	switch {
	case len(b) > store.MaxTxBytes:
		return t, fmt.Errorf("a signed transaction of %d bytes", len(b))
	case len(b) > 0 && b[0] == '{':
		if err := json.Unmarshal(b, &t, json.RejectUnknownMembers(true)); err != nil {
			return storedTx{}, err
		}
	case len(b) > storedTxHead && b[0] == storedTxFormat:
		n := copy(t.Hash[:], b[1:])
		t.Nonce, t.Raw = binary.BigEndian.Uint64(b[1+n:]), b[storedTxHead:]
	default:
		return t, fmt.Errorf("%d bytes are no signed transaction: %.16x", len(b), b)
	}
	if h := tx.HashOf(t.Raw); h != t.Hash || len(t.Raw) == 0 {
		return storedTx{}, fmt.Errorf("a signed transaction is %s, the store says %s", h, t.Hash)
	}
	return t, nil
}
