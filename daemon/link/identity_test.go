package link

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// From one root to another on two appliances that go on talking: a request that is under way comes to its end
// whatever is replaced meanwhile, each next one is answered, and at the end the old root's pairs are heard no more,
// not even on a connection that was there before.
func TestTheLinksRootIsReplacedWhileItTalks(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	one, two := w.box("appliance-1"), w.box("appliance-2")
	one.knows(two)
	two.knows(one)
	two.follows("appliance-1")
	next, err := pki.NewCA("appliances, next", pki.MLDSA65)
	require.NoError(t, err)
	talk := func(op string) {
		t.Helper()
		_, err := two.door.Cancel(t.Context(), op, "why")
		require.NoError(t, err, op)
	}
	old := one.link.Identity().client("appliance-1") // as somebody who kept the old pair of appliance-2
	old.Certificates = []tls.Certificate{two.link.Identity().pair}
	keeper := &http.Client{Transport: &http.Transport{TLSClientConfig: old}}
	defer keeper.CloseIdleConnections()
	ask := func() (int, error) {
		body, err := newMessage(seal.OpCancel, seal.CancelRequest{OperationID: "op_kept", Reason: "why"})
		require.NoError(t, err)
		resp, err := keeper.Post(one.url+path, contentType, bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	status, err := ask()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)

	one.seal.came, one.seal.goes = make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(one.seal.goes) })
	t.Cleanup(release)
	underWay := make(chan error, 1)
	go func() {
		_, err := two.door.Cancel(t.Context(), "op_waits", "held")
		underWay <- err
	}()
	<-one.seal.came

	for _, b := range []*box{one, two} { // both roots are trusted everywhere
		b.link.Take(w.identity(b.id, w.ca, w.ca, next))
	}
	talk("op_1")
	two.link.Take(w.identity(two.id, next, w.ca, next)) // one end is first
	talk("op_2")
	one.link.Take(w.identity(one.id, next, w.ca, next))
	talk("op_3")
	status, err = ask()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "the old root is trusted still")
	for _, b := range []*box{one, two} {
		b.link.Take(w.identity(b.id, next, next))
	}
	talk("op_4")

	release()
	require.NoError(t, <-underWay, "a request that was under way was cut off")
	status, err = ask()
	require.NoError(t, err, "the connection was there before")
	require.Equal(t, http.StatusForbidden, status)
	keeper = &http.Client{Transport: &http.Transport{TLSClientConfig: old.Clone()}} // with no connection yet
	defer keeper.CloseIdleConnections()
	_, err = ask()
	require.Error(t, err, "a pair of the old root is let in")
	require.Subset(t, one.seal.heard(), []string{"cancel op_1", "cancel op_2", "cancel op_3", "cancel op_4", "cancel op_waits"})
}

// A certificate that ended is believed by neither end, however long the connection has been there.
func TestALinkCertificateEndsOnALiveConnection(t *testing.T) {
	w := newTown(t, "appliance-1")
	one := w.box("appliance-1")
	by := one.link.Identity()
	shown := []*x509.Certificate{by.Certificate()}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		require.NoError(t, by.trusts(shown, use, time.Now()))
		require.ErrorContains(t, by.trusts(shown, use, shown[0].NotAfter.Add(time.Second)), "expired")
	}
	h := &handler{id: "appliance-2", law: one.link.handler.law, identity: one.link.Identity}
	peer, err := h.peer(&http.Request{TLS: &tls.ConnectionState{PeerCertificates: shown}})
	require.NoError(t, err)
	require.Equal(t, "appliance-1", peer)
	foreign, err := pki.NewCA("appliances", pki.MLDSA65)
	require.NoError(t, err)
	one.link.Take(w.identity(one.id, foreign, foreign))
	_, err = h.peer(&http.Request{TLS: &tls.ConnectionState{PeerCertificates: shown}})
	require.ErrorContains(t, err, "unknown authority")
}
