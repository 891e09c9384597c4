package dev_test

import (
	"encoding/json/v2"
	"fmt"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/daemon/metrics/picture"
)

// watchedFor is how long a picture shows the appliance at work.
const watchedFor = 3 * time.Minute

// board is the dashboard, as far as it is drawn.
type board struct {
	Panels []struct {
		Title   string `json:"title"`
		Type    string `json:"type"`
		GridPos struct{ X, Y, W, H int }
		Field   struct {
			Defaults struct {
				Unit     string `json:"unit"`
				Mappings []struct {
					Options map[string]struct {
						Text string `json:"text"`
					} `json:"options"`
				} `json:"mappings"`
			} `json:"defaults"`
		} `json:"fieldConfig"`
		Targets []struct {
			Expr   string `json:"expr"`
			Legend string `json:"legendFormat"`
		} `json:"targets"`
	} `json:"panels"`
}

// pictures draws the dashboard's panels into dir, a file for each of its rows, from what Prometheus has of the
// last minutes.
func (w *scraper) pictures(dir string) {
	w.t.Helper()
	text, err := os.ReadFile("../metrics/dashboard.json")
	if err != nil {
		w.t.Fatal(err)
	}
	var b board
	if err := json.Unmarshal(text, &b, json.MatchCaseInsensitiveNames(true)); err != nil {
		w.t.Fatal(err)
	}
	rows, name, end := map[string][]picture.Panel{}, "", time.Now().Truncate(time.Second)
	for _, p := range b.Panels {
		if p.Type == "row" {
			if p.Title != "Operations" { // what is now stands above the operations
				name = fileName(p.Title)
			}
			if p.Title == "Now" {
				name = "operations"
			}
			continue
		}
		drawn := picture.Panel{Title: p.Title, Unit: p.Field.Defaults.Unit, Single: p.Type == "stat", Words: map[float64]string{},
			X: p.GridPos.X, Y: p.GridPos.Y, W: p.GridPos.W, H: p.GridPos.H}
		for _, m := range p.Field.Defaults.Mappings {
			for value, word := range m.Options {
				v, err := strconv.ParseFloat(value, 64)
				if err != nil {
					w.t.Fatal(err)
				}
				drawn.Words[v] = word.Text
			}
		}
		for _, q := range p.Targets {
			drawn.Series = append(drawn.Series, w.lines(q.Expr, q.Legend, end)...)
		}
		rows[name] = append(rows[name], drawn)
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		image, err := picture.Draw(rows[name])
		if err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".png"), image, 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
}

// fileName is a row's title as a file has it.
func fileName(title string) string {
	return strings.Trim(regexp.MustCompile(`[^a-z]+`).ReplaceAllString(strings.ToLower(title), "-"), "-")
}

// lines are a query's series over the time that is shown.
func (w *scraper) lines(expr, legend string, end time.Time) []picture.Series {
	w.t.Helper()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Values [][2]any          `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	begin := end.Add(-watchedFor)
	query := strings.NewReplacer("$instance", ".*", "$__rate_interval", "20s").Replace(expr)
	if err := w.get(fmt.Sprintf("/api/v1/query_range?query=%s&start=%d&end=%d&step=2", url.QueryEscape(query), begin.Unix(), end.Unix()), &answer); err != nil {
		w.t.Fatal(err)
	}
	var out []picture.Series
	for _, r := range answer.Data.Result {
		labels := []string{}
		for k, v := range r.Metric {
			if k == "instance" {
				v = "appliance-1"
			}
			labels = append(labels, "{{"+k+"}}", v)
		}
		s := picture.Series{Name: strings.Join(strings.Fields(regexp.MustCompile(`\{\{\w+\}\}`).ReplaceAllString(strings.NewReplacer(labels...).Replace(legend), "")), " ")}
		for _, v := range r.Values {
			at, isNumber := v[0].(float64)
			text, isText := v[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			if !isNumber || !isText || err != nil {
				w.t.Fatalf("%s: a sample is %v", expr, v)
			}
			if !math.IsNaN(value) && !math.IsInf(value, 0) {
				s.Points = append(s.Points, picture.Point{At: at - float64(begin.Unix()), Value: value})
			}
		}
		out = append(out, s)
	}
	return out
}
