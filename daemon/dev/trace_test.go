package dev_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/trace/tracetest"
)

// One trace tells of a mint, from the request over the seal and the chain to COMPLETED, though every process is
// killed between the two approvals; the collector hangs for a while in between, which holds up nothing.
func TestOneTraceFromRequestToCompleted(t *testing.T) {
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	collector := tracetest.Start(t)
	a := program{bin: bin, period: 200 * time.Millisecond, flags: []string{"--trace", collector.URL}}.start(t, filepath.Join(t.TempDir(), "appliance"))
	token := a.deployed()
	id, err := jobs[1].ask(a, token, "traced")
	if err != nil {
		t.Fatal(err)
	}
	a.approve(id, "approver-1")
	told(a, collector, id, "operation.submit", "operation.decide")
	a.kill()
	a = a.again()
	collector.Hang()
	a.approve(id, "approver-2")
	op := a.completed(id)
	collector.Answer()
	spans := told(a, collector, id, "operation.settle")

	kinds := map[string]int{}
	byID := map[string]tracetest.Span{}
	for _, s := range spans {
		kinds[s.Name]++
		byID[s.ID] = s
		if s.Service != "mintwardend" || s.End.Before(s.Begin) {
			t.Errorf("%+v", s)
		}
	}
	for name, n := range map[string]int{"POST /v1/tokens/{tokenId}/mint": 1, "operation.submit": 1, "chain.facts": 1, "store.commit": 0,
		"operation.decide": 2, "seal.decide": 2, "operation.sign": 1, "seal.authorize": 1, "operation.send": 1, "chain.send": 1, "operation.confirm": 0, "seal.settle": 1} {
		if got := kinds[name]; got == 0 || n > 0 && got != n {
			t.Errorf("%d spans %s, want %d (0: any)", got, name, n)
		}
	}
	var reached []string
	for _, s := range spans {
		reached = append(reached, s.Reached...)
		above, here := byID[s.Parent]
		switch {
		case s.Name == "POST /v1/tokens/{tokenId}/mint":
			if s.Parent != "" || s.Attributes["http.response.status_code"] == "" || s.Attributes["mintwarden.request_id"] == "" {
				t.Errorf("%+v", s)
			}
		case !here:
			t.Errorf("%s hangs below a span that was not exported", s.Name)
		case strings.HasPrefix(s.Name, "seal.") && !slices.Contains([]string{"operation.sign", "operation.decide", "operation.settle"}, above.Name):
			t.Errorf("%s is below %s", s.Name, above.Name)
		case strings.HasPrefix(s.Name, "operation.") && s.Name != "operation.submit" && (above.Name != "operation.submit" || s.Attributes["mintwarden.operation"] != id):
			t.Errorf("%s is below %s and of %s", s.Name, above.Name, s.Attributes["mintwarden.operation"])
		}
		if s.Name == "operation.decide" && len(s.Links) != 1 {
			t.Errorf("a decision links to %v, not to its request", s.Links)
		}
	}
	for _, state := range []string{"SUBMITTED", "PENDING_AUTHORIZATION", "APPROVED", "PENDING_SIGNATURE", "SIGNED", "BROADCASTING", "CONFIRMING", "COMPLETED"} {
		if n := len(slices.DeleteFunc(slices.Clone(reached), func(s string) bool { return s != state })); n != 1 {
			t.Errorf("%s is told %d times: %v", state, n, reached)
		}
	}
	hash := func(s tracetest.Span) bool {
		return s.Attributes["mintwarden.transaction_hash"] == *op.BlockchainTransactionHash
	}
	if !slices.ContainsFunc(spans, hash) {
		t.Error("no span names the transaction")
	}
	a.intact()
}

// told waits until the operation's trace has these spans, and gives it.
func told(a *appliance, c *tracetest.Collector, id string, names ...string) []tracetest.Span {
	a.t.Helper()
	var spans []tracetest.Span
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		spans = c.OfOperation(id)
		if !slices.ContainsFunc(names, func(name string) bool {
			return !slices.ContainsFunc(spans, func(s tracetest.Span) bool { return s.Name == name })
		}) {
			return spans
		}
	}
	a.t.Fatalf("the trace of %s lacks one of %v: %+v", id, names, spans)
	return nil
}

// A caller that is traced itself has the operation in its own trace, and decides whether it is kept at all.
func TestTheCallersTraceGoesOn(t *testing.T) {
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	collector := tracetest.Start(t)
	a := program{bin: bin, period: 200 * time.Millisecond, monitor: freeAddress(t), flags: []string{"--trace", collector.URL}}.start(t, filepath.Join(t.TempDir(), "appliance"))
	const own = "4bf92f3577b34da6a3ce929d0e0e4736"
	ask := func(path, parent, key string) {
		t.Helper()
		out, err := exec.Command("curl", "-sS", "--cacert", a.dir+"/tls/ca.crt", "--cert", a.dir+"/tls/client.crt", "--key", a.dir+"/tls/client.key",
			"-H", "traceparent: "+parent, "-H", "Authorization: Bearer "+key, a.url+path).CombinedOutput()
		if err != nil {
			t.Fatalf("curl: %v: %s", err, out)
		}
	}
	key := string(a.secrets()["keys/operator.apikey"])
	ask("/v1/tokens", "00-"+own+"-00f067aa0ba902b7-01", "nobody")     // a stranger makes no span
	ask("/v1/token-templates", "00-"+own+"-00f067aa0ba902b7-00", key) // the caller keeps none
	ask("/v1/vault/accounts", "00-"+own+"-00f067aa0ba902b7-01", key)
	var got []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && len(got) == 0; time.Sleep(50 * time.Millisecond) {
		for _, s := range collector.Spans() {
			if s.Trace == own {
				got = append(got, s.Name)
				if s.Parent != "00f067aa0ba902b7" {
					t.Errorf("its parent is %s", s.Parent)
				}
			}
		}
	}
	if !slices.Equal(got, []string{"GET /v1/vault/accounts"}) {
		t.Errorf("the caller's trace has %v", got)
	}
	if text := string(a.monitored("/metrics")); !strings.Contains(text, `mintwarden_trace_spans_total{outcome="exported"}`) {
		t.Error("spans are not counted")
	}
}
