package sealed

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// Each notice there is has a series from the start, at 0: an alert asks by how much it went up.
func TestEachNoticeIsThereBeforeTheFirst(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "metrics.go", nil, 0)
	require.NoError(t, err)
	want := map[string]float64{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "notice" {
			what, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			want[what] = 0
		}
		return true
	})
	require.NotEmpty(t, want)

	reg := prometheus.NewRegistry()
	_, err = newRoomMetrics(reg)
	require.NoError(t, err)
	families, err := reg.Gather()
	require.NoError(t, err)
	have := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "mintwarden_seal_noticed_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			have[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	require.Equal(t, want, have)
}
