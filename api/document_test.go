package api

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// offline is a server that can be asked for its routes and its checks, but
// stands on nothing.
func offline(t testing.TB) *Server {
	t.Helper()
	d, err := readDocument()
	require.NoError(t, err)
	return &Server{document: d, buckets: newBuckets(1, 1)}
}

func TestEveryRouteHasAHandlerAndAPermission(t *testing.T) {
	s := offline(t)
	handled := map[string]bool{}
	for _, r := range s.routes().Routes() {
		handled[r.Method+" "+r.Path] = true
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(s.document.routes)), slices.Collect(maps.Keys(handled)))
	for name, r := range s.document.routes {
		switch {
		case r.id == "getOpenAPI":
			require.Empty(t, r.permissions)
		default:
			require.NotEmpty(t, r.permissions, name)
		}
		if r.method == http.MethodGet {
			require.Equal(t, keyNone, r.key, name)
			for _, p := range r.permissions {
				reads := strings.HasSuffix(string(p), ":read") || p == registry.TransactionsExport || strings.HasPrefix(r.id, "getLedger")
				require.True(t, reads, "%s asks for %s to read", name, p)
			}
			continue
		}
		require.NotEqual(t, keyNone, r.key, name)
		moves := r.operation != "" || r.id == "retireToken"
		require.Equal(t, moves, r.key == keyRequired, "%s: what moves or ends a token needs a key, nothing else does", name)
	}
}

// TestRolesReachRoutes: every permission that a route asks for is carried by
// some role, and a viewer can read everything, and nothing that leaves something
// in the store.
func TestRolesReachRoutes(t *testing.T) {
	for name, r := range offline(t).document.routes {
		holders := []registry.UserRole{}
		for _, role := range registry.UserRoles() {
			p := registry.Principal{Permissions: role.Permissions()}
			if p.AllowsAny(r.permissions...) {
				holders = append(holders, role)
			}
		}
		if len(r.permissions) == 0 {
			continue
		}
		require.NotEmpty(t, holders, name)
		reads := !r.stores() && r.id != "exportTransactions"
		require.Equal(t, reads, slices.Contains(holders, registry.Viewer), name)
	}
}

func TestErrorTableIsTheDocuments(t *testing.T) {
	spec, err := OpenAPI()
	require.NoError(t, err)
	row := regexp.MustCompile(`(?m)^\| (\d{4}) \| ([A-Z_]+) \| ([^|]+) \|$`)
	documented := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(spec.Info.Description, -1) {
		documented[m[2]] = m[1]
		for _, status := range regexp.MustCompile(`\d{3}`).FindAllString(m[3], -1) {
			if n, _ := strconv.Atoi(status); n == http.StatusMethodNotAllowed {
				continue
			}
			require.Contains(t, statusesOf(spec), status, "%s", m[2])
		}
	}
	for _, c := range codes {
		require.Equal(t, fmt.Sprint(c.number), documented[c.name], "%s", c.name)
	}
	require.Len(t, byType, len(codes))
}

func statusesOf(spec *openapi3.T) map[string]bool {
	all := map[string]bool{}
	for _, item := range spec.Paths.Map() {
		for _, op := range item.Operations() {
			for status := range op.Responses.Map() {
				all[status] = true
			}
		}
	}
	return all
}

// TestSchemasAreStrict: every object says which members it has, every string of
// a request how long it may be, and every list how many items it takes.
func TestSchemasAreStrict(t *testing.T) {
	spec, err := OpenAPI()
	require.NoError(t, err)
	free := map[string]bool{"ErrorBody.details": true, "AuditEntry.metadata": true, "OpenAPIDocument": true, "OpenAPIDocument.info": true,
		"OpenAPIDocument.paths": true, "TokenTemplateDetail.abi[]": true}
	var walk func(name string, s *openapi3.SchemaRef)
	walk = func(name string, s *openapi3.SchemaRef) {
		v := s.Value
		switch {
		case v.Type.Is("object"):
			closed := v.AdditionalProperties.Has != nil && !*v.AdditionalProperties.Has
			require.Equal(t, !free[name], closed, "%s", name)
			for prop, p := range v.Properties {
				if p.Ref == "" {
					walk(name+"."+prop, p)
				}
			}
		case v.Type.Is("array"):
			require.NotNil(t, v.MaxItems, "%s", name)
			if v.Items.Ref == "" {
				walk(name+"[]", v.Items)
			}
		case v.Type.Is("string"):
			bounded := v.MaxLength != nil || len(v.Enum) > 0 || v.Format == "date-time" || strings.HasSuffix(v.Pattern, "$")
			require.True(t, bounded, "%s", name)
		}
		require.True(t, v.Description != "" || strings.HasSuffix(name, "[]"), "%s has no description", name)
	}
	for name, s := range spec.Components.Schemas {
		walk(name, s)
	}
}

func TestEnumsAreTheServices(t *testing.T) {
	spec, err := OpenAPI()
	require.NoError(t, err)
	enum := func(name string) (out []string) {
		for _, e := range spec.Components.Schemas[name].Value.Enum {
			out = append(out, e.(string))
		}
		return out
	}
	var types []string
	for _, o := range policy.OperationTypes() {
		types = append(types, string(o))
	}
	name := regexp.MustCompile(spec.Components.Schemas["RoleName"].Value.Pattern)
	for _, r := range registry.UserRoles() {
		require.Regexp(t, name, string(r), "a user may have any role by name")
	}
	require.ElementsMatch(t, types, enum("OperationType"))
	for _, s := range enum("TokenStatus") {
		require.True(t, registry.TokenStatus(s).Valid())
	}
}
