package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/metrics/guidetest"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// guided runs a command of the guide in this program; more is what a test has in the place of a terminal.
func (s *site) guided(command string, more ...string) result {
	s.t.Helper()
	words := strings.Fields(command)
	require.Equal(s.t, "mintwarden", words[0], command)
	return mintwarden(s.t, append(words[1:], more...)...)
}

// TestGuideEtcdRestored: the guide's page, command by command. etcd is stopped and comes back as it was before the
// seal's newest batch: the seal refuses it, says so by the metric that the page's alert goes by, and goes on once
// enough custodians accepted what is lost.
func TestGuideEtcdRestored(t *testing.T) {
	commands := guidetest.Commands(t, "etcd restored")
	require.Len(t, commands, 4)
	require.Equal(t, "systemctl restart mintwarden", commands[3], "no serve runs at this site")
	s := newSite(t)
	s.start()
	got := s.init(nil, s.filed()...)
	require.Equal(t, exitDone, got.code, got.err)
	root := s.begun()

	s.etcdServer.Close()
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	copyTree(t, s.etcdServer.Config.Dir, snapshot)
	s.etcdServer.Restart()
	s.await(func(st *seal.Status) bool { return st.Author != "" })
	wallet := s.furnish(func(c *policy.Charter) { c.Groups["desk"] = []string{"ann"} })
	require.Len(t, s.batches(), 3)
	s.stop()
	s.etcdServer.Close()
	require.NoError(t, os.RemoveAll(s.etcdServer.Config.Dir))
	copyTree(t, snapshot, s.etcdServer.Config.Dir)
	s.etcdServer.Restart()
	require.Len(t, s.batches(), 1, "the store is the older one")

	s.start()
	s.unsealBy(root, "carol", "erin")
	s.await(func(st *seal.Status) bool { return st.Doubt != nil && st.Doubt.Known != nil })
	metrics, err := s.door().Metrics(t.Context())
	require.NoError(t, err)
	require.Regexp(t, `mintwarden_seal_noticed_total\{what="store_(behind|forked)"\} [1-9]`, metrics.Text)
	api := s.api(root)
	got = mintwarden(t, "charter", "show", "--next")
	require.Equal(t, exitDone, got.code, got.err)

	document := []string{"recover.json", s.path("recover.json")}
	socket := append([]string{"/run/mintwarden-seal/seal.sock", s.path("seal.sock")}, document...)
	first := guidetest.Fill(t, commands[0], append([]string{"MY.key", s.path("carol.key")}, socket...)...)
	got = s.guided(first, "--yes") // at a terminal she reads what is lost, and says yes; without one she names what she read
	require.Equal(t, exitUsage, got.code, got.err)
	require.Contains(t, got.out, "goes on from batch 1")
	read := []string{"--yes", "--expect-digest", string(policy.DigestOf([]byte(s.read("recover.json" + draftEnding))))}
	got = s.guided(first, read...)
	require.Equal(t, exitDone, got.code, got.err)
	got = s.guided(guidetest.Fill(t, commands[1], append([]string{"MY.key", s.path("dave.key")}, document...)...), read...)
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "That is enough")
	got = s.guided(guidetest.Fill(t, commands[2], socket...))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "Recovered: batch 2")

	s.await(func(st *seal.Status) bool { return !st.Sealed && st.Doubt == nil && st.Author != "" })
	fold := ledger.NewFold(root)
	for _, value := range s.batches() {
		_, err := fold.Apply(value)
		require.NoError(t, err)
	}
	require.Equal(t, uint64(2), fold.Epoch())
	require.Zero(t, fold.NextNonce(wallet), "the wallet is among what was lost")
	api.mu.Lock()
	api.values = s.batches()
	api.mu.Unlock()
	s.furnish(func(c *policy.Charter) { c.Groups["desk"] = []string{"bob"} }) // the same again, and nothing refuses it
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	require.NoError(t, err, string(out))
}
