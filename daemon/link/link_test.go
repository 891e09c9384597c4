package link

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func TestTheAuthorIsAskedAndItsAnswerComesBack(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	one, two := w.box("appliance-1"), w.box("appliance-2")
	one.knows(two)
	two.knows(one)
	two.follows("appliance-1")
	r, err := two.door.Cancel(t.Context(), "op_1", "why")
	require.NoError(t, err)
	require.EqualValues(t, 7, r.Sequence)
	e := w.envelope(policy.DocDecision, []byte(`{"a":1}`))
	r, err = two.door.Decide(t.Context(), e)
	require.NoError(t, err)
	require.EqualValues(t, 8, r.Sequence)
	require.Equal(t, []string{"cancel op_1", `decide {"a":1}`}, one.seal.heard())
	require.Empty(t, two.seal.heard())
	_, err = two.door.Cancel(t.Context(), "op_1", "refuse")
	kind, _ := seal.KindOf(err)
	require.Equal(t, seal.KindConflict, kind, "the author's refusal is the answer")
	_, err = two.door.Settle(t.Context(), seal.SettleRequest{})
	kind, _ = seal.KindOf(err)
	require.Equal(t, seal.KindInvalid, kind)
	st, err := two.door.Status(t.Context())
	require.Error(t, err, "how our own seal is, is asked of it alone: %v", st)
	require.NotContains(t, one.seal.heard(), "status")
	// Who is the author himself asks nobody.
	_, err = one.door.Cancel(t.Context(), "op_2", "why")
	require.NoError(t, err)
	require.Empty(t, two.seal.heard())
}

