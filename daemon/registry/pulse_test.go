package registry_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// cable is the way to etcd. Cut, it swallows what it is given, both ways, and
// tells neither end: what a firewall that forgot a connection does.
type cable struct {
	net.Listener
	to  string
	mu  sync.Mutex
	cut bool
}

func newCable(t *testing.T, to string) *cable {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cable{Listener: l, to: to}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			t.Cleanup(func() { in.Close(); out.Close() })
			go c.carry(out, in)
			go c.carry(in, out)
		}
	}()
	return c
}

func (c *cable) carry(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		c.mu.Lock()
		cut := c.cut
		c.mu.Unlock()
		if cut {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// An appliance whose way to the store is dead, without either end being told,
// does not go on honouring a key that was revoked elsewhere.
func TestAKeyRevokedBehindACutCableIsNotHonoured(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	here, _ := h.serve()
	admin := h.admin(here)
	_, viewer := h.person(here, admin, "reader", registry.Viewer)
	key, c, err := here.CreateCredential(t.Context(), admin, registry.CredentialSpec{UserID: viewer.UserID}, nil)
	require.NoError(t, err)

	wire := newCable(t, strings.TrimPrefix(h.etcd.Endpoint(), "https://"))
	cfg := h.etcd.ClientConfig(store.UserServe)
	cfg.Endpoints = []string{"https://" + wire.Addr().String()}
	there, _ := h.open(func(d *registry.Deps) { d.Store = h.etcd.OpenConfig(cfg) })
	require.NoError(t, there.WaitReady(soon(t)))
	require.Eventually(t, func() bool { _, err := there.Authenticate(t.Context(), key); return err == nil }, waitLimit, waitStep)

	wire.mu.Lock()
	wire.cut = true
	wire.mu.Unlock()
	_, err = here.RevokeCredential(t.Context(), admin, c.ID, nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := there.Authenticate(t.Context(), key); return err != nil }, waitLimit, waitStep)
	_, err = there.Authenticate(t.Context(), key)
	require.ErrorIs(t, err, store.ErrUnavailable, "it does not know, and says so")
	_, err = there.Authenticate(t.Context(), "qcs_test_nonsense")
	refused(t, err, registry.Unauthorized)

	wire.mu.Lock()
	wire.cut = false
	wire.mu.Unlock()
	require.Eventually(t, func() bool {
		_, err := there.Authenticate(t.Context(), key)
		var r *registry.Refusal
		return errors.As(err, &r) && r.Type == registry.APIKeyRevoked
	}, waitLimit, waitStep)
}
