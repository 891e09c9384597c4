package ledger

import (
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

const (
	// bucketLength is how finely usage is kept. Every time zone in use is a multiple of 15 minutes
	// from UTC, so local midnights fall between buckets.
	bucketLength = 15 * time.Minute
	// usageKept is how long: a local day has at most 25 hours, in a zone that may be 14 from UTC;
	// two days and an hour cover both.
	usageKept = 49 * time.Hour
)

// counter is what a limit counts: independent of token, policy and time zone.
type counter struct {
	chainID   uint64
	contract  tx.Address
	operation policy.OperationType
}

func (c Charge) counter() counter { return counter{c.ChainID, c.Contract, c.Operation} }

// usage is amounts by time, ascending.
type usage struct{ buckets []bucket }

type bucket struct {
	number int64 // of bucketLength since 1970
	amount policy.Amount
}

func bucketOf(t time.Time) int64 { return t.Unix() / int64(bucketLength/time.Second) }

func (u *usage) clone() *usage { return &usage{slices.Clone(u.buckets)} }

// add counts an amount at a time that is not before any other.
func (u *usage) add(t time.Time, amount policy.Amount) {
	n := bucketOf(t)
	if last := len(u.buckets) - 1; last >= 0 && u.buckets[last].number >= n {
		u.buckets[last].amount, _ = u.buckets[last].amount.Add(amount)
		return
	}
	u.buckets = append(u.buckets, bucket{n, amount})
}

// since is the sum from the bucket that holds t on, 2^256-1 where it would pass that.
func (u *usage) since(t time.Time) policy.Amount {
	var sum policy.Amount
	first := bucketOf(t)
	for i := len(u.buckets) - 1; i >= 0 && u.buckets[i].number >= first; i-- {
		sum, _ = sum.Add(u.buckets[i].amount)
	}
	return sum
}

// kept is the usage without the buckets that ended usageKept before t, nil if none is left. The
// receiver is shared and stays as it is.
func (u *usage) kept(t time.Time) *usage {
	oldest := bucketOf(t.Add(-usageKept))
	n := 0
	for n < len(u.buckets) && u.buckets[n].number < oldest {
		n++
	}
	switch n {
	case 0:
		return u
	case len(u.buckets):
		return nil
	}
	return &usage{slices.Clone(u.buckets[n:])}
}

func (s *state) charge(at place, c Charge) {
	u, ok := s.counters.edit(c.counter(), (*usage).clone)
	if !ok {
		u = &usage{}
		s.counters.put(c.counter(), u)
	}
	u.add(at.time, c.Amount)
}

// recovering is the last recover while usage of before it counts, nil afterwards.
func (s *state) recovering() *recovery {
	if r := s.recovery; r != nil && s.head.time.Sub(r.at) <= usageKept {
		return r
	}
	return nil
}

func (s *state) chargedSince(c counter, since time.Time) policy.Amount {
	if s.recovering().covers(c, since) {
		return policy.MaxAmount()
	}
	if u, ok := s.counters.get(c); ok {
		return u.since(since)
	}
	return policy.Amount{}
}

// spend counts a fee that may be paid, within the wallet's daily sum.
func (s *state) spend(at place, w *WalletRecord, fee policy.Amount) *Refusal {
	network, ok := s.law.charter.Network(w.Network)
	if !ok {
		return refuse(ReasonUnknown, "network %s of wallet %s is not in the charter", w.Network, w.WalletID)
	}
	used := s.feesSince(w.WalletID, day(at.time))
	if sum, ok := used.Add(fee); !ok || sum.Cmp(network.DailyFee) > 0 {
		return refuse(ReasonLimit, "fees of wallet %s: %s today and %s now pass the daily %s of %s", w.WalletID, used, fee, network.DailyFee, w.Network)
	}
	u, ok := s.fees.edit(w.WalletID, (*usage).clone)
	if !ok {
		u = &usage{}
		s.fees.put(w.WalletID, u)
	}
	u.add(at.time, fee)
	return nil
}

func (s *state) feesSince(walletID string, since time.Time) policy.Amount {
	if s.recovering().coversFees(since) {
		return policy.MaxAmount()
	}
	if u, ok := s.fees.get(walletID); ok {
		return u.since(since)
	}
	return policy.Amount{}
}

// feeOf is gas × fee, 2^256-1 where it would pass that.
func feeOf(gas uint64, fee policy.Amount) policy.Amount {
	product, _ := fee.Mul(gas)
	return product
}

// less is a − b for a ≥ b.
func less(a, b policy.Amount) policy.Amount {
	difference, err := policy.AmountFromBig(a.Big().Sub(a.Big(), b.Big()))
	if err != nil {
		return policy.Amount{}
	}
	return difference
}
