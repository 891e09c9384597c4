package sealed

import (
	"sync"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// maxVerifiers bounds the unpacked keys that are kept, at about 40 KiB each.
const maxVerifiers = 128

// verifiers keeps the public keys of the wallets that sign, unpacked. A key is
// the one that the ledger attests, never what the token says of itself.
type verifiers struct {
	mu   sync.Mutex
	keys map[string]*tx.Verifier // by wallet id
}

func (s *verifiers) of(w ledger.Wallet) (*tx.Verifier, error) {
	s.mu.Lock()
	v := s.keys[w.WalletID]
	s.mu.Unlock()
	if v != nil && v.Of(w.Scheme, w.PublicKey) {
		return v, nil
	}
	v, err := tx.NewVerifier(w.Scheme, w.PublicKey)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = map[string]*tx.Verifier{}
	}
	for id := range s.keys { // any one: more wallets than that at work at once are rare
		if len(s.keys) < maxVerifiers {
			break
		}
		delete(s.keys, id)
	}
	s.keys[w.WalletID] = v
	return v, nil
}
