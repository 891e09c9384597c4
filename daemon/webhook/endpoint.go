package webhook

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	idPrefix       = "wh_"
	deliveryPrefix = "del_"
	// MaxEndpoints bounds the endpoints of an appliance: an event is handed to all of them in one transaction,
	// with four writes for each.
	MaxEndpoints = 20
	// MaxDescription bounds an endpoint's description, in characters.
	MaxDescription = 1024
	// DefaultGrace is how long a secret still signs after it was rotated; MaxGrace is the longest.
	DefaultGrace = 24 * time.Hour
	MaxGrace     = 7 * 24 * time.Hour
)

// Endpoint is a subscription, as the store holds it.
type Endpoint struct {
	ID          string    `json:"id"`
	URL         string    `json:"url"` // may hold a token of the receiver's: shown to those who may see webhooks, logged nowhere
	Events      []string  `json:"events"`
	Description string    `json:"description,omitzero"`
	CreatedBy   string    `json:"createdBy"`
	CreatedAt   time.Time `json:"createdAt"`
	UpdatedAt   time.Time `json:"updatedAt"`
	// Secret and Previous are encrypted; Previous signs, too, until PreviousUntil.
	Secret        []byte    `json:"secret"`
	Previous      []byte    `json:"previous,omitzero"`
	PreviousUntil time.Time `json:"previousUntil,omitzero"`
	// Deleted stays until what was to be delivered is taken away, too.
	Deleted bool `json:"deleted,omitzero"`

	// Disabled tells, of what List and the methods that change an endpoint answer, that this appliance cannot
	// sign for it: its key for secrets is another one. Rotating the secret helps.
	Disabled bool `json:"-"`
}

// Who is the caller of a change, for its audit entry.
type Who struct{ Name, RequestID, IP, UserAgent string }

func (w Who) draft(action string, e *Endpoint, metadata map[string]any) audit.Draft {
	return audit.Draft{ActorID: w.Name, ActorType: audit.User, Action: action, ResourceType: "webhook", ResourceID: e.ID,
		RequestID: w.RequestID, IP: w.IP, UserAgent: w.UserAgent, Metadata: metadata}
}

// Spec is what is asked for when an endpoint is made.
type Spec struct {
	URL         string
	Events      []string
	Description string
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("webhook: encoding %T: %v", v, err)) // no value of these types can do that
	}
	return b
}

func decode[T any](kv store.KV) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(kv.Value, v, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("webhook: the value of %s: %w", kv.Key, err)
	}
	return v, nil
}

func checkDescription(s string) error {
	if n := utf8.RuneCountInString(s); n > MaxDescription {
		return refuse(TextTooLong, "description has %d characters; at most %d are allowed", n, MaxDescription)
	}
	bad := func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError
	}
	if i := strings.IndexFunc(s, bad); i >= 0 {
		return refuse(InvalidText, "description holds a control character at byte %d", i)
	}
	return nil
}

// Create makes an endpoint and returns its secret, which is shown this once: not even the record of an
// idempotency key gets it. The host is resolved, and refused if it leads where deliveries do not go.
func (s *Service) Create(ctx context.Context, w Who, spec Spec, idem *store.Idempotent) (secret string, _ *Endpoint, err error) {
	if s.vault == nil {
		return "", nil, refuse(NotConfigured, "this appliance has no key for webhook secrets; set webhooks.key_file in its config")
	}
	if err := checkEvents(spec.Events); err != nil {
		return "", nil, err
	}
	if err := checkDescription(spec.Description); err != nil {
		return "", nil, err
	}
	if err := s.checkTarget(ctx, spec.URL); err != nil {
		return "", nil, err
	}
	now := s.moment()
	e := &Endpoint{ID: store.NewID(idPrefix), URL: spec.URL, Events: slices.Clone(spec.Events), Description: spec.Description,
		CreatedBy: w.Name, CreatedAt: now, UpdatedAt: now}
	secret = newSecret()
	e.Secret = s.vault.seal(secret, s.binding(e))
	for {
		_, guard, _, err := s.store.Get(ctx, guardKey)
		if err != nil {
			return "", nil, err
		}
		all, err := s.Endpoints(ctx)
		if err != nil {
			return "", nil, err
		}
		if len(all) >= MaxEndpoints {
			return "", nil, refuse(TooMany, "there are %d webhooks, as many as an appliance serves; delete one first", len(all))
		}
		t := s.store.Tx()
		t.PutIf(guardKey, []byte(e.ID), guard)
		t.PutIfAbsent(endpointKey(e.ID), encode(e))
		t.Audit(w.draft("webhook.created", e, map[string]any{"host": hostOf(e.URL), "events": e.Events}))
		t.Idempotent(idem, e)
		if _, err := t.Commit(ctx); !lostRace(err) {
			return secret, e, err
		}
	}
}

// checkTarget refuses a URL that deliveries could not or must not go to.
func (s *Service) checkTarget(ctx context.Context, raw string) error {
	u, err := CheckURL(raw, s.plain())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	_, err = s.guard.resolve(ctx, u.Hostname())
	var away *AddressError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &away):
		return refuse(InvalidURL, "url: %s", away)
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return ctx.Err()
	}
	return refuse(InvalidURL, "url: the name %+.100q does not resolve; check it, or try again if it is new", u.Hostname())
}

