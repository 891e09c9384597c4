package sealed

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// Who watches a seal sees in time that etcd will take its certificate no more, and whether it starts again and again.
func TestWhatASealStartedWith(t *testing.T) {
	reg := prometheus.NewRegistry()
	before := time.Now()
	_, err := newRoomMetrics(reg)
	require.NoError(t, err)
	require.NoError(t, reg.Register(openLog(t, house.store).certificates))
	families, err := reg.Gather()
	require.NoError(t, err)
	days := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "mintwarden_seal_start_timestamp_seconds":
				require.InDelta(t, before.Unix(), m.GetGauge().GetValue(), patience.Seconds())
			case "mintwarden_seal_certificate_days":
				days[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	require.Len(t, days, 2)
	for _, name := range []string{"test CA", "mintwarden-seal"} {
		require.Greater(t, days[name], 0.5, name)
		require.LessOrEqual(t, days[name], 1.0, name)
	}
}
