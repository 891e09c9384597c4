package daemon

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// follow keeps the box's end as its files are.
func (b *box) follow(t *testing.T) *reloader {
	t.Helper()
	r, err := b.link.follow(&parts{reg: b.reg, log: slog.New(slog.DiscardHandler), cfg: &config.Config{Appliance: b.id, Link: b.files}})
	require.NoError(t, err)
	return r
}

// put writes what a box goes by: roots, and a pair of ca for it.
func (b *box) put(t *testing.T, ca *pki.CA, roots ...*pki.CA) {
	t.Helper()
	var all []byte
	for _, r := range roots {
		all = append(all, r.Pair().Certificate...)
	}
	p, err := ca.IssueServer(appliancePrefix+b.id, []string{"127.0.0.1"}, pki.MLDSA65)
	require.NoError(t, err)
	for path, text := range map[string][]byte{b.files.Cert: p.Certificate, b.files.Key: p.Key, b.files.CA: all} {
		require.NoError(t, os.WriteFile(path, text, 0o600))
	}
}

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
	reloaders := []*reloader{one.follow(t), two.follow(t)}
	reload := func() {
		t.Helper()
		for _, r := range reloaders {
			r.reload()
			require.Zero(t, testutil.ToFloat64(r.failed), r.said)
		}
	}
	talk := func(op string) {
		t.Helper()
		_, err := two.door.Cancel(t.Context(), op, "why")
		require.NoError(t, err, op)
	}
	old := one.ends.client("appliance-1") // as somebody who kept the old pair of appliance-2
	old.Certificates = []tls.Certificate{two.ends.pair}
	keeper := &http.Client{Transport: &http.Transport{TLSClientConfig: old}}
	defer keeper.CloseIdleConnections()
	ask := func() (int, error) {
		body, err := newMessage(seal.OpCancel, seal.CancelRequest{OperationID: "op_kept", Reason: "why"})
		require.NoError(t, err)
		resp, err := keeper.Post(one.url+linkPath, linkType, bytes.NewReader(body))
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
		b.put(t, w.ca, w.ca, next)
	}
	reload()
	talk("op_1")
	two.put(t, next, w.ca, next) // one end is first
	reload()
	talk("op_2")
	one.put(t, next, w.ca, next)
	reload()
	talk("op_3")
	status, err = ask()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "the old root is trusted still")
	for _, b := range []*box{one, two} {
		b.put(t, next, next)
	}
	reload()
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

// What cannot be taken changes nothing: another appliance's pair, half a pair, a root that issues to people.
func TestTheLinkGoesOnWithWhatItHas(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	one, two := w.box("appliance-1"), w.box("appliance-2")
	one.knows(two)
	two.knows(one)
	two.follows("appliance-1")
	r := two.follow(t)
	before := two.link.ends.Load()
	p, err := w.ca.IssueServer(appliancePrefix+"appliance-1", []string{"127.0.0.1"}, pki.MLDSA65)
	require.NoError(t, err)
	for says, texts := range map[string]map[string][]byte{
		"appliance:appliance-1": {two.files.Cert: p.Certificate, two.files.Key: p.Key},
		"link.cert":             {two.files.Key: []byte("half written")},
		"link.ca":               {two.files.CA: []byte("nothing")},
	} {
		t.Run(says, func(t *testing.T) {
			two.put(t, w.ca, w.ca)
			r.reload()
			before = two.link.ends.Load()
			for path, text := range texts {
				require.NoError(t, os.WriteFile(path, text, 0o600))
			}
			r.reload()
			require.EqualValues(t, 1, testutil.ToFloat64(r.failed))
			require.Contains(t, r.said, says)
			require.Same(t, before, two.link.ends.Load())
			_, err := two.door.Cancel(t.Context(), "op_1", "why")
			require.NoError(t, err)
		})
	}
}

// A certificate that ended is believed by neither end, however long the connection has been there.
func TestALinkCertificateEndsOnALiveConnection(t *testing.T) {
	w := newTown(t, "appliance-1")
	one := w.box("appliance-1")
	shown := []*x509.Certificate{one.ends.pair.Leaf}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		require.NoError(t, one.ends.trusts(shown, use, time.Now()))
		require.ErrorContains(t, one.ends.trusts(shown, use, shown[0].NotAfter.Add(time.Second)), "expired")
	}
	h := &linkHandler{id: "appliance-2", law: one.link.handler.law, ends: one.link.ends.Load}
	peer, err := h.peer(&http.Request{TLS: &tls.ConnectionState{PeerCertificates: shown}})
	require.NoError(t, err)
	require.Equal(t, "appliance-1", peer)
	foreign, err := pki.NewCA("appliances", pki.MLDSA65)
	require.NoError(t, err)
	one.put(t, foreign, foreign)
	e, err := openEnds(one.files, "appliance-1", nil)
	require.NoError(t, err)
	one.link.ends.Store(e)
	_, err = h.peer(&http.Request{TLS: &tls.ConnectionState{PeerCertificates: shown}})
	require.ErrorContains(t, err, "unknown authority")
}