// hostOf is what logs and audit entries tell of a URL.
func hostOf(raw string) string {
	if u, err := CheckURL(raw, true); err == nil {
		return u.Host
	}
	return "?"
}

// Endpoints is every endpoint, newest first.
func (s *Service) Endpoints(ctx context.Context) ([]*Endpoint, error) {
	p, err := s.store.List(ctx, endpoints, store.ListOptions{Descending: true})
	if err != nil {
		return nil, err
	}
	out := []*Endpoint{}
	for _, kv := range p.KVs {
		e, err := decode[Endpoint](kv)
		if err != nil {
			return nil, err
		}
		if !e.Deleted {
			out = append(out, s.shown(e))
		}
	}
	return out, nil
}

// shown notes whether this appliance can sign for an endpoint.
func (s *Service) shown(e *Endpoint) *Endpoint {
	if !e.Deleted {
		_, err := s.open(e, e.Secret)
		e.Disabled = err != nil
	}
	return e
}

// endpoint reads one endpoint and its revision.
func (s *Service) endpoint(ctx context.Context, id string) (*Endpoint, int64, error) {
	if !store.ValidID(idPrefix, id) {
		return nil, 0, noEndpoint(id)
	}
	v, rev, ok, err := s.store.Get(ctx, endpointKey(id))
	if err != nil {
		return nil, 0, err
	}
	if !ok {
		return nil, 0, noEndpoint(id)
	}
	e, err := decode[Endpoint](store.KV{Key: endpointKey(id), Value: v})
	if err == nil && e.Deleted {
		err = noEndpoint(id)
	}
	return e, rev, err
}

// change has f change an endpoint in one transaction with its audit entry, from the start if somebody else
// changed it in between.
func (s *Service) change(ctx context.Context, id string, idem *store.Idempotent, f func(*Endpoint) audit.Draft) (*Endpoint, error) {
	for {
		e, rev, err := s.endpoint(ctx, id)
		if err != nil {
			return nil, err
		}
		d := f(e)
		e.UpdatedAt = s.moment()
		t := s.store.Tx()
		t.PutIf(endpointKey(id), encode(e), rev)
		t.Audit(d)
		t.Idempotent(idem, s.shown(e))
		if _, err = t.Commit(ctx); !lostRace(err) {
			return e, err
		}
	}
}

// Delete ends a subscription. What is still to be delivered to it is dropped.
func (s *Service) Delete(ctx context.Context, w Who, id string, idem *store.Idempotent) (*Endpoint, error) {
	return s.change(ctx, id, idem, func(e *Endpoint) audit.Draft {
		e.Deleted, e.Secret, e.Previous, e.PreviousUntil = true, nil, nil, time.Time{}
		return w.draft("webhook.deleted", e, map[string]any{"host": hostOf(e.URL)})
	})
}

// Rotate gives an endpoint a new secret and returns it, this once. The one before signs beside it for grace,
// from 0 (it ends at once, for one that got into wrong hands) to MaxGrace.
func (s *Service) Rotate(ctx context.Context, w Who, id string, grace time.Duration, idem *store.Idempotent) (secret string, _ *Endpoint, err error) {
	if s.vault == nil {
		return "", nil, refuse(NotConfigured, "this appliance has no key for webhook secrets; set webhooks.key_file in its config")
	}
	secret = newSecret()
	e, err := s.change(ctx, id, idem, func(e *Endpoint) audit.Draft {
		if e.Previous, e.PreviousUntil = nil, (time.Time{}); grace > 0 {
			e.Previous, e.PreviousUntil = e.Secret, s.moment().Add(min(grace, MaxGrace))
		}
		e.Secret = s.vault.seal(secret, s.binding(e))
		return w.draft("webhook.rotated", e, map[string]any{"graceSeconds": int64(grace / time.Second)})
	})
	if err != nil {
		return "", nil, err
	}
	return secret, e, nil
}

func (s *Service) binding(e *Endpoint) []byte { return binding(s.store.Tenant(), e.ID, e.URL) }

func (s *Service) open(e *Endpoint, sealed []byte) (string, error) {
	if s.vault == nil {
		return "", ErrSecret
	}
	return s.vault.open(sealed, s.binding(e))
}

// secrets are those that sign now, the current one first.
func (s *Service) secrets(e *Endpoint, now time.Time) ([]string, error) {
	current, err := s.open(e, e.Secret)
	if err != nil {
		return nil, err
	}
	if e.Previous == nil || !now.Before(e.PreviousUntil) {
		return []string{current}, nil
	}
	previous, err := s.open(e, e.Previous)
	if err != nil {
		return []string{current}, nil // made with a key that is gone; the current one counts
	}
	return []string{current, previous}, nil
}

// lostRace reports whether a commit failed only because somebody else changed what it compared.
func lostRace(err error) bool {
	return errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrIdempotencyLost)
}

// Allowed reads networks of the config.
func Allowed(cidrs []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(cidrs))
	for _, c := range cidrs {
		p, err := netip.ParsePrefix(c)
		if err != nil || p != p.Masked() {
			return nil, fmt.Errorf("webhook: %q is not a network such as 10.1.0.0/16", c)
		}
		out = append(out, p)
	}
	return out, nil
}
