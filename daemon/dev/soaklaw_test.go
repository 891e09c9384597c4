package dev_test

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// decree is one change of the law that custodians made, or began to make, and
// what they were told of it.
type decree struct {
	key    string
	digest policy.Digest // of what was signed; empty if it never came so far
	signed int           // custodians who signed
	need   int           // signatures that it takes, by the appliance's word
	told   bool          // that it is in force
	last   *client.Error // the refusal with which it ended
	vague  int           // attempts whose outcome is not known
}

// lawmaker changes policies and the charter, stops people, tokens and
// appliances and lets them go on, until told to stop. Several of them race.
func (c *crowd) lawmaker(n int, seed uint64, stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(seed, 1<<35+uint64(n)))
	for number := 0; ; number++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(200+r.IntN(1500)) * time.Millisecond): // people are no faster
		}
		d := c.decree(fmt.Sprintf("law-%d-%d", n, number), 0)
		switch what := r.IntN(20); {
		case what < 8:
			c.amend(r, d, c.h.tight, c.otherLimit(r))
		case what < 13:
			c.amend(r, d, c.h.wide, c.otherRules(r))
		case what < 16:
			c.recharter(r, d, otherGroups(r))
		default:
			c.stopAndGo(r, d)
		}
	}
}

// decree begins one.
func (c *crowd) decree(key string, need int) *decree {
	d := &decree{key: key, need: need}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decrees = append(c.decrees, d)
	return d
}

// asked calls until it is answered, and tells whether that was no refusal.
func (c *crowd) asked(r *rand.Rand, d *decree, name string, call func(ctx context.Context, k *client.Client) error) bool {
	for c.h.t.Context().Err() == nil {
		refused, done := c.attempt(r, name, call)
		if done {
			d.last = refused
			return refused == nil
		}
		d.vague++
		c.rest(r)
	}
	return false
}

// custodians are some in the order in which they sign.
func custodians(r *rand.Rand, many int) (names []string) {
	for _, n := range r.Perm(3)[:many] {
		names = append(names, fmt.Sprint("custodian-", n+1))
	}
	return names
}

// amend proposes the next version of a policy and has it signed by as many as it
// takes, or sometimes by one too few.
func (c *crowd) amend(r *rand.Rand, d *decree, id string, change func([]client.PolicyRule) []client.PolicyRule) {
	var was, next *client.Policy
	if !c.asked(r, d, "viewer", func(ctx context.Context, k *client.Client) (err error) {
		was, err = k.GetPolicy(ctx, id)
		return err
	}) {
		return
	}
	write := client.PolicyWrite{Name: was.Name, TokenID: was.TokenID, Rules: change(was.Rules)}
	if !c.asked(r, d, "operator", func(ctx context.Context, k *client.Client) (err error) {
		next, err = k.ProposePolicyVersion(ctx, id, write, client.WithIdempotencyKey(d.key))
		return err
	}) {
		return
	}
	d.digest, d.need = policy.Digest(next.DocumentDigest), next.RequiredSignatures
	c.h.note("          %s: %s from %d, %d signatures, %s: %v", d.key, was.Name, was.Version, d.need, d.digest, next.Difference)
	c.sign(r, d, policy.DocPolicy, next.Document, func(ctx context.Context, k *client.Client, e client.Envelope) (bool, error) {
		p, err := k.SignPolicy(ctx, id, client.EnvelopeRequest{Envelope: e})
		return err == nil && p.Status == client.PolicyStatusACTIVE, err
	})
}

// recharter does the same with the charter.
func (c *crowd) recharter(r *rand.Rand, d *decree, change func(*policy.Charter)) {
	var was, next *client.Charter
	if !c.asked(r, d, "viewer", func(ctx context.Context, k *client.Client) (err error) {
		was, err = k.GetCharter(ctx)
		return err
	}) {
		return
	}
	document, err := following(was, change)
	if err != nil {
		c.fault("%s: %v", d.key, err)
		return
	}
	if !c.asked(r, d, "custodian-1", func(ctx context.Context, k *client.Client) (err error) {
		next, err = k.ProposeCharter(ctx, client.CharterWrite{Document: document}, client.WithIdempotencyKey(d.key))
		return err
	}) {
		return
	}
	d.digest, d.need = policy.Digest(next.DocumentDigest), next.RequiredSignatures
	c.h.note("          %s: charter from %d, %s: %v", d.key, was.Version, d.digest, next.Difference)
	c.sign(r, d, policy.DocCharter, document, func(ctx context.Context, k *client.Client, e client.Envelope) (bool, error) {
		p, err := k.SignCharter(ctx, client.EnvelopeRequest{Envelope: e})
		return err == nil && p.Status == client.CharterStatusACTIVE, err
	})
}

// following is the document of the charter after the one that is shown.
func following(was *client.Charter, change func(*policy.Charter)) ([]byte, error) {
	next, err := policy.ParseCharter(was.Document)
	if err != nil {
		return nil, err
	}
	digest := policy.Digest(was.DocumentDigest)
	next.Version, next.Replaces = next.Version+1, &digest
	change(next)
	return next.Encode()
}

