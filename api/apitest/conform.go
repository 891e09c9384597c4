// Package apitest holds answers against the API's document, for the tests of
// whoever calls the API. What the document does not admit, a status of a route,
// a header, a field too many or too few, is an error.
package apitest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/mintwarden/mintwarden/api"
)

var document = sync.OnceValues(func() (*openapi3.T, error) {
	spec, err := api.OpenAPI()
	if err == nil {
		spec.Servers = nil // answers are compared by path alone
	}
	return spec, err
})

// Check holds an answer to a request against the document. operationID is what
// the document calls the route; empty for a path or a method that it does not
// have, whose only answers are 404 and 405.
func Check(req *http.Request, status int, header http.Header, body []byte) (operationID string, err error) {
	spec, err := document()
	if err != nil {
		return "", err
	}
	route, params := find(spec, req)
	if route == nil {
		if status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
			return "", fmt.Errorf("%s %s is not in the document, and was answered %d: %s", req.Method, req.URL.Path, status, body)
		}
		return "", nil
	}
	err = openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 status, Header: header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	if err != nil {
		return route.Operation.OperationID, fmt.Errorf("%s %s was answered %d %s, which the document does not admit: %w", req.Method, req.URL.Path, status, body, err)
	}
	return route.Operation.OperationID, nil
}

// find is the route of a request: of those that fit, the one with the fewest
// parameters.
func find(spec *openapi3.T, req *http.Request) (best *routers.Route, named map[string]string) {
	got := strings.Split(req.URL.EscapedPath(), "/")
	for path, item := range spec.Paths.Map() {
		want, params := strings.Split(path, "/"), map[string]string{}
		op := item.GetOperation(req.Method)
		if len(want) != len(got) || op == nil {
			continue
		}
		fits := true
		for i, w := range want {
			if strings.HasPrefix(w, "{") {
				params[strings.Trim(w, "{}")] = got[i]
				continue
			}
			fits = fits && w == got[i]
		}
		if fits && (best == nil || len(params) < len(named)) {
			best, named = &routers.Route{Spec: spec, Path: path, PathItem: item, Method: req.Method, Operation: op}, params
		}
	}
	return best, named
}

// Transport checks every answer that comes through it. Safe for concurrent use
// if Next and Report are.
type Transport struct {
	Next http.RoundTripper
	// Report is told of an answer that does not conform; it must not end the
	// goroutine that it is called in.
	Report func(error)
}

var _ http.RoundTripper = (*Transport)(nil)

// RoundTrip reads the answer whole before it hands it on. One that breaks off
// is not checked.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.Next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
	if err == nil && resp.Header.Get("Request-Id") != "" { // what Go's own server refuses never came to the API
		if _, err := Check(req, resp.StatusCode, resp.Header, body); err != nil {
			t.Report(err)
		}
	}
	return resp, nil
}

// failing ends a body as it ended before.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}
