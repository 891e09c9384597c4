// Package link is the way between appliances that share a store: what only the
// ledger's author can record is asked of the author's appliance, and its seal's
// answer comes back unchanged.
//
// # What it promises
//
// [Link.Door] is this appliance's seal, and behind it the author wherever that
// is. [Link.Handler] answers the other appliances: it puts what they ask to our
// own seal, and passes nothing on to a third. Both ends are mTLS 1.3 with a root
// that issues to appliances alone; a certificate names its appliance, and one
// that the charter does not have, or that a custodian suspended, is neither
// heard nor asked. An answer fits one request alone. Pairs and roots are
// replaced while requests are under way ([Link.Take]); a connection made with
// those of before serves nothing once they are not believed any more.
//
// # What it does not
//
// It decides nothing: only operations that people's signatures or the policies
// decide are passed on, and the author's seal judges them as if they were its
// own appliance's. How a seal is, is unsealed and is sealed never passes. It
// opens no files and no listener: who wires it does.
package link

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Config is what a link is made of.
type Config struct {
	Appliance string                // our own id in the charter
	Peers     map[string]string     // https URL of each other appliance's end, by its id
	Seal      *seal.Client          // our own
	Law       func() *ledger.Fold   // who the appliances are; asked anew for each request
	Log       *slog.Logger          // no secret goes there
	Metrics   prometheus.Registerer // takes the link's counter
	Tracer    *trace.Tracer         // nil: nothing is traced
}

// Link is both directions. Safe for concurrent use.
type Link struct {
	door    *Door
	handler *handler
	now     atomic.Pointer[Identity]
}

// Open makes a link that goes by that identity until another is taken.
func Open(c Config, by *Identity) (*Link, error) {
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, fmt.Errorf("link: metrics: %w", err)
	}
	l := &Link{door: newDoor(c, by, m)}
	l.handler = &handler{id: c.Appliance, seal: c.Seal, law: c.Law, log: c.Log, metrics: m, tracer: c.Tracer, identity: l.now.Load}
	l.now.Store(by)
	return l, nil
}

// Door is what the rooms ask instead of our own seal.
func (l *Link) Door() *Door { return l.door }

// Handler answers peers, who must come over [Link.TLS].
func (l *Link) Handler() http.Handler { return l.handler }

// TLS is for the listener that peers come to; it goes with what is taken.
func (l *Link) TLS() *tls.Config {
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return l.now.Load().server(), nil }}
}

// Identity is what is in use now.
func (l *Link) Identity() *Identity { return l.now.Load() }

// Take goes by another identity: what comes next is asked and answered with it,
// what is under way comes to its end.
func (l *Link) Take(by *Identity) {
	l.now.Store(by)
	l.door.take(by)
}

// Close lets idle connections go. What is under way comes to its end.
func (l *Link) Close() { l.door.dialing.Load().closeIdle() }

// admitted is nil if the charter in force knows the appliance and nobody
// suspended it.
func admitted(fold *ledger.Fold, appliance string) error {
	c, _ := fold.Charter()
	if c == nil {
		return errors.New("the ledger is not carried in yet")
	}
	if _, ok := c.Appliance(appliance); !ok {
		return fmt.Errorf("%q is no appliance of the charter", appliance)
	}
	if fold.Frozen(policy.Subject{ApplianceID: appliance}) {
		return fmt.Errorf("appliance %s is suspended", appliance)
	}
	return nil
}
