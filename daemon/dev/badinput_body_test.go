package dev_test

import (
	"bytes"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mintwarden/mintwarden/api/apitest"
)

// testJSON: one strict JSON object of known fields, or 1100.
func (e *edge) testJSON(t *testing.T) {
	to := addressParty(e.stranger)
	good := fmt.Sprintf(`"amount":"1","recipient":%s`, to)
	for _, c := range []struct {
		name, body string
		header     http.Header
		want       want
	}{
		{"unknown field", `{` + good + `,"colour":"red"}`, nil, want{400, 1100, "colour"}},
		{"field in another case", `{"Amount":"1","recipient":` + to + `}`, nil, want{400, 1100, "Amount"}},
		{"unknown field inside", `{"amount":"1","recipient":{"type":"address","address":"` + e.stranger + `","note":"x"}}`, nil, want{400, 1100, "note"}},
		{"two values", `{` + good + `}{` + good + `}`, nil, want{400, 1100, ""}},
		{"two values on two lines", "{" + good + "}\n{}", nil, want{400, 1100, ""}},
		{"something after it", `{` + good + `} x`, nil, want{400, 1100, ""}},
		{"a name twice", `{"amount":"1",` + good + `}`, nil, want{400, 1100, "amount"}},
		{"an unlike name twice", `{"amount":"1","amoun\u0074":"2","recipient":` + to + `}`, nil, want{400, 1100, "amount"}},
		{"a name twice inside", `{"amount":"1","recipient":{"type":"address","type":"walletId","address":"` + e.stranger + `"}}`, nil, want{400, 1100, "type"}},
		{"cut off", `{` + good, nil, want{400, 1100, ""}},
		{"not JSON", `amount=1`, nil, want{400, 1100, ""}},
		{"an array", `[{` + good + `}]`, nil, want{400, 1100, ""}},
		{"a string", `"x"`, nil, want{400, 1100, ""}},
		{"null", `null`, nil, want{400, 1100, ""}},
		{"byte order mark", "\xef\xbb\xbf{" + good + "}", nil, want{400, 1100, ""}},
		{"not UTF-8", "{" + good + ",\"replaces\":\"op_\xff\"}", nil, want{400, 1100, ""}},
		{"half a surrogate pair", `{` + good + `,"replaces":"\ud800"}`, nil, want{400, 1100, ""}},
		{"a comment", `{/* */` + good + `}`, nil, want{400, 1100, ""}},
		{"a comma too many", `{` + good + `,}`, nil, want{400, 1100, ""}},
		{"ten thousand deep", strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), nil, want{400, 1100, ""}},
		{"wrong type", `{` + good + `,"feeStrategy":1}`, nil, want{400, 1100, "feeStrategy"}},
		{"unknown word", `{` + good + `,"feeStrategy":"FAST"}`, nil, want{400, 1100, "FAST"}},
		{"a field missing", `{"recipient":` + to + `}`, nil, want{400, 1101, "amount"}},
		{"another field missing", `{"amount":"1"}`, nil, want{400, 1101, "recipient"}},
		{"no body", ``, nil, want{400, 1101, ""}},
		{"party without type", `{"amount":"1","recipient":{"address":"` + e.stranger + `"}}`, nil, want{400, 1101, "type"}},
		{"party without its field", `{"amount":"1","recipient":{"type":"address"}}`, nil, want{400, 1101, "address"}},
		{"party of two", `{"amount":"1","recipient":{"type":"address","address":"` + e.stranger + `","walletId":"` + e.wallet + `"}}`, nil, want{400, 1100, "walletId"}},
		{"party of another field", `{"amount":"1","recipient":{"type":"walletId","address":"` + e.stranger + `"}}`, nil, want{400, 1101, "walletId"}},
		{"unknown party", `{"amount":"1","recipient":{"type":"name","address":"` + e.stranger + `"}}`, nil, want{400, 1100, "name"}},
		{"performer by address", `{` + good + `,"performedBy":{"type":"address","address":"` + e.stranger + `"}}`, nil, want{400, 1100, "performedBy"}},
		{"form", `{` + good + `}`, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, want{400, 1100, "application/x-www-form-urlencoded"}},
		{"another charset", `{` + good + `}`, http.Header{"Content-Type": {"application/json; charset=iso-8859-1"}}, want{400, 1100, "iso-8859-1"}},
		{"compressed", `{` + good + `}`, http.Header{"Content-Encoding": {"gzip"}}, want{400, 1100, "gzip"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e.refused(t, call{method: "POST", path: "/v1/tokens/" + e.tokenID + "/mint", key: draw(), body: c.body, header: c.header}, c.want)
		})
	}
}

