package sealed

import (
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var updateDependencies = flag.Bool("update-dependencies", false, "write the list of linked packages anew")

// TestDependencies holds what is linked into mintwarden-seal to the list that
// was reviewed. After a wanted change, write the new list with
//
//	go test ./policy/sealed -run TestDependencies -update-dependencies
func TestDependencies(t *testing.T) {
	list := func(format string) []string {
		out, err := exec.Command("go", "list", "-deps", "-f", format, "github.com/mintwarden/mintwarden/cmd/mintwarden-seal").Output()
		require.NoError(t, err)
		have := strings.Fields(string(out))
		slices.Sort(have)
		return have
	}
	have := list("{{if not .Standard}}{{.ImportPath}}{{end}}")
	for _, p := range list("{{if .Standard}}{{.ImportPath}}{{end}}") {
		require.NotContains(t, []string{"net/http/pprof", "net/rpc", "net/http/cgi", "plugin"}, p, "the seal must not link it")
	}
	if *updateDependencies {
		require.NoError(t, os.WriteFile("testdata/dependencies.txt", []byte(strings.Join(have, "\n")+"\n"), 0o644))
	}
	want, err := os.ReadFile("testdata/dependencies.txt")
	require.NoError(t, err)
	require.Equal(t, strings.Fields(string(want)), have)
	for _, p := range have {
		for _, banned := range []string{"github.com/gin-gonic/", "github.com/ethereum/go-ethereum/rpc", "github.com/ethereum/go-ethereum/core",
			"github.com/ethereum/go-ethereum/node", "github.com/ethereum/go-ethereum/p2p", "github.com/ethereum/go-ethereum/trie",
			"github.com/prometheus/client_golang/prometheus/promhttp", "github.com/mintwarden/mintwarden/chain/devnet", "github.com/mintwarden/mintwarden/hsm/softhsm",
			"github.com/ethereum/go-ethereum/ethclient", "github.com/ethereum/go-ethereum/accounts/abi/bind",
			"go.etcd.io/etcd/server/", "github.com/mintwarden/mintwarden/daemon", "github.com/mintwarden/mintwarden/api"} {
			require.False(t, strings.HasPrefix(p, banned), "the seal must not link %s", p)
		}
	}
}
