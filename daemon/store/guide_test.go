package store_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mintwarden/mintwarden/daemon/metrics/guidetest"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// The guide's page "etcd read-only", command by command, with Debian's etcdctl: an etcd that reached its quota is
// found by the first two, and takes writes again after the others, with everything in it that was not deleted.
func TestGuideEtcdReadOnly(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // etcdctl goes by the address that the member tells, port 0 is none
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	srv := storetest.Start(t, func(c *store.EmbeddedConfig) { c.QuotaBytes, c.Addr = 16<<20, address })
	f := &filled{Store: srv.OpenConfig(srv.ClientConfig(store.UserServe)), srv: srv, t: t}
	for range 100 { // the same key again and again: history, which compaction takes
		f.n = 0
		if err := f.write(); err != nil {
			t.Fatal(err)
		}
	}
	for err == nil {
		f.n = 0
		err = f.write()
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("a write to a full etcd: %v", err)
	}
	f.eventually("the alarm", func(s store.Space) bool { return s.Full })

	said := make([]string, 0, 4)
	for _, command := range guidetest.Commands(t, "etcd read-only") {
		cmd := exec.Command("sh", "-c", command)
		// What the page has as flags for the embedded etcd, etcdctl reads from the environment as well.
		cmd.Env = append(os.Environ(), "ETCDCTL_ENDPOINTS="+srv.Endpoint(), "ETCDCTL_CACERT="+srv.Config.CAFile,
			"ETCDCTL_CERT="+srv.Config.RootCert, "ETCDCTL_KEY="+srv.Config.RootKey)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		said = append(said, string(out))
	}
	if len(said) != 4 || !strings.Contains(said[0], "NOSPACE") || !strings.Contains(said[1], "NOSPACE") {
		t.Errorf("etcdctl said %q", said)
	}
	f.eventually("disarmed", func(store.Space) bool { return f.Room() == nil })
	if _, _, ok, err := f.Get(t.Context(), store.TokenPrefix+"1"); err != nil || !ok {
		t.Errorf("what was in it: %v %v", ok, err)
	}
	if err := f.write(); err != nil {
		t.Errorf("a write afterwards: %v", err)
	}
}