// testTooLarge: 413 is answered so that the caller reads it, whatever he sends after it.
func (e *edge) testTooLarge(t *testing.T) {
	pad := func(n int) string {
		return `{"amount":"1","recipient":` + addressParty(e.stranger) + `,"x":"` + strings.Repeat("x", n) + `"}`
	}
	path := "/v1/tokens/" + e.tokenID + "/mint"
	t.Run("2 MiB", func(t *testing.T) {
		e.refused(t, call{method: "POST", path: path, key: draw(), body: pad(2 << 20)}, want{413, 1111, ""})
	})
	t.Run("1 MiB fits", func(t *testing.T) {
		body := `{"name":"` + "x" + `"` + strings.Repeat(" ", 1<<20-len(`{"name":"x"}`)) + `}`
		e.accepted(t, call{method: "POST", path: "/v1/vault/accounts", body: body}, http.StatusCreated, nil)
	})
	t.Run("1 MiB and a byte", func(t *testing.T) {
		body := `{"name":"` + "x" + `"` + strings.Repeat(" ", 1<<20+1-len(`{"name":"x"}`)) + `}`
		e.refused(t, call{method: "POST", path: "/v1/vault/accounts", body: body}, want{413, 1111, ""})
	})
	t.Run("before the key is looked at", func(t *testing.T) {
		e.refused(t, call{method: "POST", path: path, as: "none", body: pad(2 << 20)}, want{413, 1111, ""})
	})
	for _, c := range []struct {
		version string
		mib     int
	}{{"HTTP/1.1", 2}, {"HTTP/2", 2}, {"HTTP/1.1", 8}, {"HTTP/2", 8}} {
		t.Run(fmt.Sprintf("%d MiB of unsaid length by %s", c.mib, c.version), func(t *testing.T) {
			transport := e.http.Transport.(*apitest.Transport).Next.(*http.Transport).Clone()
			if c.version == "HTTP/1.1" {
				transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
				transport.ForceAttemptHTTP2 = false
			}
			defer transport.CloseIdleConnections()
			// A reader of unknown length is sent in chunks.
			r, err := http.NewRequestWithContext(t.Context(), "POST", e.url+path, io.MultiReader(bytes.NewReader([]byte(pad(c.mib<<20)))))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+e.bearers["operator"])
			resp, err := (&http.Client{Transport: transport}).Do(r)
			if err != nil {
				t.Fatalf("the answer is not read: %v", err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			answer{resp.StatusCode, resp.Header, text}.problem(t, want{413, 1111, ""})
		})
	}
}

// unshown are characters that a reader does not see as they are.
var unshown = map[string]string{
	"NUL": "a\x00b", "bell": "a\ab", "line feed": "a\nb", "escape": "a\x1b[2Jb", "delete": "a\x7fb", "next line": "a\u0085b",
	"right-to-left override": "a\u202eb", "left-to-right embedding": "a\u202ab", "right-to-left isolate": "a\u2067b",
	"pop directional isolate": "a\u2069b",
}

// testText: control and bidirectional-override characters are 1100 in every text.
func (e *edge) testText(t *testing.T) {
	pending := e.operation
	named := map[string]string{"vault account": "name", "wallet label": "label", "token name": "name", "token symbol": "symbol", "description": "description",
		"tag": "tags", "user": "name", "credential label": "label", "policy": "name", "reason of a withdrawal": "reason"}
	fields := map[string]func(text string) call{
		"vault account": func(s string) call {
			return call{method: "POST", path: "/v1/vault/accounts", body: fmt.Sprintf(`{"name":%s}`, s)}
		},
		"wallet label": func(s string) call {
			return call{method: "POST", path: "/v1/vault/accounts/" + e.vault + "/wallets", body: fmt.Sprintf(`{"network":"quantum-chain-devnet","label":%s}`, s)}
		},
		"token name": func(s string) call {
			return call{method: "POST", path: "/v1/tokens", body: strings.Replace(e.tokenBody(`"mintable":true,"burnable":true`), `"Example"`, s, 1)}
		},
		"token symbol": func(s string) call {
			return call{method: "POST", path: "/v1/tokens", body: strings.Replace(e.tokenBody(`"mintable":true,"burnable":true`), `"EIT"`, s, 1)}
		},
		"description": func(s string) call {
			return call{method: "PATCH", path: "/v1/tokens/" + e.draftID, body: fmt.Sprintf(`{"description":%s}`, s)}
		},
		"tag": func(s string) call {
			return call{method: "PATCH", path: "/v1/tokens/" + e.draftID, body: fmt.Sprintf(`{"tags":[%s]}`, s)}
		},
		"user": func(s string) call {
			return call{method: "POST", path: "/v1/users", as: "admin", body: fmt.Sprintf(`{"name":%s,"role":"viewer"}`, s)}
		},
		"credential label": func(s string) call {
			return call{method: "POST", path: "/v1/credentials", as: "admin", body: fmt.Sprintf(`{"userId":%q,"label":%s}`, e.user(t, "viewer"), s)}
		},
		"policy": func(s string) call {
			return call{method: "POST", path: "/v1/policies", body: fmt.Sprintf(`{"name":%s,"rules":[{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"approvers"}]}`, s)}
		},
		"reason of a withdrawal": func(s string) call {
			return call{method: "POST", path: "/v1/token-operations/" + pending + "/cancel", body: fmt.Sprintf(`{"reason":%s}`, s)}
		},
	}
	for field, request := range fields {
		for name, text := range unshown {
			t.Run(field+" "+name, func(t *testing.T) {
				quoted, err := json.Marshal(text)
				if err != nil {
					t.Fatal(err)
				}
				e.refused(t, request(string(quoted)), want{400, 1100, named[field]})
			})
		}
	}
	for field, length := range map[string]int{"vault account": 5000, "token name": 5000, "description": 5000, "policy": 5000, "credential label": 5000, "tag": 5000} {
		t.Run(field+" too long", func(t *testing.T) {
			e.refused(t, fields[field](`"`+strings.Repeat("x", length)+`"`), want{400, 1110, named[field]})
		})
	}
	if got := e.get(t, pending).Status; got != "PENDING_AUTHORIZATION" {
		t.Errorf("the operation is %s after refused withdrawals", got)
	}
}
