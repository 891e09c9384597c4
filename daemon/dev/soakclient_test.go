package dev_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// ask is one request of a client, with a key of its own: it is sent until it is
// answered, to either appliance, and again afterwards.
type ask struct {
	key   string
	kind  client.OperationType
	token soakToken
	send  func(ctx context.Context, c *client.Client, key string) (id string, answer any, err error)

	mu       sync.Mutex
	id       string // the operation; empty until it is known
	answer   any
	refused  *client.Error // the answer that is none of ours to try again
	unknown  int           // attempts whose outcome is not known
	answered int           // times
}

// word is what a person said of an operation, and what was answered.
type word struct {
	who     string // approver; operator: withdraws it
	verb    policy.Verb
	taken   bool // 200
	refused *client.Error
	unknown int
}

// crowd are the clients and approvers of a house.
type crowd struct {
	h *soakHouse

	mu      sync.Mutex
	asks    []*ask
	words   map[string][]*word // by operation
	wrong   []string           // what no client should ever see
	seen    map[string]int     // answers that are errors, by code and type, for the report
	decrees []*decree
	highest int64 // daily limit that was ever proposed for the tight token
	decide  chan matter
}

// matter is an operation and what people are to say of it.
type matter struct {
	id    string
	words []*word
}

func newCrowd(h *soakHouse) *crowd {
	return &crowd{h: h, highest: tightLimit, words: map[string][]*word{}, seen: map[string]int{}, decide: make(chan matter, 30)} // who asks waits for those who decide
}

func (c *crowd) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (c *crowd) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[what]++
}

// attempt calls one appliance, for a time that is sometimes too short, and tells
// how it ended: answered, refused for good, or not known.
func (c *crowd) attempt(r *rand.Rand, name string, call func(ctx context.Context, k *client.Client) error) (refused *client.Error, done bool) {
	patience := 8 * time.Second
	if r.IntN(20) == 0 {
		patience = time.Duration(5+r.IntN(60)) * time.Millisecond // a caller who hangs up
	}
	ctx, cancel := context.WithTimeout(c.h.t.Context(), patience)
	defer cancel()
	n := r.IntN(len(applianceIDs))
	err := call(ctx, c.h.callers[n][name])
	if err == nil {
		return nil, true
	}
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		if _, bad := errors.AsType[*client.AnswerError](err); bad {
			c.fault("%s: %v", applianceIDs[n], err)
		}
		return nil, false
	}
	c.count(fmt.Sprint(e.HTTPStatus, " ", e.Code, " ", e.Type))
	if e.Code == client.CodeInternal {
		c.fault("%s answers %s: %v", applianceIDs[n], name, e)
	}
	if e.HTTPStatus >= 500 || e.HTTPStatus == 429 || e.Code == client.CodeIdempotencyInProgress {
		return nil, false
	}
	return e, true
}

func (c *crowd) rest(r *rand.Rand) {
	time.Sleep(time.Duration(50+r.IntN(400)) * time.Millisecond) // what a client waits before it tries again
}

// drive sends an ask until it is answered.
func (c *crowd) drive(ctx context.Context, r *rand.Rand, a *ask) {
	for ctx.Err() == nil {
		var id string
		var answer any
		refused, done := c.attempt(r, "operator", func(ctx context.Context, k *client.Client) (err error) {
			id, answer, err = a.send(ctx, k, a.key)
			return err
		})
		if !done {
			a.mu.Lock()
			a.unknown++
			a.mu.Unlock()
			c.rest(r)
			continue
		}
		c.heard(a, id, answer, refused)
		return
	}
}

// heard holds an answer against those before it.
func (c *crowd) heard(a *ask, id string, answer any, refused *client.Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answered++
	switch {
	case refused != nil && a.id != "":
		c.fault("key %s was %s, and is refused: %v", a.key, a.id, refused)
	case refused != nil:
		a.refused = refused
	case a.id == "":
		a.id, a.answer, a.refused = id, answer, nil
	case a.id != id || !reflect.DeepEqual(a.answer, answer):
		c.fault("key %s was answered %+v, and is answered %+v", a.key, a.answer, answer)
	}
}

