package seal

import (
	"crypto/hpke"
	"runtime"
	"runtime/secret"
)

// NewKey makes a key to which shares are encrypted (HPKE, ML-KEM-768 + X25519): the
// keeper's, or a custodian's for a renewal. encode makes of the private half, which is
// wiped then, what is kept of it.
func NewKey(encode func(private []byte) ([]byte, error)) (public, kept []byte, err error) {
	defer runtime.GC() // the private half is erased when it is collected
	secret.Do(func() {
		var key hpke.PrivateKey
		if key, err = hpke.MLKEM768X25519().GenerateKey(); err != nil {
			return
		}
		var raw []byte
		if raw, err = key.Bytes(); err != nil {
			return
		}
		defer clear(raw)
		kept, err = encode(raw)
		public = key.PublicKey().Bytes()
	})
	return public, kept, err
}
