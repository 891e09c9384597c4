package api

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// maxDepth bounds how deep a body nests. The deepest that a schema admits, a
// policy's quorum, is far below it.
const maxDepth = 40

// Formats of the document that are values and not shape: what does not hold
// there is answered after the checks of existence and state.
const (
	formatAmount  = "uint256"
	formatAddress = "address"
)

// formatTime is shape, of which a schema sees only how it is written.
const formatTime = "date-time"

// checkBody holds a body against its schema. It returns the first thing wrong
// with its shape, or else the first wrong amount or address.
func (r *route) checkBody(tree any) (badValue *problem, err error) {
	if depth(tree) > maxDepth {
		return nil, fault(registry.Validation, "the body nests deeper than %d", maxDepth)
	}
	err = r.body.VisitJSON(tree, openapi3.VisitAsRequest(), openapi3.MultiErrors(), openapi3.DisableSchemaErrorDetails())
	for _, e := range flatten(err) {
		p := r.shapeProblem(e)
		if p.number == byType[r.amountType()].number || p.number == byType[r.addressType()].number {
			if badValue == nil {
				badValue = p
			}
			continue
		}
		return nil, p
	}
	w := walker{route: r, badValue: badValue}
	if err := w.walk("", r.body, tree); err != nil {
		return nil, err
	}
	return w.badValue, nil
}

func (r *route) amountType() string {
	if r.token() {
		return registry.InvalidTokenAmount
	}
	return registry.InvalidAmount
}

func (r *route) addressType() string {
	if r.token() {
		return registry.InvalidRecipient
	}
	return registry.InvalidAddress
}

func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	default:
		return 0
	}
	return deepest + 1
}

// flatten lists the schema errors in err, in the order of the body's names.
func flatten(err error) []*openapi3.SchemaError {
	var out []*openapi3.SchemaError
	switch e := err.(type) { //nolint:errorlint // the validator returns a tree of its own types, unwrapped
	case nil:
	case openapi3.MultiError:
		for _, one := range e {
			out = append(out, flatten(one)...)
		}
	case *openapi3.SchemaError:
		out = append(out, e)
	default:
		out = append(out, &openapi3.SchemaError{Reason: err.Error()})
	}
	return out
}

// shapeProblem says in our words what a schema refused.
func (r *route) shapeProblem(e *openapi3.SchemaError) *problem {
	field := fieldName(e.JSONPointer())
	if e.SchemaField == "required" {
		return fault(registry.MissingField, "%s is missing", field)
	}
	schema := e.Schema
	if schema != nil {
		switch schema.Format {
		case formatAmount:
			return fault(r.amountType(), "%s is %s; an amount is a string of decimal digits in base units, from 0 to 2^256 - 1, without sign or leading zero", field, quote(e.Value))
		case formatAddress:
			return fault(r.addressType(), "%s is %s; an address is 0x and 40 hex digits", field, quote(e.Value))
		case formatTime:
			return badTime(field, e.Value)
		}
	}
	switch e.SchemaField {
	case "properties":
		return fault(registry.Validation, "%s is not known here; %s takes %s", unknownField(field, e), place(field), known(schema))
	case "maxLength":
		return fault(registry.StringTooLong, "%s has more than %d characters", field, *schema.MaxLength)
	case "nullable", "type":
		return fault(registry.Validation, "%s is %s; it must be %s", field, quote(e.Value), article(schema))
	case "enum":
		return fault(registry.Validation, "%s is %s; it must be one of %s", field, quote(e.Value), enumerated(schema))
	case "pattern":
		return fault(registry.Validation, "%s is %s, which holds what is not allowed there (pattern %s)", field, quote(e.Value), schema.Pattern)
	}
	return fault(registry.Validation, "%s: %s", field, e.Reason)
}

// fieldName is a JSON pointer as people write it: rules[2].amount.
func fieldName(pointer []string) string {
	var b strings.Builder
	for _, p := range pointer {
		if _, err := strconv.Atoi(p); err == nil {
			fmt.Fprintf(&b, "[%s]", p)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(printable(p))
	}
	if b.Len() == 0 {
		return "the body"
	}
	return b.String()
}

func place(field string) string {
	if field == "the body" {
		return "this route"
	}
	return field
}

func unknownField(object string, e *openapi3.SchemaError) string {
	values, _ := e.Value.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if e.Schema.Properties[name] != nil {
			continue
		}
		if object == "the body" {
			return "field " + strconv.QuoteToASCII(clipped(name))
		}
		return "field " + strconv.QuoteToASCII(clipped(name)) + " of " + object
	}
	return "a field of " + object
}