// A seal that is away or sealed does not stop what its appliance is in the
// middle of: a peer's seal, which has the same authority, is asked.
func TestWhileOurOwnSealIsAwayAPeerIsAsked(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	one, two := w.box("appliance-1"), w.box("appliance-2")
	two.knows(one)
	gone, err := seal.Dial(t.Context(), filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	socket := two.door.Client
	two.door.Client = gone
	_, err = two.door.Cancel(t.Context(), "op_1", "why")
	require.NoError(t, err)
	two.door.Client = socket
	two.seal.sealed = true
	_, err = two.door.Cancel(t.Context(), "op_2", "why")
	require.NoError(t, err)
	require.Equal(t, []string{"cancel op_1", "cancel op_2"}, one.seal.heard())
	one.seal.sealed = true
	_, err = two.door.Cancel(t.Context(), "op_3", "why")
	require.Equal(t, seal.KindSealed, kindOf(err), "nobody can")
}

func TestNobodyPassesOnTwice(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2", "appliance-3")
	one, two, three := w.box("appliance-1"), w.box("appliance-2"), w.box("appliance-3")
	for _, b := range []*box{one, two, three} {
		b.knows(one, two, three)
	}
	two.follows("appliance-1")
	one.follows("appliance-3") // it took over, and appliance-2 does not know yet
	_, err := two.door.Cancel(t.Context(), "op_1", "why")
	var told *seal.Error
	require.ErrorAs(t, err, &told)
	require.Equal(t, seal.KindNotAuthor, told.Kind)
	require.Equal(t, "appliance-3", told.Appliance)
	require.Empty(t, three.seal.heard(), "what came over the link is not passed on")
	// Between two turns our own seal took over.
	one.follows("appliance-2")
	two.follows("appliance-1")
	two.seal.once = true
	_, err = two.door.Cancel(t.Context(), "op_3", "why")
	require.NoError(t, err)
	require.Equal(t, []string{"cancel op_3"}, two.seal.heard())
}

// Whoever is not an appliance of the charter, or was suspended, is heard by
// nobody and asked by nobody.
func TestASuspendedOrUnknownApplianceIsRefused(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	one, two := w.box("appliance-1"), w.box("appliance-2")
	stranger := w.box("appliance-9")
	for _, b := range []*box{one, two, stranger} {
		b.knows(one, two, stranger)
	}
	stranger.follows("appliance-1")
	_, err := stranger.door.Cancel(t.Context(), "op_1", "why")
	require.ErrorIs(t, err, seal.ErrUnreachable)
	require.ErrorContains(t, err, "no appliance of the charter")
	two.follows("appliance-9")
	_, err = two.door.Cancel(t.Context(), "op_1", "why")
	require.Equal(t, seal.KindNotAuthor, kindOf(err))
	require.Empty(t, stranger.seal.heard())

	two.follows("appliance-1")
	_, err = two.door.Cancel(t.Context(), "op_2", "why")
	require.NoError(t, err)
	w.suspend("appliance-2")
	_, err = two.door.Cancel(t.Context(), "op_3", "why")
	require.ErrorIs(t, err, seal.ErrUnreachable)
	require.ErrorContains(t, err, "suspended")
	one.follows("appliance-2")
	_, err = one.door.Cancel(t.Context(), "op_4", "why")
	require.Equal(t, seal.KindNotAuthor, kindOf(err))
	require.Equal(t, []string{"cancel op_2"}, one.seal.heard())
	require.Empty(t, two.seal.heard())
}

func kindOf(err error) seal.Kind {
	k, _ := seal.KindOf(err)
	return k
}

// A peer's certificate is one of the appliances' root, names an appliance, and
// names the one that was meant.
func TestWhoAnswersOnTheLinkIsWhoWasMeant(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2", "appliance-3")
	one, two, three := w.box("appliance-1"), w.box("appliance-2"), w.box("appliance-3")
	two.knows(&box{id: "appliance-1", url: three.url})
	two.follows("appliance-1")
	_, err := two.door.Cancel(t.Context(), "op_1", "why")
	require.ErrorIs(t, err, seal.ErrUnreachable)
	require.ErrorContains(t, err, "appliance:appliance-3")
	require.Empty(t, three.seal.heard())

	foreign, err := pki.NewCA("somebody", pki.MLDSA65)
	require.NoError(t, err)
	body, err := newMessage(seal.OpCancel, seal.CancelRequest{OperationID: "op_1", Reason: "why"})
	require.NoError(t, err)
	post := func(t *testing.T, conf *tls.Config, path string, body []byte) (int, error) {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}}
		defer c.CloseIdleConnections()
		resp, err := c.Post(one.url+path, contentType, bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	client := func(t *testing.T, ca *pki.CA, name string) *tls.Config {
		t.Helper()
		return &tls.Config{RootCAs: two.link.Identity().pool, Certificates: []tls.Certificate{w.pair(ca, name)}}
	}
	for name, c := range map[string]struct {
		conf *tls.Config
		want int // 0: no connection
	}{
		"a peer":                   {client(t, w.ca, "appliance:appliance-2"), 200},
		"no certificate":           {&tls.Config{RootCAs: two.link.Identity().pool}, 0},
		"of another root":          {client(t, foreign, "appliance:appliance-2"), 0},
		"not an appliance's":       {client(t, w.ca, "appliance-2"), 403},
		"a person's":               {client(t, w.ca, "custodian-1"), 403},
		"our own":                  {client(t, w.ca, "appliance:appliance-1"), 403},
		"of nobody of the charter": {client(t, w.ca, "appliance:appliance-8"), 403},
	} {
		t.Run(name, func(t *testing.T) {
			status, err := post(t, c.conf, path, body)
			require.Equal(t, c.want, status, "%v", err)
			require.Equal(t, c.want == 0, err != nil)
		})
	}
	t.Run("TLS 1.2", func(t *testing.T) {
		conf := client(t, w.ca, "appliance:appliance-2")
		conf.MaxVersion = tls.VersionTLS12
		_, err := post(t, conf, path, body)
		require.Error(t, err)
	})
	peer := client(t, w.ca, "appliance:appliance-2")
	for name, c := range map[string]struct {
		path string
		body []byte
		want int
	}{
		"another path":   {"/v1/charter", body, 404},
		"too long":       {path, bytes.Repeat([]byte(" "), maxMessage+1), 413},
		"not JSON":       {path, []byte("{"), 400},
		"two values":     {path, append(bytes.Clone(body), body...), 400},
		"unknown member": {path, []byte(strings.Replace(string(body), `{"format"`, `{"as":"root","format"`, 1)), 400},
		"no nonce":       {path, []byte(`{"format":1,"nonce":"","op":"cancel","params":{"operationId":"op_1","reason":""}}`), 400},
		"unseal":         {path, []byte(strings.Replace(string(body), `"cancel"`, `"unseal"`, 1)), 400},
		"init":           {path, []byte(strings.Replace(string(body), `"cancel"`, `"init"`, 1)), 400},
		"status":         {path, []byte(strings.Replace(string(body), `"cancel"`, `"status"`, 1)), 400},
		"other params":   {path, []byte(strings.Replace(string(body), `"cancel"`, `"settle"`, 1)), 400},
	} {
		t.Run(name, func(t *testing.T) {
			status, err := post(t, peer, c.path, c.body)
			require.NoError(t, err)
			require.Equal(t, c.want, status)
		})
	}
	require.Equal(t, []string{"cancel op_1"}, one.seal.heard())
}

// An answer to another request, a replayed one included, is no answer.
func TestAnAnswerFitsOneRequestAlone(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	two := w.box("appliance-2")
	two.follows("appliance-1")
	impostor := w.identity("appliance-1", w.ca, w.ca)
	var recorded []byte
	for name, answer := range map[string]func(body []byte) []byte{
		"of an earlier request": func(body []byte) []byte {
			if recorded == nil {
				recorded = []byte(fmt.Sprintf(`{"format":1,"request":%q,"result":{"sequence":7}}`, policy.DigestOf(body)))
				return []byte(`{"format":1}`)
			}
			return recorded
		},
		"without a request": func([]byte) []byte { return []byte(`{"format":1,"request":"","result":{"sequence":7}}`) },
		"both": func(b []byte) []byte {
			return []byte(fmt.Sprintf(`{"format":1,"request":%q,"result":{},"error":{"kind":"busy","message":""}}`, policy.DigestOf(b)))
		},
		"neither": func(b []byte) []byte { return []byte(fmt.Sprintf(`{"format":1,"request":%q}`, policy.DigestOf(b))) },
		"an unknown kind": func(b []byte) []byte {
			return []byte(fmt.Sprintf(`{"format":1,"request":%q,"error":{"kind":"fine","message":""}}`, policy.DigestOf(b)))
		},
		"another result": func(b []byte) []byte {
			return []byte(fmt.Sprintf(`{"format":1,"request":%q,"result":{"rawTx":"AA=="}}`, policy.DigestOf(b)))
		},
		"longer than any answer": func([]byte) []byte { return bytes.Repeat([]byte(" "), seal.MaxFrame+1) },
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				var body bytes.Buffer
				_, _ = body.ReadFrom(r.Body)
				_, _ = rw.Write(answer(body.Bytes()))
			}))
			s.TLS = impostor.server()
			s.StartTLS()
			defer s.Close()
			two.knows(&box{id: "appliance-1", url: s.URL})
			for range 2 {
				_, err := two.door.Cancel(t.Context(), "op_1", "why")
				require.True(t, errors.Is(err, seal.ErrUnreachable) || errors.Is(err, seal.ErrProtocol), "%v", err)
			}
			two.link.Close()
		})
	}
}

func TestAnIdentityThatIsAnothersIsRefused(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	roots := []*x509.Certificate{w.root(w.ca)}
	_, err := NewIdentity("appliance-1", w.pair(w.ca, prefix+"appliance-2"), roots, nil)
	require.ErrorContains(t, err, "appliance:appliance-2")
	people, err := pki.NewCA("people", pki.ECDSAP256)
	require.NoError(t, err)
	own := w.pair(w.ca, prefix+"appliance-1")
	_, err = NewIdentity("appliance-1", own, roots, []*x509.Certificate{w.root(people)})
	require.NoError(t, err)
	_, err = NewIdentity("appliance-1", own, roots, []*x509.Certificate{w.root(people), w.root(w.ca)})
	require.ErrorContains(t, err, "a root of their own", "who issues to people issues to appliances")
}
