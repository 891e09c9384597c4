package daemon

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/trace/tracetest"
)

// check says whether the collector takes spans, and that nothing else is wrong where it does not.
func TestCheckLooksAtTheCollector(t *testing.T) {
	c := tracetest.Start(t)
	said := func(endpoint, ca string) string {
		t.Helper()
		var out bytes.Buffer
		looking := &checking{cfg: &config.Config{Trace: config.Trace{Endpoint: endpoint, CA: ca}}, w: &out}
		looking.collector(t.Context())
		if looking.wrong != 0 || looking.err != nil {
			t.Errorf("%q counts as wrong", out.String())
		}
		return out.String()
	}
	if got := said("", ""); got != "" {
		t.Errorf("an appliance that does not trace: %q", got)
	}
	if got := said(c.Endpoint(), ""); !strings.HasPrefix(got, "ok    trace") {
		t.Errorf("a collector that is there: %q", got)
	}
	c.Refuse(http.StatusUnauthorized)
	if got := said(c.Endpoint(), ""); !strings.HasPrefix(got, "warn  trace") || !strings.Contains(got, "401") {
		t.Errorf("a collector that refuses: %q", got)
	}
	c.Close()
	if got := said(c.Endpoint(), ""); !strings.HasPrefix(got, "warn  trace") || !strings.Contains(got, "is the collector up") {
		t.Errorf("a collector that is away: %q", got)
	}
	if got := said("https://127.0.0.1:1/v1/traces", "/nonexistent"); !strings.Contains(got, "/nonexistent") {
		t.Errorf("a root that is not there: %q", got)
	}
}
