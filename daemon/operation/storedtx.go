package operation

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json/v2"
	"fmt"
	"slices"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// storedTx is a signed transaction in the store. With a post-quantum signature it is the largest of an operation's
// keys, and it does not get smaller by packing: its bytes stand as they are behind a byte for the format, the hash
// and the nonce (8 bytes, big-endian). The wallet's public key, which is in every one of its transactions, is left
// out: where it belongs stands behind the nonce (4 bytes, big-endian). Earlier versions left it where it was, or wrote
// JSON, which begins with a brace.
type storedTx struct {
	Raw   []byte  `json:"raw"`
	Hash  tx.Hash `json:"hash"`
	Nonce uint64  `json:"nonce"`
}

const (
	storedTxFormat    = 1
	storedTxHead      = 1 + len(tx.Hash{}) + 8
	storedTxKeyless   = 2
	storedKeylessHead = storedTxHead + 4
	// worthLeaving is how long a public key must be to be left out, in bytes.
	worthLeaving = 64
)

// encode is the value of a transaction of the wallet that has that public key, if it is known.
func (t storedTx) encode(key []byte) []byte {
	form, at := byte(storedTxFormat), -1
	if len(key) >= worthLeaving {
		at = bytes.Index(t.Raw, key)
	}
	if at >= 0 {
		form = storedTxKeyless
	}
	b := make([]byte, 0, storedKeylessHead+len(t.Raw))
	b = binary.BigEndian.AppendUint64(append(append(b, form), t.Hash[:]...), t.Nonce)
	if at < 0 {
		return append(b, t.Raw...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(at))
	return append(append(b, t.Raw[:at]...), t.Raw[at+len(key):]...)
}

// publicKey is asked for a wallet's public key where a transaction was stored without it.
type publicKey func() ([]byte, error)

// keyOf is the public key of the wallet that an operation's transactions are signed by.
func (s *Service) keyOf(ctx context.Context, o *Operation) publicKey {
	return func() ([]byte, error) {
		w, err := s.registry.Wallet(ctx, o.WalletID)
		if err != nil {
			return nil, err
		}
		return w.PublicKey, nil
	}
}

// storedTx is the value of a transaction of the operation. One whose wallet cannot be read is stored whole.
func (s *Service) storedTx(ctx context.Context, o *Operation, t storedTx) []byte {
	key, err := s.keyOf(ctx, o)()
	if err != nil {
		key = nil
	}
	return t.encode(key)
}

// parseStoredTx is strict: the hash is that of the bytes. The error does not say whose transaction it is.
func parseStoredTx(b []byte, key publicKey) (storedTx, error) {
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
	case len(b) > storedKeylessHead && b[0] == storedTxKeyless:
		n := copy(t.Hash[:], b[1:])
		t.Nonce = binary.BigEndian.Uint64(b[1+n:])
		at, rest := binary.BigEndian.Uint32(b[storedTxHead:]), b[storedKeylessHead:]
		if uint64(at) > uint64(len(rest)) {
			return storedTx{}, fmt.Errorf("a public key belongs to byte %d of %d", at, len(rest))
		}
		k, err := key()
		if err != nil {
			return storedTx{}, fmt.Errorf("the public key of a signed transaction: %w", err)
		}
		t.Raw = slices.Concat(rest[:at], k, rest[at:])
	default:
		return t, fmt.Errorf("%d bytes are no signed transaction: %.16x", len(b), b)
	}
	if h := tx.HashOf(t.Raw); h != t.Hash || len(t.Raw) == 0 {
		return storedTx{}, fmt.Errorf("a signed transaction is %s, the store says %s", h, t.Hash)
	}
	return t, nil
}
