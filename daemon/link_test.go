package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// put writes texts to files.
func put(t *testing.T, texts map[string][]byte) {
	t.Helper()
	for path, text := range texts {
		require.NoError(t, os.WriteFile(path, text, 0o600))
	}
}

// linkFiles names the files of a link in a new directory.
func linkFiles(t *testing.T) config.Link {
	dir := t.TempDir()
	return config.Link{Listen: "127.0.0.1:0", Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "ca"),
		Peers: map[string]string{"appliance-2": "https://127.0.0.1:1"}}
}

// issued are the files' texts: a pair of ca for that appliance, and ca.
func issued(t *testing.T, c config.Link, ca *pki.CA, appliance string) map[string][]byte {
	t.Helper()
	p, err := ca.IssueServer("appliance:"+appliance, []string{"127.0.0.1"}, pki.MLDSA65)
	require.NoError(t, err)
	return map[string][]byte{c.Cert: p.Certificate, c.Key: p.Key, c.CA: ca.Pair().Certificate}
}

// The link goes by its files as they become; what cannot be taken (another appliance's pair, half a pair, a root that
// is none) changes nothing.
func TestTheLinkGoesOnWithWhatItHas(t *testing.T) {
	ca, err := pki.NewCA("appliances", pki.MLDSA65)
	require.NoError(t, err)
	c := linkFiles(t)
	put(t, issued(t, c, ca, "appliance-1"))
	p := &parts{reg: prometheus.NewRegistry(), log: slog.New(slog.DiscardHandler), cfg: &config.Config{Appliance: "appliance-1", Link: c}}
	p.seal, err = seal.Dial(t.Context(), filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	t.Cleanup(p.close)
	door, err := p.openLink()
	require.NoError(t, err)
	require.NotSame(t, p.seal, door)
	r, err := p.followLink()
	require.NoError(t, err)
	another := issued(t, c, ca, "appliance-2")
	for says, texts := range map[string]map[string][]byte{
		"appliance:appliance-2": {c.Cert: another[c.Cert], c.Key: another[c.Key]},
		"link.cert":             {c.Key: []byte("half written")},
		"link.ca":               {c.CA: []byte("nothing")},
	} {
		t.Run(says, func(t *testing.T) {
			before := p.link.Identity()
			next, err := pki.NewCA("appliances, next", pki.MLDSA65)
			require.NoError(t, err)
			put(t, issued(t, c, next, "appliance-1"))
			r.reload()
			require.Zero(t, testutil.ToFloat64(r.failed), r.said)
			now := p.link.Identity()
			require.NotSame(t, before, now)
			require.Equal(t, "appliances, next", now.Roots()[0].Subject.CommonName)
			put(t, texts)
			r.reload()
			require.EqualValues(t, 1, testutil.ToFloat64(r.failed))
			require.Contains(t, r.said, says)
			require.Same(t, now, p.link.Identity())
		})
	}
}

func TestAPairThatIsAnothersIsRefused(t *testing.T) {
	ca, err := pki.NewCA("appliances", pki.MLDSA65)
	require.NoError(t, err)
	c := linkFiles(t)
	put(t, issued(t, c, ca, "appliance-2"))
	_, err = readIdentity(c, "appliance-1", nil)
	require.ErrorContains(t, err, "appliance:appliance-2")
	put(t, issued(t, c, ca, "appliance-1"))
	people, err := pki.NewCA("people", pki.ECDSAP256)
	require.NoError(t, err)
	clients := filepath.Join(t.TempDir(), "clients")
	put(t, map[string][]byte{clients: people.Pair().Certificate})
	_, err = readIdentity(c, "appliance-1", []string{clients})
	require.NoError(t, err)
	put(t, map[string][]byte{clients: append(people.Pair().Certificate, ca.Pair().Certificate...)})
	_, err = readIdentity(c, "appliance-1", []string{clients})
	require.ErrorContains(t, err, "a root of their own", "who issues to people issues to appliances")
	put(t, map[string][]byte{c.CA: []byte("no certificate")})
	_, err = readIdentity(c, "appliance-1", nil)
	require.ErrorContains(t, err, "link.ca")
	c.Cert = filepath.Join(t.TempDir(), "absent")
	_, err = readIdentity(c, "appliance-1", nil)
	require.ErrorContains(t, err, "link.cert")
}