// sign has custodians sign a proposal one after the other, each the same bytes
// until he is answered.
func (c *crowd) sign(r *rand.Rand, d *decree, document string, payload []byte, send func(ctx context.Context, k *client.Client, e client.Envelope) (inForce bool, err error)) {
	many := d.need
	if r.IntN(6) == 0 {
		many-- // they never come to an agreement
	}
	for _, who := range custodians(r, many) {
		envelope, inForce := c.h.boxes[0].signed(who, document, payload), false
		d.signed++ // from here on it may be there, whatever is answered
		if !c.asked(r, d, who, func(ctx context.Context, k *client.Client) (err error) {
			inForce, err = send(ctx, k, envelope)
			return err
		}) {
			return // another one was faster
		}
		d.told = d.told || inForce
	}
}

// stopAndGo stops a person, a token or an appliance on one custodian's word, and
// lets it go on a moment later on two.
func (c *crowd) stopAndGo(r *rand.Rand, d *decree) {
	var s policy.Subject
	switch what := r.IntN(8); {
	case what < 4:
		s.Person = fmt.Sprint("approver-", 1+r.IntN(3))
	case what < 7:
		s.TokenID = c.h.tokens[r.IntN(len(c.h.tokens))].id
	default:
		s.ApplianceID = applianceIDs[r.IntN(len(applianceIDs))]
	}
	d.need = 1
	if r.IntN(8) == 0 {
		c.freeze(r, d, s, false, 1) // one custodian lets nobody go
		return
	}
	c.freeze(r, d, s, true, 1)
	time.Sleep(time.Duration(1000+r.IntN(3000)) * time.Millisecond) // how long it is stopped
	again := c.decree(d.key+"-lifted", 2)
	c.freeze(r, again, s, false, 2)
}

func (c *crowd) freeze(r *rand.Rand, d *decree, s policy.Subject, frozen bool, many int) {
	if !frozen {
		d.need = 2
	}
	payload, err := (&policy.Freeze{Format: policy.Format, Instance: c.h.instance, Subject: s, Frozen: frozen, CreatedAt: policy.Seconds(time.Now())}).Encode()
	if err != nil {
		c.fault("%s: %v", d.key, err)
		return
	}
	names := custodians(r, many)
	e := c.h.envelope(policy.DocFreeze, payload, names...)
	d.digest, d.signed = e.PayloadDigest(), many
	c.h.note("          %s: %+v frozen %v by %v, %s", d.key, s, frozen, names, d.digest)
	wire, err := inWire(e)
	if err != nil {
		c.fault("%s: %v", d.key, err)
		return
	}
	d.told = c.asked(r, d, names[0], func(ctx context.Context, k *client.Client) error {
		_, err := k.Freeze(ctx, client.EnvelopeRequest{Envelope: wire})
		return err
	})
}

func inWire(e *policy.Envelope) (wire client.Envelope, err error) {
	return wire, json.Unmarshal(e.Encode(), &wire)
}

// peace gives the law back as it was, so that everything can come to its end.
func (c *crowd) peace() {
	h := c.h
	h.t.Helper()
	var subjects []policy.Subject
	for n := range 3 {
		subjects = append(subjects, policy.Subject{Person: fmt.Sprint("approver-", n+1)})
	}
	for _, t := range h.tokens {
		subjects = append(subjects, policy.Subject{TokenID: t.id})
	}
	for _, id := range applianceIDs {
		subjects = append([]policy.Subject{{ApplianceID: id}}, subjects...) // first, for who is suspended does nothing
	}
	r := rand.New(rand.NewPCG(h.seed, 1<<36))
	for n, s := range subjects {
		h.eventually(func() error {
			d := c.decree(fmt.Sprint("peace-", n), 2)
			if c.freeze(r, d, s, false, 2); !d.told {
				return fmt.Errorf("%+v: %w", s, d.last) // within the second of one before
			}
			return nil
		})
	}
	tries := 0
	h.eventually(func() error {
		tries++
		d := c.decree(fmt.Sprint("peace-charter-", tries), 2)
		if c.recharter(r, d, func(c *policy.Charter) { groups(c, ""); c.Limits.MaxOutstanding = 16 }); !d.told {
			return fmt.Errorf("the charter: %+v", d)
		}
		return nil
	})
	for _, id := range []string{h.wide, h.tight} {
		h.eventually(func() error {
			tries++
			d := c.decree(fmt.Sprint("peace-policy-", tries), 2)
			if c.amend(r, d, id, func(rules []client.PolicyRule) []client.PolicyRule {
				return append([]client.PolicyRule{persons(2)}, dailyLimits(rules)...)
			}); !d.told {
				return fmt.Errorf("policy %s: %+v", id, d)
			}
			return nil
		})
	}
}
