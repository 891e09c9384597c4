package api_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
)

// TestAuditFiltersAndCursors: each filter, and all of them together, over HTTP, are what picking from the whole log
// gives; cursors and offsets show each entry once, newest first.
func TestAuditFiltersAndCursors(t *testing.T) {
	t.Parallel()
	s := newHouse(t).serve()
	for n := range 12 {
		who := []string{"operator", "admin"}[n%2]
		is[api.VaultAccount](s.as(who, "POST", "/v1/vault/accounts", fmt.Sprintf(`{"name":"vault %d"}`, n), header("Request-Id", fmt.Sprintf("mine-%d", n/3))), 201)
	}
	s.userWith("compliance-1", "compliance_officer")
	list := func(query url.Values) api.AuditEntryList {
		return is[api.AuditEntryList](s.as("viewer", "GET", "/v1/audit?"+query.Encode(), ""), 200)
	}
	require.Eventually(t, func() bool { return list(url.Values{"action": {"credential.created"}}).Pagination.Total > 0 }, patience, poll)
	page := func(query url.Values) (out []api.AuditEntry) {
		query = url.Values{"limit": {"5"}, "to": {time.Now().UTC().Add(time.Hour).Format(time.RFC3339)}, "from": query["from"],
			"actor": query["actor"], "action": query["action"], "resource_type": query["resource_type"], "resource_id": query["resource_id"], "request_id": query["request_id"]}
		for {
			l := list(query)
			out = append(out, l.Data...)
			if l.Pagination.NextCursor == nil {
				require.Len(t, out, l.Pagination.Total)
				break
			}
			query.Set("cursor", *l.Pagination.NextCursor)
		}
		query.Del("cursor")
		query.Set("offset", "2")
		from := list(query).Data
		require.Equal(t, out[min(2, len(out)):min(7, len(out))], slices.Clip(from), "by offset")
		return out
	}
	all := page(url.Values{})
	require.Greater(t, len(all), 12)
	for i, e := range all {
		require.EqualValues(t, len(all)-i, e.Seq, "newest first, each once")
	}
	one := all[slices.IndexFunc(all, func(e api.AuditEntry) bool { return e.RequestID == "mine-2" && e.ActorID == "admin" })]
	for name, is := range map[string]func(api.AuditEntry) bool{
		"actor":         func(e api.AuditEntry) bool { return e.ActorID == one.ActorID },
		"action":        func(e api.AuditEntry) bool { return e.Action == one.Action },
		"resource_type": func(e api.AuditEntry) bool { return e.ResourceType == one.ResourceType },
		"resource_id":   func(e api.AuditEntry) bool { return e.ResourceID == one.ResourceID },
		"request_id":    func(e api.AuditEntry) bool { return e.RequestID == one.RequestID },
	} {
		value := map[string]string{"actor": one.ActorID, "action": one.Action, "resource_type": one.ResourceType, "resource_id": one.ResourceID, "request_id": one.RequestID}[name]
		want := slices.DeleteFunc(slices.Clone(all), func(e api.AuditEntry) bool { return !is(e) })
		require.NotEmpty(t, want)
		require.Equal(t, want, page(url.Values{name: {value}}), name)
	}
	at := one.CreatedAt.Truncate(time.Second)
	within := list(url.Values{"from": {at.Format(time.RFC3339)}, "to": {at.Add(time.Second).Format(time.RFC3339)}, "limit": {"200"}}).Data
	require.Equal(t, slices.DeleteFunc(slices.Clone(all), func(e api.AuditEntry) bool { return e.CreatedAt.Before(at) || !e.CreatedAt.Before(at.Add(time.Second)) }), within)
	require.Len(t, page(url.Values{"actor": {one.ActorID}, "action": {one.Action}, "resource_type": {one.ResourceType}, "resource_id": {one.ResourceID}, "request_id": {one.RequestID}}), 1)
	require.Empty(t, list(url.Values{"actor": {"nobody"}}).Data)
	s.as("viewer", "GET", "/v1/audit?cursor=nonsense", "").fails(400, 1108)
	s.as("viewer", "GET", "/v1/audit?from=yesterday", "").fails(400, 1100)
}
