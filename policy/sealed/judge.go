package sealed

import (
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// add stages records that stand or fall together.
func (rd *round) add(records ...ledger.Record) error { return rd.stage.Add(records...) }

// changed is true once something was staged.
func (rd *round) changed() bool { return len(rd.stage.Records()) > 0 }

// newest is a batch by which everything staged or recorded before holds.
func (rd *round) newest() uint64 {
	if rd.changed() {
		return rd.sequence
	}
	return rd.sequence - 1
}

// charter is the one in force, nil before charter 1.
func (rd *round) charter() *policy.Charter {
	c, _ := rd.stage.Charter()
	return c
}

// judge asks the policies what they say of an intent at the round's time, with
// everything that was decided before in this round.
func (rd *round) judge(i *policy.Intent, digest policy.Digest) policy.Verdict {
	return rd.stage.Judge(i, digest, rd.now)
}
