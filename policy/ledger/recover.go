package ledger

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// Recover is the document by which the custodians' threshold accepts a lost or restored store: the
// log goes on from Accepted in a higher epoch, what came after it until Lost is given up.
type Recover struct {
	Format    int            `json:"format"`
	Instance  string         `json:"instance"`
	Epoch     uint64         `json:"epoch"` // the new one, higher than any that is known, of the lost log too
	Lost      Point          `json:"lost"`
	Accepted  Point          `json:"accepted"`
	Usage     []RecoverUsage `json:"usage,omitzero"` // without it every counter stands at its limit until the next midnight
	Lanes     []RecoverLane  `json:"lanes"`          // every wallet that the accepted log knows, and others
	CreatedAt time.Time      `json:"createdAt"`
}

// Point is a batch.
type Point struct {
	Sequence uint64        `json:"sequence"`
	Head     policy.Digest `json:"head"`
}

// RecoverUsage is what was charged to a counter by the lost log, as far as people know: all of the
// last 49 hours, as long as a fold keeps it, for what the accepted log charged in them is taken off.
type RecoverUsage struct {
	ChainID         uint64               `json:"chainId"`
	ContractAddress tx.Address           `json:"contractAddress"`
	Operation       policy.OperationType `json:"operation"`
	Amount          policy.Amount        `json:"amount"`
}

// RecoverLane is where a wallet's lane goes on.
type RecoverLane struct {
	WalletID string `json:"walletId"`
	Nonce    uint64 `json:"nonce"`
}

// ParseRecover reads a recover strictly.
func ParseRecover(b []byte) (*Recover, error) {
	var d Recover
	if err := decodeDocument(b, &d); err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	return &d, d.Check()
}

// Encode checks the recover and gives its JSON.
func (d *Recover) Encode() ([]byte, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	return json.Marshal(d)
}

// Check is nil if the recover is well-formed.
func (d *Recover) Check() error {
	if err := d.check(); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	return nil
}

func (d *Recover) check() error {
	if d.Format != policy.Format || d.Epoch < 2 || d.Epoch > MaxInteger {
		return fmt.Errorf("format %d, epoch %d: want format %d and the epoch to come", d.Format, d.Epoch, policy.Format)
	}
	seen := map[any]bool{}
	for _, u := range d.Usage {
		c := counter{u.ChainID, u.ContractAddress, u.Operation}
		if u.ChainID == 0 || u.ChainID > MaxInteger || u.ContractAddress.IsZero() || !u.Operation.HasAmount() ||
			u.Operation.Counted() != u.Operation || seen[c] {
			return fmt.Errorf("usage of chain %d, contract %s, %.40q: no counter, or twice", u.ChainID, u.ContractAddress, string(u.Operation))
		}
		seen[c] = true
	}
	for _, l := range d.Lanes {
		if err := policy.CheckID("wallet", l.WalletID); err != nil {
			return err
		}
		if l.Nonce > MaxInteger || seen[l.WalletID] {
			return fmt.Errorf("lane of %s at nonce %d: above 2^53-1, or twice", l.WalletID, l.Nonce)
		}
		seen[l.WalletID] = true
	}
	return errors.Join(policy.CheckName(d.Instance), checkPoint("lost: ", d.Lost.Sequence, d.Lost.Head),
		checkPoint("accepted: ", d.Accepted.Sequence, d.Accepted.Head), checkTime("createdAt", d.CreatedAt))
}

// recovery is what the last recover says: of usage, for as long as that is kept.
type recovery struct {
	at     time.Time // of its batch
	stated map[counter]bool
	usage  bool // the document states usage
}

// voids is not nil of what was written before the recover and widens. What is given up may have held it,
// and the tightening of it behind it: whoever kept both would hand in the first alone.
func (r *recovery) voids(written time.Time) *Refusal {
	if r == nil || !written.Before(r.at) {
		return nil
	}
	return refuse(ReasonDocument, "the document is of %s, the log was recovered at %s: what widens is to be signed anew", stamp(written), stamp(r.at))
}

// covers is true where a counter stands at its limit: the sum asked for would hold charges that the
// lost log made, and nobody stated them.
func (r *recovery) covers(c counter, since time.Time) bool {
	return r != nil && !since.After(r.at) && !r.stated[c]
}

// coversFees is the same for the fees of every wallet, which the document cannot state one by one:
// where it states usage, people looked.
func (r *recovery) coversFees(since time.Time) bool {
	return r != nil && !since.After(r.at) && !r.usage
}

// recover raises the epoch, which voids every decision made before. Usage that is stated can only
// add to what the accepted log knows, and a lane can only go on.
func (s *state) recover(at place, e *Enveloped) *Refusal {
	if r := s.threshold(policy.DocRecover, e); r != nil {
		return r
	}
	d, err := ParseRecover(e.Payload)
	if err != nil {
		return refuse(ReasonDocument, "%w", err)
	}
	if r := s.here(d.Instance); r != nil {
		return r
	}
	switch {
	case s.last != nil:
		return refuse(ReasonConflict, "a recover is the first record of its batch")
	case d.Epoch <= s.head.epoch:
		return refuse(ReasonDocument, "recover into epoch %d, the accepted log is of epoch %d", d.Epoch, s.head.epoch)
	case d.Lost == d.Accepted:
		return refuse(ReasonDocument, "recover loses what it accepts, batch %d: there is nothing to recover", d.Lost.Sequence)
	case d.Accepted.Sequence != at.sequence-1 || d.Accepted.Head != s.previous:
		return refuse(ReasonDocument, "recover accepts batch %d, %s; the log ends with %d, %s", d.Accepted.Sequence, d.Accepted.Head, at.sequence-1, s.previous)
	}
	if r := s.recoverLanes(d); r != nil {
		return r
	}
	s.recovery = &recovery{at: at.time, stated: map[counter]bool{}, usage: d.Usage != nil}
	for _, u := range d.Usage {
		c := counter{u.ChainID, u.ContractAddress, u.Operation}
		s.recovery.stated[c] = true
		known := s.chargedSince(c, at.time.Add(-usageKept))
		if u.Amount.Cmp(known) > 0 {
			s.charge(at, Charge{less(u.Amount, known), u.ChainID, u.ContractAddress, u.Operation})
		}
	}
	s.head.epoch = d.Epoch
	s.documents.put(e.PayloadDigest(), at.sequence)
	return nil
}

// recoverLanes sets every lane to the stated nonce. What lies between is a gap: it may be spent by
// the lost log, or free, and only a CANCEL fills it.
func (s *state) recoverLanes(d *Recover) *Refusal {
	stated := map[string]bool{}
	for _, n := range d.Lanes {
		stated[n.WalletID] = true
		l := s.lane(n.WalletID)
		if n.Nonce < l.next {
			return refuse(ReasonDocument, "recover sets the lane of wallet %s to %d, the accepted log is at %d", n.WalletID, n.Nonce, l.next)
		}
		if n.Nonce > l.next {
			l.gaps = append(l.gaps[:len(l.gaps):len(l.gaps)], gap{l.next, n.Nonce - 1})
			l.next = n.Nonce
		}
		s.lanes.put(n.WalletID, &l)
	}
	for id := range s.wallets.all() {
		if !stated[id] {
			return refuse(ReasonDocument, "recover does not state the lane of wallet %s", id)
		}
	}
	return nil
}
