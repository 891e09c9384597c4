package dev_test

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// A real Prometheus watches a real appliance at work by the rules that we ship: every panel of the dashboard
// has something to show, every rule evaluates, and no alert fires that no fault caused.
func TestPrometheusWatches(t *testing.T) {
	prometheus, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatalf("apt-get install prometheus: %v", err)
	}
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	a := program{bin: bin, period: 200 * time.Millisecond, monitor: freeAddress(t)}.start(t, filepath.Join(t.TempDir(), "appliance"))
	w := scrape(t, prometheus, a.program.monitor)
	work, stop := context.WithCancel(t.Context())
	worked := make(chan struct{})
	token := a.deployed()
	dir, hands := os.Getenv("MINTWARDEN_PICTURES"), 1 // make pictures
	if dir != "" {
		hands = 4
		takes := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer takes.Close()
		if _, err := a.as("admin").CreateWebhook(a.context(), client.WebhookCreate{URL: takes.URL, Events: []string{"token.*", "approval.*"}}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"operator", "approver-1", "approver-2", "approver-3"} {
			a.as(name) // clients are made by one goroutine
		}
	}
	go func() {
		defer close(worked)
		var all sync.WaitGroup
		for range hands {
			all.Go(func() {
				for work.Err() == nil {
					a.oneOfEach(work, token)
				}
			})
		}
		all.Wait()
	}()
	defer func() { stop(); <-worked }()

	w.until("every panel has data", func() error {
		for panel, query := range w.panels() {
			if n, err := w.samples(query); err != nil || n == 0 {
				return fmt.Errorf("panel %s: %d samples of %s: %w", panel, n, query, err)
			}
		}
		return nil
	})
	if dir != "" {
		time.Sleep(watchedFor)
		w.pictures(dir)
	}
	stop()
	<-worked
	if a.t.Failed() {
		return
	}
	w.until("every rule evaluates", func() error {
		for _, r := range w.rules() {
			if r.Health != "ok" {
				return fmt.Errorf("rule %s is %s: %s", r.Name, r.Health, r.Error)
			}
		}
		return nil
	})
	for _, r := range w.rules() {
		if r.State == "firing" {
			t.Errorf("%s fires, and nothing is wrong", r.Name)
		}
	}
	w.fewSeries()
}

// oneOfEach gives every figure something to count: a mint, a burn, a denied mint, a refused request.
func (a *appliance) oneOfEach(ctx context.Context, token *client.Token) {
	_, wallet, _ := a.treasury()
	c, to := a.as("operator"), client.Party{Type: client.PartyTypeWalletID, WalletID: &wallet.ID}
	mint, err := c.MintToken(ctx, token.ID, client.MintRequest{Amount: "1000" + strings.Repeat("0", 18), Recipient: to})
	if err != nil {
		a.workError(ctx, err)
		return
	}
	for _, name := range []string{"approver-1", "approver-2"} {
		if _, err := a.decide(name, policy.Approve, mint.OperationID); err != nil {
			a.workError(ctx, err)
			return
		}
	}
	if _, err := c.WaitOperation(ctx, mint.OperationID, client.Done, nil); err != nil {
		a.workError(ctx, err)
		return
	}
	burn, err := c.BurnToken(ctx, token.ID, client.BurnRequest{Amount: "1", From: to})
	if err != nil {
		a.workError(ctx, err)
		return
	}
	if _, err := a.decide("approver-3", policy.Reject, burn.OperationID); err != nil {
		a.workError(ctx, err)
		return
	}
	if _, err := c.MintToken(ctx, token.ID, client.MintRequest{Amount: "1" + strings.Repeat("0", 60), Recipient: to}); err == nil {
		a.workError(ctx, fmt.Errorf("a mint above every limit was taken"))
	}
	if _, err := c.GetTokenOperation(ctx, "op_01J00000000000000000000000"); err == nil {
		a.workError(ctx, fmt.Errorf("an unknown operation was found"))
	}
}

func (a *appliance) workError(ctx context.Context, err error) {
	if ctx.Err() == nil {
		a.t.Error(err)
	}
}

// scraper is a Prometheus that scrapes one appliance.
type scraper struct {
	t   *testing.T
	url string
}

