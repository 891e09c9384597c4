package daemon

import (
	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/config"
)

// apiLimits is the config's table of limits as the API takes it.
func apiLimits(l config.Limits) api.Limits {
	return api.Limits{
		PerSecond: l.RequestsPerSecond, Burst: l.Burst,
		Reads: l.ReadsInFlight, Writes: l.WritesInFlight, Long: l.LongInFlight,
		Connections: l.Connections, Streams: l.StreamsPerConnection,
		HeaderTimeout: l.Header, BodyTimeout: l.Body, WriteTimeout: l.Answer, IdleTimeout: l.Idle,
		Timeout: l.Request, AuditTimeout: l.Long,
	}
}
