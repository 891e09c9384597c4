package daemon_test

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// house is the table of rooms: what each package of ours may import of ours.
// A package that is not listed has no room and fails the test.
var house = map[string][]string{
	"cmd/mintwardend":     {"daemon", "systemd/journal", "daemon/dev", "chain/devnet", "chain/devnet/geth"},
	"cmd/mintwarden-seal": {"policy/sealed", "systemd/journal"},
	"cmd/mintwarden": {"api/client", "policy", "policy/ledger", "policy/seal", "chain/tx", "chain/qrc20",
		"daemon/audit", "daemon/pki", "hsm"},
	"cmd/demo": {"api/client"},
	"api": {"daemon/trace", "daemon/operation", "daemon/registry", "daemon/audit", "daemon/audit/log", "daemon/webhook",
		"daemon/reconciliation", "daemon/store", "policy", "policy/ledger", "policy/seal", "chain/qrc20"},
	"api/client":  {},
	"api/apitest": {"api"}, // holds answers against the document, in tests
	"daemon": {"api", "daemon/audit", "daemon/audit/log", "daemon/backup", "daemon/callback", "daemon/config", "daemon/link", "daemon/metrics",
		"daemon/operation", "daemon/reconciliation", "daemon/registry", "daemon/store", "daemon/webhook",
		"daemon/trace", "policy", "policy/ledger", "policy/seal", "chain"},
	"daemon/config": {},
	"daemon/dev": {"daemon", "daemon/config", "daemon/pki", "daemon/store", "daemon/registry", "api/client",
		"policy", "policy/seal", "hsm/softhsm", "chain/devnet"},
	"daemon/link":                    {"daemon/trace", "policy", "policy/ledger", "policy/seal"},
	"daemon/pki":                     {},
	"daemon/store":                   {"daemon/audit", "daemon/packed"},
	"daemon/disk":                    {},
	"daemon/packed":                  {},
	"daemon/backup":                  {"daemon/store", "daemon/disk", "daemon/pki", "policy", "policy/ledger"},
	"daemon/archive":                 {"daemon/store", "daemon/audit", "daemon/disk"},
	"daemon/store/storetest":         {"daemon/store", "daemon/pki"}, // tests' own etcd
	"daemon/registry":                {"daemon/store", "daemon/audit", "policy", "policy/ledger", "policy/seal", "chain", "chain/qrc20", "chain/qrc20/bindings"},
	"daemon/operation":               {"daemon/trace", "daemon/store", "daemon/packed", "daemon/archive", "daemon/audit", "daemon/registry", "chain", "chain/tx", "chain/qrc20", "policy", "policy/ledger", "policy/seal"},
	"daemon/reconciliation":          {"daemon/store", "daemon/audit", "daemon/registry", "daemon/operation", "chain", "chain/qrc20", "chain/qrc20/bindings", "policy/seal"},
	"daemon/callback":                {"daemon/store", "daemon/audit", "daemon/registry", "daemon/operation", "chain/tx", "policy", "policy/seal"},
	"daemon/callback/callbacktest":   {"chain/tx", "chain/qrc20"},                                                                                                         // tests' own Qustody
	"daemon/operation/operationtest": {"daemon/store", "daemon/store/storetest", "policy", "policy/seal", "hsm/softhsm", "chain/tx", "chain/devnet", "chain/devnet/geth"}, // tests' own chain and seal
	"daemon/audit":                   {},
	"daemon/audit/log":               {"daemon/store", "daemon/audit", "daemon/disk", "daemon/packed", "policy/seal"},
	"daemon/webhook":                 {"daemon/store", "daemon/archive", "daemon/audit", "daemon/packed"},
	"daemon/metrics":                 {},
	"daemon/trace":                   {},
	"daemon/metrics/picture":         {}, // the README's
	"daemon/metrics/guidetest":       {}, // tests' guide
	"daemon/trace/tracetest":         {}, // tests' own collector
	"policy":                         {"chain/tx", "chain/qrc20"},
	"policy/policytest":              {}, // how long tests are
	"policy/ledger":                  {"policy"},
	"policy/seal":                    {"policy"},
	"policy/sealed":                  {"policy", "policy/ledger", "policy/seal", "hsm", "chain/tx", "chain/qrc20"},
	"hsm":                            {},
	"hsm/softhsm":                    {"hsm"},
	"chain":                          {"chain/tx", "chain/qrc20", "chain/qrc20/bindings"},
	"chain/tx":                       {"chain/tx/quantum", "chain/tx/evm"},
	"chain/tx/quantum":               {},
	"chain/tx/evm":                   {},
	"chain/qrc20":                    {},
	"chain/qrc20/bindings":           {"chain/qrc20"},
	"chain/devnet":                   {"chain/tx"},
	"chain/chaintest":                {}, // a node that misbehaves, for tests
	"chain/devnet/geth":              {}, // kind evm's counterpart: go-ethereum's own node
	"systemd":                        {},
	"systemd/journal":                {}, // how grave a line of our log is, as the journal has it
}

// types that everybody may name: an address, a hash, an amount. They are pure
// values, and a room that is allowed a package whose signatures speak of them
// must be able to write them down.
var values = []string{"chain/tx"}

const module = "github.com/mintwarden/mintwarden/"

func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	decoder := jsontext.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := json.UnmarshalDecode(decoder, &p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		room := strings.TrimPrefix(p.ImportPath, module)
		allowed, ok := house[room]
		if !ok && strings.Contains(room, "/internal/") {
			allowed, ok = house[room[:strings.Index(room, "/internal/")]]
		}
		if !ok {
			t.Errorf("%s has no room in the house", room)
			continue
		}
		seen++
		for _, i := range p.Imports {
			of, ours := strings.CutPrefix(i, module)
			if !ours || slices.Contains(allowed, of) || slices.Contains(values, of) ||
				strings.HasPrefix(of, room+"/internal/") {
				continue
			}
			t.Errorf("%s imports %s, which its row does not allow", room, of)
		}
	}
	if seen < 10 {
		t.Errorf("only %d rooms were looked at", seen)
	}
}
