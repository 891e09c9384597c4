package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/registry"
)

// The query parameters whose bad values have a code of their own.
var paginationParams = []string{"limit", "offset", "cursor"}

// checkParams holds query and path against the document. A path whose id cannot
// be one of that kind names nothing: the resource's own NOT_FOUND says so.
func (s *Server) checkParams(c *gin.Context, r *route) error {
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return fault(registry.Validation, "the query is malformed: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		i := slices.IndexFunc(r.params, func(p *openapi3.Parameter) bool { return p.In == openapi3.ParameterInQuery && p.Name == name })
		if i < 0 {
			return fault(registry.Validation, "query parameter %s is not known here", quote(name))
		}
		if len(query[name]) > 1 {
			return fault(paramType(name), "query parameter %s is given %d times", name, len(query[name]))
		}
		if query.Get(name) == "" {
			return fault(paramType(name), "query parameter %s is empty", name)
		}
	}
	if query.Has("cursor") && query.Has("offset") {
		return fault(registry.InvalidPagination, "cursor and offset are both given; a cursor already says where the page begins")
	}
	input := &openapi3filter.RequestValidationInput{
		Request: c.Request, QueryParams: query, PathParams: map[string]string{},
		Options: &openapi3filter.Options{SkipSettingDefaults: true},
	}
	for _, p := range c.Params {
		input.PathParams[p.Key] = p.Value
	}
	for _, p := range r.params {
		if p.In == openapi3.ParameterInQuery && p.Required && !query.Has(p.Name) {
			return fault(registry.MissingField, "query parameter %s is missing", p.Name)
		}
		if p.Schema.Value.Format == formatAddress {
			continue // a value: its handler looks at it after the resource
		}
		err := openapi3filter.ValidateParameter(c.Request.Context(), input, p)
		if err == nil {
			continue
		}
		if p.In == openapi3.ParameterInPath {
			return missing(p.Name, input.PathParams[p.Name])
		}
		return fault(paramType(p.Name), "query parameter %s is %s; %s", p.Name, quote(query.Get(p.Name)), wanted(p.Schema.Value, err))
	}
	return nil
}

func paramType(name string) string {
	if slices.Contains(paginationParams, name) {
		return registry.InvalidPagination
	}
	return registry.Validation
}

func wanted(s *openapi3.Schema, err error) string {
	switch {
	case len(s.Enum) > 0:
		return "it must be one of " + enumerated(s)
	case s.Min != nil && s.Max != nil:
		return fmt.Sprintf("it must be a whole number from %.0f to %.0f", *s.Min, *s.Max)
	case s.Min != nil:
		return fmt.Sprintf("it must be a whole number from %.0f", *s.Min)
	case s.Format == "date-time":
		return "it must be an RFC 3339 time, such as 2026-04-27T10:14:00Z"
	case s.Pattern != "":
		return "it must match " + s.Pattern
	}
	var e *openapi3.SchemaError
	if errors.As(err, &e) {
		return e.Reason
	}
	return "it is malformed"
}

// missing is the NOT_FOUND of the resource that a path parameter names.
func missing(param, value string) *problem {
	v := quote(value)
	switch param {
	case "templateId":
		return fault(registry.TemplateNotFound, "there is no token template %s; GET /v1/token-templates lists them", v)
	case "operationId":
		return fault(registry.TxNotFound, "there is no operation %s; GET /v1/token-operations lists them", v)
	case "transactionRequestId":
		return fault(registry.TxNotFound, "there is no transaction request %s; GET /v1/transactions lists them", v)
	case "policyId":
		return fault(registry.TxNotFound, "there is no policy %s; GET /v1/policies lists them", v)
	case "vaultAccountId":
		return fault(registry.VaultNotFound, "there is no vault account %s; GET /v1/vault/accounts lists them", v)
	case "walletId":
		return fault(registry.VaultNotFound, "there is no wallet %s", v)
	}
	return fault(registry.NotFound, "there is no %s %s", strings.TrimSuffix(param, "Id"), v)
}

// checkKey finds the idempotency key of a request in its header or its body.
func (r *route) checkKey(h http.Header, tree any) (string, error) {
	if r.key == keyNone {
		return "", nil
	}
	values := h.Values("Idempotency-Key")
	if len(values) > 1 {
		return "", fault(registry.Validation, "Idempotency-Key is given %d times", len(values))
	}
	key := ""
	if len(values) == 1 {
		key = values[0]
		if len(key) > 255 {
			return "", fault(registry.StringTooLong, "Idempotency-Key has %d characters; at most 255 are allowed", len(key))
		}
		if !visible(key, 255) {
			return "", fault(registry.Validation, "Idempotency-Key is %s; it must be 1 to 255 visible ASCII characters", quote(key))
		}
	}
	if object, ok := tree.(map[string]any); ok {
		if inBody, ok := object["idempotencyKey"].(string); ok {
			if key != "" && key != inBody {
				return "", fault(registry.Validation, "Idempotency-Key is %s but idempotencyKey is %s; they must agree", quote(key), quote(inBody))
			}
			key = inBody
		}
	}
	if key == "" && r.key == keyRequired {
		return "", fault(registry.MissingField, "Idempotency-Key is missing: this call moves a token; draw a key, keep it, and send it with every retry")
	}
	return key, nil
}