func scrape(t *testing.T, prometheus, monitor string) *scraper {
	t.Helper()
	dir, listen := t.TempDir(), freeAddress(t)
	rules, err := filepath.Abs("../metrics/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n"+
		"  - {job_name: mintwarden, static_configs: [{targets: [%q]}]}\n", rules, monitor)
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(prometheus, "--config.file", path, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", listen, "--log.level", "warn")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &scraper{t, "http://" + listen}
}

// until tries what must become so; the last reason why it is not is the failure's.
func (w *scraper) until(what string, so func() error) {
	w.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = so(); err == nil {
			return
		}
	}
	w.t.Fatalf("%s: %v", what, err)
}

// panels are the dashboard's queries, as Grafana would ask them.
func (w *scraper) panels() map[string]string {
	w.t.Helper()
	text, err := os.ReadFile("../metrics/dashboard.json")
	if err != nil {
		w.t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				RefID string `json:"refId"`
				Expr  string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		w.t.Fatal(err)
	}
	fill := strings.NewReplacer("$instance", ".*", "$__rate_interval", "1m")
	queries := map[string]string{}
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			queries[p.Title+" "+q.RefID] = fill.Replace(q.Expr)
		}
	}
	return queries
}

func (w *scraper) get(path string, into any) error {
	r, err := http.Get(w.url + path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", r.Status, body)
	}
	return json.Unmarshal(body, into)
}

type vector struct {
	Data struct {
		Result []struct {
			Metric map[string]string `json:"metric"`
		} `json:"result"`
	} `json:"data"`
}

func (w *scraper) samples(query string) (int, error) {
	var v vector
	err := w.get("/api/v1/query?query="+url.QueryEscape(query), &v)
	return len(v.Data.Result), err
}

type watchedRule struct {
	Name   string `json:"name"`
	Health string `json:"health"`
	State  string `json:"state"`
	Error  string `json:"lastError"`
}

func (w *scraper) rules() []watchedRule {
	w.t.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []watchedRule `json:"rules"`
			} `json:"groups"`
		} `json:"data"`
	}
	if err := w.get("/api/v1/rules", &answer); err != nil {
		w.t.Fatal(err)
	}
	var rules []watchedRule
	for _, g := range answer.Data.Groups {
		rules = append(rules, g.Rules...)
	}
	if len(rules) < 20 {
		w.t.Fatalf("Prometheus knows %d rules", len(rules))
	}
	return rules
}

// fewSeries holds that what callers choose is in no label: ids, names, addresses, amounts.
func (w *scraper) fewSeries() {
	w.t.Helper()
	var v vector
	if err := w.get("/api/v1/query?query="+url.QueryEscape(`{__name__=~"mintwarden_.*"}`), &v); err != nil {
		w.t.Fatal(err)
	}
	chosen := regexp.MustCompile(`^([a-z]+_[0-9A-HJKMNP-TV-Z]{26}|0x[0-9a-fA-F]{40,})$`)
	perName, labels := map[string]int{}, documentedLabels(w.t)
	for _, s := range v.Data.Result {
		name := s.Metric["__name__"]
		perName[name]++
		w.asDocumented(name, s.Metric, labels)
		for label, value := range s.Metric {
			if chosen.MatchString(value) && !slices.Contains([]string{"policy", "token"}, label) {
				w.t.Errorf("%s has %s=%q", name, label, value)
			}
		}
	}
	for name, n := range perName {
		if n > 3000 {
			w.t.Errorf("%s has %d series", name, n)
		}
	}
}

// documentedLabels are the metrics of metrics.md with their labels, histograms by the names that they have there.
func documentedLabels(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../metrics/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(mintwarden_[a-z0-9_]+)` \\| (\\w+) \\| ([^|]*)\\|").FindAllStringSubmatch(string(text), -1) {
		var names []string
		for _, l := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(m[3], -1) {
			names = append(names, l[1])
		}
		labels[m[1]] = names
		if m[2] == "histogram" {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				labels[m[1]+part] = names
			}
		}
	}
	return labels
}

// asDocumented holds a series against its row of metrics.md. Prometheus has no label whose value is empty.
func (w *scraper) asDocumented(name string, series map[string]string, labels map[string][]string) {
	w.t.Helper()
	documented, known := labels[name]
	if !known {
		w.t.Errorf("%s is not in metrics.md", name)
	}
	for label := range series {
		if !slices.Contains(documented, label) && !slices.Contains([]string{"__name__", "instance", "job", "le"}, label) {
			w.t.Errorf("%s has the label %s, metrics.md says %v", name, label, documented)
		}
	}
}