// draw makes up a request.
func (c *crowd) draw(r *rand.Rand, key string) *ask {
	h := c.h
	a := &ask{key: key, token: h.tokens[0]}
	if r.IntN(4) == 0 {
		a.token = h.tokens[1]
	}
	w := h.wallets[r.IntN(len(h.wallets))]
	by := &client.Performer{Type: client.PerformerTypeWalletID, WalletID: &w.ID}
	own := client.Party{Type: client.PartyTypeWalletID, WalletID: &w.ID}
	other := client.Party{Type: client.PartyTypeWalletID, WalletID: &h.wallets[r.IntN(len(h.wallets))].ID}
	amount := fmt.Sprint(1 + r.IntN(100))
	stranger := subject(r)
	who := client.Party{Type: client.PartyTypeAddress, Address: &stranger}
	switch n := r.IntN(20); {
	case n < 10:
		a.kind = client.OperationTypeMINT
		a.send = func(ctx context.Context, k *client.Client, key string) (string, any, error) {
			op, err := k.MintToken(ctx, a.token.id, client.MintRequest{Amount: amount, Recipient: other, PerformedBy: by}, client.WithIdempotencyKey(key))
			if err != nil {
				return "", nil, err
			}
			return op.OperationID, op, nil
		}
	case n < 13:
		a.kind = client.OperationTypeBURN
		a.send = func(ctx context.Context, k *client.Client, key string) (string, any, error) {
			op, err := k.BurnToken(ctx, a.token.id, client.BurnRequest{Amount: amount, From: own, PerformedBy: by}, client.WithIdempotencyKey(key))
			if err != nil {
				return "", nil, err
			}
			return op.OperationID, op, nil
		}
	case n < 16:
		a.kind = client.OperationTypeTRANSFER
		a.send = func(ctx context.Context, k *client.Client, key string) (string, any, error) {
			op, err := k.TransferToken(ctx, a.token.id, client.TransferRequest{Amount: amount, From: own, To: who, PerformedBy: by}, client.WithIdempotencyKey(key))
			if err != nil {
				return "", nil, err
			}
			return op.OperationID, op, nil
		}
	case n < 18:
		a.kind = client.OperationTypeGRANTROLE
		a.send = func(ctx context.Context, k *client.Client, key string) (string, any, error) {
			op, err := k.GrantTokenRole(ctx, a.token.id, client.RoleChangeRequest{Role: client.RoleBURNER, Subject: who, PerformedBy: by}, client.WithIdempotencyKey(key))
			if err != nil {
				return "", nil, err
			}
			return op.OperationID, op, nil
		}
	default:
		a.kind = client.OperationTypeREVOKEROLE
		a.send = func(ctx context.Context, k *client.Client, key string) (string, any, error) {
			op, err := k.RevokeTokenRole(ctx, a.token.id, client.RoleChangeRequest{Role: client.RoleBURNER, Subject: who, PerformedBy: by}, client.WithIdempotencyKey(key))
			if err != nil {
				return "", nil, err
			}
			return op.OperationID, op, nil
		}
	}
	return a
}

// subject draws an address of a stranger, of few, so that grants and revokes meet.
func subject(r *rand.Rand) string { return fmt.Sprintf("0x%040x", 0xabc000+r.IntN(20)) }

// customer asks until it is told to stop, and finishes what it began.
func (c *crowd) customer(n int, seed uint64, stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	for number := 0; ; number++ {
		select {
		case <-stop:
			return
		default:
		}
		a := c.draw(r, fmt.Sprintf("soak-%d-%d", n, number))
		c.mu.Lock()
		c.asks = append(c.asks, a)
		c.mu.Unlock()
		c.drive(c.h.t.Context(), r, a)
		if r.IntN(10) == 0 {
			c.drive(c.h.t.Context(), r, a) // a client that forgot the answer
		}
		if a.id != "" {
			c.submit(a.id, c.opinions(r))
		}
		c.rest(r)
	}
}

// opinions are what people are going to say: mostly two approvals, sometimes a
// third, a rejection, or a withdrawal, which then race.
func (c *crowd) opinions(r *rand.Rand) (words []*word) {
	people := r.Perm(3)
	approver := func(n int) string { return fmt.Sprint("approver-", people[n]+1) }
	words = []*word{{who: approver(0), verb: policy.Approve}, {who: approver(1), verb: policy.Approve}}
	switch r.IntN(12) {
	case 0:
		words = append(words, &word{who: approver(2), verb: policy.Reject})
	case 1:
		words = append(words, &word{who: "operator"})
	case 2:
		words = append(words, &word{who: approver(2), verb: policy.Approve})
	case 3:
		words[1].verb = policy.Reject
	}
	r.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
	return words
}

func (c *crowd) submit(id string, words []*word) {
	c.mu.Lock()
	c.words[id] = append(c.words[id], words...)
	c.mu.Unlock()
	c.decide <- matter{id, words}
}

// people say what they are to say, each until he is answered.
func (c *crowd) people(n int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1<<32+uint64(n)))
	for j := range c.decide {
		for _, w := range j.words {
			c.say(c.h.t.Context(), r, j.id, w)
		}
	}
}

// say sends one person's word on an operation, the same bytes each time.
func (c *crowd) say(ctx context.Context, r *rand.Rand, id string, w *word) {
	var envelope *client.Envelope
	for ctx.Err() == nil {
		refused, done := c.attempt(r, w.who, func(ctx context.Context, k *client.Client) error {
			if w.who == "operator" {
				_, err := k.CancelTokenOperation(ctx, id, client.CancelRequest{}, client.WithIdempotencyKey("withdraw-"+id))
				return err
			}
			if envelope == nil {
				op, err := k.GetTokenOperation(ctx, id)
				if err != nil {
					return err
				}
				d := policy.Decision{Format: 1, Decision: w.verb, Intent: op.Intent, Approver: w.who, Reason: "soak", DecidedAt: policy.Seconds(time.Now())}
				payload, err := d.Encode()
				if err != nil {
					return err
				}
				signed := c.h.boxes[0].signed(w.who, "decision", payload)
				envelope = &signed
			}
			var err error
			if w.verb == policy.Reject {
				_, err = k.RejectTokenOperation(ctx, id, client.EnvelopeRequest{Envelope: *envelope})
			} else {
				_, err = k.ApproveTokenOperation(ctx, id, client.EnvelopeRequest{Envelope: *envelope})
			}
			return err
		})
		if !done {
			w.unknown++
			c.rest(r)
			continue
		}
		w.taken, w.refused = refused == nil, refused
		// Over before he spoke, or no right to speak just now, are the good reasons.
		if refused != nil && !slices.Contains([]int{1301, 1715}, refused.Code) && !silenced(refused) {
			c.fault("%s of %s on %s: %v", w.verb, w.who, id, refused)
		}
		return
	}
}

// silenced is true of what a person is told who is suspended, or of no group that
// approves.
func silenced(refused *client.Error) bool {
	return refused.Code == 1202 && (strings.Contains(refused.Message, "is suspended") || strings.Contains(refused.Message, "is of no group"))
}
