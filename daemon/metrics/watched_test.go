package metrics_test

import (
	"encoding/json/v2"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	metricName = regexp.MustCompile(`\bmintwarden_[a-z0-9_]+`)
	recorded   = regexp.MustCompile(`\bmintwarden:[a-z0-9_:]+`)
	row        = regexp.MustCompile("^\\| `(mintwarden_[a-z0-9_]+)` \\| (counter|gauge|histogram) \\|")
	alert      = regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)
	record     = regexp.MustCompile(`(?m)^ +- record: (\S+)$`)
)

// documented are the metrics of metrics.md, by name.
func documented(t *testing.T) map[string]string {
	t.Helper()
	kinds := map[string]string{}
	for line := range strings.Lines(read(t, "metrics.md")) {
		if m := row.FindStringSubmatch(line); m != nil {
			if kinds[m[1]] != "" {
				t.Errorf("metrics.md has %s twice", m[1])
			}
			kinds[m[1]] = m[2]
		}
	}
	if len(kinds) < 20 {
		t.Fatalf("metrics.md has %d rows", len(kinds))
	}
	return kinds
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// exported are the metrics that the programs' source names, each with a file that does.
func exported(t *testing.T) map[string]string {
	t.Helper()
	root, names := filepath.Join("..", ".."), map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != root && (name == "node_modules" || name == "testdata" || strings.HasPrefix(name, ".")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			if s, err := strconv.Unquote(lit.Value); err == nil && metricName.FindString(s) == s && s != "" {
				names[s] = path
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// What is exported is documented, and the other way round.
func TestEveryMetricIsDocumented(t *testing.T) {
	docs, source := documented(t), exported(t)
	for name, path := range source {
		if docs[name] == "" {
			t.Errorf("%s of %s is not in metrics.md", name, path)
		}
	}
	for name := range docs {
		if source[name] == "" {
			t.Errorf("metrics.md tells of %s, which nothing exports", name)
		}
	}
}

// A name tells its unit: a counter counts to a total, times are seconds, sizes bytes.
func TestMetricsAreNamedAsIsUsual(t *testing.T) {
	for name, kind := range documented(t) {
		if total := strings.HasSuffix(name, "_total"); total != (kind == "counter") {
			t.Errorf("%s is a %s", name, kind)
		}
		if regexp.MustCompile(`_(ms|milliseconds|minutes|hours|kib|mib|percent)\b`).MatchString(name) {
			t.Errorf("%s is not in Prometheus' base units", name)
		}
	}
}

// No rule and no panel asks for a metric that is not there, and no panel for what no rule records.
func TestRulesAndPanelsUseWhatIsExported(t *testing.T) {
	docs := documented(t)
	var recorders []string
	for _, m := range record.FindAllStringSubmatch(read(t, "rules.yml"), -1) {
		recorders = append(recorders, m[1])
	}
	known := func(name string) bool {
		if docs[name] != "" {
			return docs[name] != "histogram"
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && docs[base] == "histogram" {
				return true
			}
		}
		return false
	}
	for where, text := range map[string]string{"rules.yml": read(t, "rules.yml"), "dashboard.json": strings.Join(slices.Collect(maps.Values(expressions(t))), "\n")} {
		for _, name := range metricName.FindAllString(text, -1) {
			if !known(name) {
				t.Errorf("%s asks for %s, which metrics.md does not have", where, name)
			}
		}
		for _, name := range recorded.FindAllString(text, -1) {
			if !slices.Contains(recorders, name) {
				t.Errorf("%s asks for %s, which rules.yml does not record", where, name)
			}
		}
	}
}

// expressions are the dashboard's queries, by panel's title and query's letter.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	var board struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				RefID string `json:"refId"`
				Expr  string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal([]byte(read(t, "dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			found[p.Title+" "+q.RefID] = q.Expr
		}
	}
	if len(found) < 20 {
		t.Fatalf("the dashboard has %d queries", len(found))
	}
	return found
}

// Each alert fires where it must and is silent where it must be, says promtool, and has its page in the guide.
func TestAlerts(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("Debian's prometheus has promtool: apt-get install prometheus: %v", err)
	}
	for _, args := range [][]string{{"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	guide, cases := read(t, "guide.md"), read(t, "rules_test.yml")
	for _, m := range alert.FindAllStringSubmatch(read(t, "rules.yml"), -1) {
		for name, expected := range map[string]string{m[1] + " fires": "exp_labels:", m[1] + " does not fire": "exp_alerts: []"} {
			_, body, ok := strings.Cut(cases, "name: "+name+"\n")
			body, _, _ = strings.Cut(body, "\n  - name: ")
			if !ok || !strings.Contains(body, "alertname: "+m[1]+"\n") || !strings.Contains(body, expected) || !strings.Contains(body, "values:") {
				t.Errorf("rules_test.yml has no case %q of that alert with %s", name, expected)
			}
		}
		if !strings.Contains(guide, "\n## "+m[1]+"\n") {
			t.Errorf("guide.md has no page for %s", m[1])
		}
		if link := fmt.Sprintf("guide.md#%s\"", strings.ToLower(m[1])); !strings.Contains(read(t, "rules.yml"), link) {
			t.Errorf("%s does not name its page", m[1])
		}
	}
}
