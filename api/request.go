package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/jsontext"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/trace"
)

// request is what the checks learn of a request, for the handler and for the
// log and metrics afterwards.
type request struct {
	id    string
	began time.Time
	route *route // nil for a path that is not ours

	// print is the client certificate's fingerprint; empty without one.
	print string
	// caller is who shows the key; nil with unknown set, which says why he is not
	// known. foreign says that the key is bound to elsewhere.
	caller           *registry.Principal
	unknown, foreign error
	// uncertified says why the client certificate is not honoured any more.
	uncertified error

	// taken says that the body was read, or given up.
	taken bool
	// raw is the body, one strict JSON value; empty if the route takes none.
	raw jsontext.Value
	// key is the idempotency key; empty if there is none.
	key string
	// badValue is an amount or an address that does not hold. It waits until
	// the checks that come before values are done.
	badValue *problem

	// idem is handed to the service that makes the change; nil without a key.
	idem *store.Idempotent
	// status and answer are what idem rendered, inside the transaction that
	// stored it.
	status int
	answer []byte

	problem *problem // what was refused; nil if nothing was

	// operation and token are the ids of what was made or changed, for the log; empty where nothing was.
	operation, token string

	span *trace.Span // nil while nobody is known to ask, and where nothing is traced
}

const requestKey = "mintwarden.request"

func requestOf(c *gin.Context) *request {
	r, ok := c.Get(requestKey)
	if !ok {
		// begin is the first in every chain, so this is a fault of the wiring.
		panic("api: a handler without begin before it")
	}
	return r.(*request)
}

// bad is badValue as an error, nil if there is none.
func (r *request) bad() error {
	if r.badValue == nil {
		return nil
	}
	return r.badValue
}

// template is the route as metrics and logs name it. Paths that are not ours
// share one name, or anybody could make metrics without end.
func (r *request) template() string {
	if r.route == nil {
		return "unknown"
	}
	return r.route.path
}

// charged is whose rate this request is: the credential's, or, of a key that is
// not good here, the client certificate's.
func (r *request) charged() string {
	if r.caller == nil || r.foreign != nil {
		return "certificate " + r.print
	}
	return r.caller.CredentialID
}

// callers are whose work this request is: the user's, of whichever key, and the
// client certificate's, whoever shows it.
func (r *request) callers() []string {
	names := []string{"certificate " + r.print}
	if r.caller != nil && r.foreign == nil {
		names = append(names, "user "+r.caller.UserID)
	}
	return names
}

// actor is the caller as the services and the audit log know him.
func (r *request) actor() registry.Actor { return r.caller.Actor }

// visible tells whether s is 1 to max visible ASCII characters.
func visible(s string, max int) bool {
	if s == "" || len(s) > max {
		return false
	}
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return true
}

// requestID is the caller's own id of the request if it is one, else a new one.
func requestID(h http.Header) string {
	if own := h.Get("Request-Id"); visible(own, 128) {
		return own
	}
	return store.NewID("req_")
}

// peer is the caller's address, without a port. There is no proxy in front of
// the appliance whose word on addresses could be taken.
func peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// maxUserAgent bounds what the audit log keeps of a caller's program, in bytes.
const maxUserAgent = 512

// userAgent is what the caller says his program is, as the audit log keeps it.
func userAgent(r *http.Request) string {
	ua := r.UserAgent()
	return strings.ToValidUTF8(ua[:min(len(ua), maxUserAgent)], "")
}

// fingerprint is the lower-case hex SHA-256 of the client certificate's DER.
func fingerprint(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:])
}
