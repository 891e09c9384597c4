package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// rehearsed is how far back a proposal is tried on what happened.
const rehearsed = 30 * 24 * time.Hour

// rehearsalShown is how many operations a person is shown; --json has all.
const rehearsalShown = 20

// rehearse tries a proposal on the last 30 days of the verified ledger.
func (c *cli) rehearse(p *policy.Policy) (*ledger.Rehearsal, error) {
	root, err := c.root()
	if err != nil {
		return nil, err
	}
	return ledger.Rehearse(keptBatches(c.dir), root, p, policy.Seconds(time.Now().Add(-rehearsed)))
}

// showRehearsal says which operations would have been decided otherwise.
func showRehearsal(w *printer, r *ledger.Rehearsal) {
	say := func(format string, args ...any) { w.printf("%s\n", wrapped(fmt.Sprintf(format, args...), w.width())) }
	all := len(r.Otherwise) + r.More
	switch {
	case r.Judged == 0:
		say("Tried on the last 30 days: the ledger holds no operation of them.")
		return
	case all == 0:
		say("Tried on the last 30 days: none of %s would have been decided otherwise.", count(r.Judged, "operation"))
		return
	}
	say("Tried on the last 30 days, %d of %s would have been decided otherwise:", all, count(r.Judged, "operation"))
	for n, o := range r.Otherwise {
		if n == rehearsalShown {
			break
		}
		w.printf("%s\n", hanging("  - ", printable(strings.TrimSpace(o.Words)), w.width()))
	}
	if more := all - rehearsalShown; more > 0 {
		say("  and %d more; --json has them", more)
	}
}
