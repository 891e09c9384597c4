package guidetest

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	route  = regexp.MustCompile("`(GET|POST|PUT|PATCH|DELETE) (/v1/[^ `?]*)")
	param  = regexp.MustCompile(`\{[^}]*\}`)
	metric = regexp.MustCompile("`(mintwarden_[a-z0-9_]+)")
	alert  = regexp.MustCompile(`\bMintwarden[A-Z]\w+`)
	under  = regexp.MustCompile(`(?m)^  (/v1/\S*):$|^    (get|post|put|patch|delete):$`)
)

// routes are the API's, as “GET /v1/tokens/{}”.
func routes(t *testing.T) []string {
	var all []string
	path := ""
	for _, m := range under.FindAllStringSubmatch(file(t, "api/openapi.yaml"), -1) {
		if m[1] != "" {
			path = param.ReplaceAllString(m[1], "{}")
		} else {
			all = append(all, strings.ToUpper(m[2])+" "+path)
		}
	}
	return all
}

// What a page names is there: a route in the API's description, a metric on the page of metrics, which is held against
// the source, and an alert in the rules.
func TestWhatThePagesNameIsThere(t *testing.T) {
	pages, api, rules := Pages(t), routes(t), file(t, "daemon/metrics/rules.yml")
	looked := 0
	for _, at := range slices.Sorted(maps.Keys(pages)) {
		page := pages[at]
		for _, m := range route.FindAllStringSubmatch(page, -1) {
			if looked++; !slices.Contains(api, m[1]+" "+param.ReplaceAllString(m[2], "{}")) {
				t.Errorf("%s names %s %s, which is no route", at, m[1], m[2])
			}
		}
		for _, m := range metric.FindAllStringSubmatch(page, -1) {
			if looked++; !strings.Contains(pages["daemon/metrics/metrics.md"], "| `"+m[1]+"` |") {
				t.Errorf("%s names %s, which is no metric", at, m[1])
			}
		}
		for _, name := range alert.FindAllString(page, -1) {
			if looked++; !strings.Contains(rules, "- alert: "+name+"\n") {
				t.Errorf("%s names %s, which is no alert", at, name)
			}
		}
	}
	if looked < 100 || len(api) < 70 {
		t.Errorf("%d names were looked at, %d routes", looked, len(api))
	}
}
