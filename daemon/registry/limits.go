package registry

import (
	"cmp"
	"math/big"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// limitsShown bounds the series of mintwarden_limit_used_ratio: the fullest are shown.
const limitsShown = 100

var limitDesc = prometheus.NewDesc("mintwarden_limit_used_ratio",
	"What was charged today of a day's limit, 1 where nothing is left; the 100 fullest, by token and policy.",
	[]string{"token", "policy"}, nil)

// limitCollector tells, when it is asked, how full the day's limits are.
type limitCollector struct{ fold *ledger.Fold }

func (c limitCollector) Describe(ch chan<- *prometheus.Desc) { ch <- limitDesc }

func (c limitCollector) Collect(ch chan<- prometheus.Metric) {
	for _, l := range fullest(c.fold, time.Now()) {
		ch <- prometheus.MustNewConstMetric(limitDesc, prometheus.GaugeValue, l.ratio, l.token, l.policy)
	}
}

// usedLimit is the fullest of one policy's daily limits on one token.
type usedLimit struct {
	token, policy string
	ratio         float64
}

// fullest are the fullest daily limits of all tokens at now, the fullest first.
func fullest(fold *ledger.Fold, now time.Time) []usedLimit {
	var used []usedLimit
	for _, b := range fold.Bindings() {
		for _, p := range judging(fold, b) {
			if ratio, ok := fullestRule(fold, p, b, now); ok {
				used = append(used, usedLimit{b.TokenID, p.ID, ratio})
			}
		}
	}
	slices.SortFunc(used, func(a, b usedLimit) int {
		return cmp.Or(cmp.Compare(b.ratio, a.ratio), cmp.Compare(a.token, b.token), cmp.Compare(a.policy, b.policy))
	})
	return used[:min(len(used), limitsShown)]
}

// judging are the policies that judge what some performer of the token does.
func judging(fold *ledger.Fold, b *policy.Binding) []*policy.Policy {
	vaults := []string{""}
	for _, id := range b.Performers {
		if w, ok := fold.Wallet(id); ok && !slices.Contains(vaults, w.VaultAccountID) {
			vaults = append(vaults, w.VaultAccountID)
		}
	}
	var found []*policy.Policy
	for _, vault := range vaults {
		for _, p := range fold.PoliciesInScope(b.TokenID, vault, vault) {
			if !slices.Contains(found, p.Policy) {
				found = append(found, p.Policy)
			}
		}
	}
	return found
}

func fullestRule(fold *ledger.Fold, p *policy.Policy, b *policy.Binding, now time.Time) (ratio float64, ok bool) {
	for i := range p.Rules {
		used, limit, limited := p.Rules[i].Spent(fold, b.ChainID, b.ContractAddress, now)
		if !limited {
			continue
		}
		r := 1.0 // a limit of nothing is full
		if l := limit.Big(); l.Sign() > 0 {
			r, _ = new(big.Rat).SetFrac(used.Big(), l).Float64()
		}
		ratio, ok = max(ratio, r), true
	}
	return ratio, ok
}
