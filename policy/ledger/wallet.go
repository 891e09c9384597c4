package ledger

import (
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// WalletRecord is a wallet and where it was recorded.
type WalletRecord struct {
	Wallet
	Recorded Moment
}

// wallet attests a key that the seal made, within the charter's numbers.
func (s *state) wallet(at place, w *Wallet) *Refusal {
	if old, ok := s.wallets.get(w.WalletID); ok {
		return refuse(ReasonDuplicate, "wallet %s is recorded already, in batch %d", w.WalletID, old.Recorded.Sequence)
	}
	if r := s.suspended(at); r != nil {
		return r
	}
	network, ok := s.law.charter.Network(w.Network)
	if !ok {
		return refuse(ReasonUnknown, "network %s of wallet %s is not in the charter", w.Network, w.WalletID)
	}
	if w.Scheme.Kind() != network.Kind {
		return refuse(ReasonValue, "wallet %s: scheme %s does not sign for %s, which is of kind %s", w.WalletID, w.Scheme, w.Network, network.Kind)
	}
	address, err := tx.Sender(network.Kind, w.PublicKey)
	if err != nil {
		return refuse(ReasonValue, "wallet %s: %w", w.WalletID, err)
	}
	if address != w.Address {
		return refuse(ReasonValue, "wallet %s: address %s, its public key has %s", w.WalletID, w.Address, address)
	}
	if id, ok := s.addresses.get(account{w.Network, w.Address}); ok {
		return refuse(ReasonConflict, "address %s on %s is wallet %s already", w.Address, w.Network, id)
	}
	if most := s.law.charter.WalletsTotal(); s.born >= most {
		return refuse(ReasonLimit, "%d wallets were made, the charter allows %d", s.born, most)
	}
	young := s.youngest(at.time)
	if most := s.law.charter.WalletsPerHour(); len(young) >= most {
		return refuse(ReasonLimit, "%d wallets were made in the last hour, the charter allows %d", len(young), most)
	}
	s.born++
	s.births = append(young, at.time)
	s.wallets.put(w.WalletID, &WalletRecord{*w, Moment{at.sequence, at.time}})
	s.addresses.put(account{w.Network, w.Address}, w.WalletID)
	return nil
}

// youngest is the births of the last hour, a slice of its own.
func (s *state) youngest(now time.Time) []time.Time {
	var young []time.Time
	for _, t := range s.births {
		if now.Sub(t) < time.Hour {
			young = append(young, t)
		}
	}
	return young
}