func known(s *openapi3.Schema) string {
	return strings.Join(slices.Sorted(maps.Keys(s.Properties)), ", ")
}

func enumerated(s *openapi3.Schema) string {
	names := make([]string, 0, len(s.Enum))
	for _, e := range s.Enum {
		names = append(names, fmt.Sprint(e))
	}
	return strings.Join(names, ", ")
}

func article(s *openapi3.Schema) string {
	if s == nil || s.Type == nil || len(*s.Type) == 0 {
		return "another type"
	}
	switch t := (*s.Type)[0]; t {
	case "integer", "object", "array":
		return "an " + t
	default:
		return "a " + t
	}
}

// quote shows a caller's value in a message: short, and nothing in it that does
// not print.
func quote(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.QuoteToASCII(clipped(v))
	case float64:
		return "the number " + strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case nil:
		return "null"
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	}
	return fmt.Sprintf("a %T", v)
}

const maxQuoted = 96 // bytes of a caller's value in a message

func clipped(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return strings.ToValidUTF8(s[:maxQuoted], "") + "…"
}

func printable(s string) string {
	q := strconv.QuoteToASCII(clipped(s))
	return q[1 : len(q)-1]
}

// walker goes through a body with its schema for what a schema cannot say.
type walker struct {
	route    *route
	badValue *problem
}

func (w *walker) walk(field string, s *openapi3.Schema, v any) error {
	switch v := v.(type) {
	case map[string]any:
		if err := checkNamed(field, s, v); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if p := s.Properties[name]; p != nil {
				if err := w.walk(join(field, name), p.Value, v[name]); err != nil {
					return err
				}
			}
		}
	case []any:
		for i, e := range v {
			if s.Items == nil {
				break
			}
			if err := w.walk(fmt.Sprintf("%s[%d]", field, i), s.Items.Value, e); err != nil {
				return err
			}
		}
	case string:
		if s.Format == formatTime && !shown(v) {
			return badTime(field, v)
		}
		if w.badValue == nil {
			w.badValue = w.route.checkValue(field, s.Format, v)
		}
	}
	return nil
}

// shown tells whether a text is a time that an answer can show, in UTC: the last hours of the year 9999 in a western
// zone are of a year that RFC 3339 does not have.
func shown(text string) bool {
	t, err := time.Parse(time.RFC3339, text)
	return err == nil && t.UTC().Year() >= 0 && t.UTC().Year() <= 9999
}

func badTime(field string, v any) *problem {
	return fault(registry.Validation, "%s is %s; it must be an RFC 3339 time of the years 0 to 9999, such as 2026-04-27T10:14:00Z", field, quote(v))
}

func join(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

// checkNamed holds an object whose type names the one field that it has beside
// it, a party or a performer.
func checkNamed(field string, s *openapi3.Schema, v map[string]any) error {
	by := s.Properties["type"]
	if by == nil || len(by.Value.Enum) == 0 {
		return nil
	}
	for _, e := range by.Value.Enum {
		if name, _ := e.(string); s.Properties[name] == nil {
			return nil
		}
	}
	named, _ := v["type"].(string)
	if _, ok := v[named]; !ok {
		return fault(registry.MissingField, "%s is missing: %s is of type %s", join(field, named), field, named)
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if name != "type" && name != named {
			return fault(registry.Validation, "%s is given, but %s is of type %s and has only that", join(field, name), field, named)
		}
	}
	return nil
}

// checkValue holds an amount or an address that has the right form.
func (r *route) checkValue(field, format, v string) *problem {
	switch format {
	case formatAmount:
		if _, err := policy.ParseAmount(v); err != nil {
			return fault(r.amountType(), "%s is %s, which is not a number from 0 to 2^256 - 1", field, quote(v))
		}
	case formatAddress:
		if _, err := tx.ParseAddress(v); err != nil {
			return fault(r.addressType(), "%s is %s: %v", field, quote(v), err)
		}
	}
	return nil
}

// spelledOut is a copy of a body in which an amount or an address that is not a
// string is a text that says what it is.
func (r *route) spelledOut(s *openapi3.Schema, v any) any {
	switch s.Format {
	case formatAmount, formatAddress:
		if _, ok := v.(string); !ok {
			return quote(v)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			out[name] = e
			if p := s.Properties[name]; p != nil {
				out[name] = r.spelledOut(p.Value, e)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = e
			if s.Items != nil {
				out[i] = r.spelledOut(s.Items.Value, e)
			}
		}
		return out
	}
	return v
}
