package daemon

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

func TestWhyASealIsNotReady(t *testing.T) {
	fine := seal.Status{Initialized: true, HSM: seal.HSM{Serial: "1", Label: "mint"}, Author: "appliance-1", Sequence: 5000}
	for _, c := range []struct {
		name   string
		change func(*seal.Status)
		want   string // empty: ready
	}{
		{"author", func(*seal.Status) {}, ""},
		{"beside the author", func(s *seal.Status) { s.Author = "appliance-2" }, ""},
		{"nobody writes now", func(s *seal.Status) { s.Author = "" }, ""},
		{"sealed", func(s *seal.Status) { s.Sealed = true }, "sealed; unseal it"},
		{"sealed by somebody", func(s *seal.Status) { s.Sealed, s.Why = true, "a custodian sealed it" }, "sealed (a custodian sealed it); unseal it"},
		{"shares come in", func(s *seal.Status) {
			s.Sealed, s.Unsealing = true, &seal.Unsealing{Need: 3, Shares: []string{"carol"}}
		},
			"sealed; 1 of 3 shares are there to unseal it"},
		{"no charter", func(s *seal.Status) { s.Initialized = false }, "charter 1 is not applied"},
		{"no token", func(s *seal.Status) { s.HSM.Serial = "" }, `no HSM token "mint"`},
		{"not joined", func(s *seal.Status) { s.Doubt = &seal.Doubt{Kind: "stranger", Reason: "appliance-2 has no memory"} },
			"not joined: appliance-2 has no memory"},
		{"an older store", func(s *seal.Status) { s.Doubt = &seal.Doubt{Kind: "behind", Reason: "it ends at batch 6"} },
			"the store is behind: it ends at batch 6"},
		{"another history", func(s *seal.Status) { s.Doubt = &seal.Doubt{Kind: "forked", Reason: "batch 6 is another"} },
			"the store is forked: batch 6 is another"},
		{"what cannot be read", func(s *seal.Status) { s.Doubt = &seal.Doubt{Kind: "store", Reason: "batch 6 does not verify"} },
			"the store is in doubt: batch 6 does not verify"},
		{"slow", func(s *seal.Status) { s.Sequence = 4999 - maxBehind }, "behind: the seal is at batch 3999, the ledger at 5000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fine
			c.change(&s)
			err := notReady(&s, 5000)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.want)
		})
	}
}
