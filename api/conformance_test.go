package api_test

import (
	"encoding/json/v2"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
)

// provoked is what the tests of this package got as answers, each of which was
// held against the document when it came.
var provoked = struct {
	sync.Mutex
	statuses map[string]map[int]bool // by operationId
	codes    map[int]bool            // of errors
}{statuses: map[string]map[int]bool{}, codes: map[int]bool{}}

// TestMain holds the document against the running server in the direction that
// no single test can: what it documents, a route's status or an error's code,
// and no test got as an answer, is a promise that nobody ever saw kept.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	tests.leave()
	if everything() {
		for _, gap := range gaps() {
			fmt.Fprintln(os.Stderr, "documented and never provoked:", gap)
			code = 1
		}
	}
	os.Exit(code)
}

// everything tells whether all tests ran.
func everything() bool {
	for _, f := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if flag.Lookup(f).Value.String() != "" {
			return false
		}
	}
	return flag.Lookup("test.count").Value.String() != "0"
}

// elsewhere is what needs a seal that signs checkpoints, a contract that
// somebody else deployed, or a chain that changes its mind between two questions;
// the tests named provoke it.
var elsewhere = map[string]string{
	"200 of GET /v1/token-operations/{operationId}/receipt (getTokenOperationReceipt)": "daemon/dev, TestReceipts",
	"200 of GET /v1/audit/{auditId}/receipt (getAuditReceipt)":                         "daemon/dev, TestReceipts",
	"201 of POST /v1/tokens/import (importToken)":                                      "daemon/dev, TestImport",
	"200 of GET /v1/tokens/{tokenId}/binding (getTokenBinding)":                        "daemon/dev, TestImport",
	"200 of POST /v1/tokens/{tokenId}/binding/sign (signTokenBinding)":                 "daemon/dev, TestImport",
}

// specification is the document, which no test changes.
var specification = sync.OnceValues(api.OpenAPI)

func gaps() (out []string) {
	spec, err := specification()
	if err != nil {
		return []string{err.Error()}
	}
	provoked.Lock()
	defer provoked.Unlock()
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if n, _ := strconv.Atoi(status); !provoked.statuses[op.OperationID][n] {
					out = append(out, fmt.Sprintf("%s of %s %s (%s)", status, method, path, op.OperationID))
				}
			}
		}
	}
	for code, statuses := range errorTable() {
		if len(statuses) > 0 && !provoked.codes[code] {
			out = append(out, fmt.Sprintf("error code %d", code))
		}
	}
	out = slices.DeleteFunc(out, func(gap string) bool { return elsewhere[gap] != "" })
	slices.Sort(out)
	return out
}

// errorTable is the document's: the statuses of each code, none of one that is
// never an answer.
var errorTable = sync.OnceValue(func() map[int][]int {
	spec, err := specification()
	if err != nil {
		return nil
	}
	row := regexp.MustCompile(`(?m)^\| (\d{4}) \| [A-Z_]+ \| ([^|]+) \|$`)
	out := map[int][]int{}
	for _, m := range row.FindAllStringSubmatch(spec.Info.Description, -1) {
		code, _ := strconv.Atoi(m[1])
		out[code] = []int{}
		for _, s := range regexp.MustCompile(`\b\d{3}\b`).FindAllString(m[2], -1) {
			status, _ := strconv.Atoi(s)
			out[code] = append(out[code], status)
		}
	}
	return out
})

// got notes an answer that the document's schema admits, and holds its code
// against the document's table. operation is empty for a path that is not in
// the document.
func (a answer) got(operation string) {
	a.t.Helper()
	code := 0
	if a.status >= 400 {
		var e api.ErrorEnvelope
		require.NoError(a.t, json.Unmarshal(a.body, &e, json.RejectUnknownMembers(true)), "%s", a.body)
		code = e.Error.Code
		require.Contains(a.t, errorTable()[code], a.status, "the document's table does not have %d with this code: %s", a.status, a.body)
	}
	provoked.Lock()
	defer provoked.Unlock()
	if operation != "" {
		if provoked.statuses[operation] == nil {
			provoked.statuses[operation] = map[int]bool{}
		}
		provoked.statuses[operation][a.status] = true
	}
	if code != 0 {
		provoked.codes[code] = true
	}
}
