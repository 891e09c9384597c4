// Package audit is the form of the audit log: what an entry says, how entries are chained, and how a
// chain is verified.
//
// It promises that the same entries give the same hashes for ever (spec/formats.md, “Store keys of
// serve”): the form that is hashed is RFC 8785 JSON, so that any language can verify a chain that this
// package wrote. It is pure: no clock, no store, no network. What writes entries down and numbers them is
// daemon/audit/log; what makes an entry part of the change that it tells of is daemon/store.
package audit

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrEntry says that bytes are not an entry: malformed, unknown members, or a member out of its range.
var ErrEntry = errors.New("audit: not an entry")

// MaxEntrySize bounds an encoded entry, in bytes; documents are at most as large (spec/formats.md).
const MaxEntrySize = 64 << 10

// maxExactInteger is 2^53: above it RFC 8785's numbers lose digits, so larger ones are written as strings.
const maxExactInteger = 1 << 53

// ActorType says what kind of actor did something. The zero value is invalid.
type ActorType string

const (
	User   ActorType = "user"   // a person, by a bearer key
	System ActorType = "system" // a worker of ours
)

// Valid reports whether t is one of the constants.
func (t ActorType) Valid() bool { return t == User || t == System }

// Asserter names on whose word an entry rests. The zero value is invalid.
type Asserter string

const (
	API  Asserter = "api"  // the API process says so
	Seal Asserter = "seal" // the entry repeats a record of the ledger, which proves itself
)

// Valid reports whether a is one of the constants.
func (a Asserter) Valid() bool { return a == API || a == Seal }

// Draft is what a change tells of itself; the store gives it id, tenant and time, the sequencer its
// number and its place in the chain.
type Draft struct {
	ActorID      string         // the person's name, or "system"
	ActorType    ActorType      // empty: System
	Action       string         // "<resource>.<what happened>", as "operation.denied"
	ResourceType string         // "operation", "token", …
	ResourceID   string         // the resource's id
	RequestID    string         // the request that caused it; empty when a worker did
	IP           string         // the caller's address; empty when a worker did
	UserAgent    string         // the caller's User-Agent, as sent
	Metadata     map[string]any // what else a reader needs; never a secret
	AssertedBy   Asserter       // empty: API
}

// Pending is a draft with identity, as it waits for its number.
type Pending struct {
	ID           string         `json:"id"`           // aud_ and a ULID
	TenantID     string         `json:"tenantId"`     // the organization that the appliance serves
	ActorID      string         `json:"actorId"`      //
	ActorType    ActorType      `json:"actorType"`    //
	Action       string         `json:"action"`       //
	ResourceType string         `json:"resourceType"` //
	ResourceID   string         `json:"resourceId"`   //
	RequestID    string         `json:"requestId"`    //
	IP           string         `json:"ip"`           //
	UserAgent    string         `json:"userAgent"`    //
	Metadata     jsontext.Value `json:"metadata"`     // an object; integers above 2^53 are strings
	AssertedBy   Asserter       `json:"assertedBy"`   //
	CreatedAt    time.Time      `json:"createdAt"`    // UTC, whole milliseconds
}

// Entry is one link of the chain.
type Entry struct {
	ID           string         `json:"id"`
	Seq          Sequence       `json:"seq"` // from 1, without gaps
	TenantID     string         `json:"tenantId"`
	ActorID      string         `json:"actorId"`
	ActorType    ActorType      `json:"actorType"`
	Action       string         `json:"action"`
	ResourceType string         `json:"resourceType"`
	ResourceID   string         `json:"resourceId"`
	RequestID    string         `json:"requestId"`
	IP           string         `json:"ip"`
	UserAgent    string         `json:"userAgent"`
	Metadata     jsontext.Value `json:"metadata"`
	AssertedBy   Asserter       `json:"assertedBy"`
	PrevHash     string         `json:"prevHash"`           // the entry before's EntryHash, or Genesis
	EntryHash    string         `json:"entryHash,omitzero"` // sha256: and hex
	CreatedAt    time.Time      `json:"createdAt"`
}

// Sequence is an entry's number. In JSON it is a number up to 2^53 and a string above.
type Sequence uint64

// MarshalJSONTo writes the number, or the string above 2^53.
func (s Sequence) MarshalJSONTo(e *jsontext.Encoder) error {
	if s > maxExactInteger {
		return e.WriteToken(jsontext.String(strconv.FormatUint(uint64(s), 10)))
	}
	return e.WriteToken(jsontext.Uint(uint64(s)))
}

// UnmarshalJSONFrom accepts exactly what MarshalJSONTo writes.
func (s *Sequence) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	t, err := d.ReadToken()
	if err != nil {
		return err
	}
	text := t.String()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: sequence %q", ErrEntry, text)
	}
	isString := t.Kind() == '"'
	if strconv.FormatUint(n, 10) != text || isString != (n > maxExactInteger) || (!isString && t.Kind() != '0') {
		return fmt.Errorf("%w: sequence %q", ErrEntry, text)
	}
	*s = Sequence(n)
	return nil
}

// Pend gives d its identity. An error names what of the draft cannot be an entry.
func (d Draft) Pend(id, tenantID string, at time.Time) (*Pending, error) {
	if d.ActorType == "" {
		d.ActorType = System
	}
	if d.AssertedBy == "" {
		d.AssertedBy = API
	}
	if d.ActorID == "" && d.ActorType == System {
		d.ActorID = string(System)
	}
	switch {
	case !d.ActorType.Valid():
		return nil, fmt.Errorf("%w: actor type %q", ErrEntry, d.ActorType)
	case !d.AssertedBy.Valid():
		return nil, fmt.Errorf("%w: asserted by %q", ErrEntry, d.AssertedBy)
	case d.Action == "" || d.ActorID == "" || d.ResourceType == "":
		return nil, fmt.Errorf("%w: draft %q by %q on %q lacks action, actor or resource", ErrEntry, d.Action, d.ActorID, d.ResourceType)
	}
	meta, err := encodeMetadata(d.Metadata)
	if err != nil {
		return nil, fmt.Errorf("audit: metadata of %s: %w", d.Action, err)
	}
	return &Pending{
		ID: id, TenantID: tenantID, ActorID: d.ActorID, ActorType: d.ActorType, Action: d.Action,
		ResourceType: d.ResourceType, ResourceID: d.ResourceID, RequestID: d.RequestID, IP: d.IP,
		UserAgent: d.UserAgent, Metadata: meta, AssertedBy: d.AssertedBy,
		CreatedAt: at.UTC().Truncate(time.Millisecond),
	}, nil
}

// Entry makes p the link with number seq after the entry whose hash is prev.
func (p *Pending) Entry(seq uint64, prev string) (*Entry, error) {
	e := &Entry{
		ID: p.ID, Seq: Sequence(seq), TenantID: p.TenantID, ActorID: p.ActorID, ActorType: p.ActorType,
		Action: p.Action, ResourceType: p.ResourceType, ResourceID: p.ResourceID, RequestID: p.RequestID,
		IP: p.IP, UserAgent: p.UserAgent, Metadata: p.Metadata, AssertedBy: p.AssertedBy,
		PrevHash: prev, CreatedAt: p.CreatedAt,
	}
	h, err := e.Hash()
	if err != nil {
		return nil, err
	}
	e.EntryHash = h
	return e, nil
}

// Encode is p as it is stored.
func (p *Pending) Encode() ([]byte, error) { return json.Marshal(p, json.Deterministic(true)) }

// ParsePending reads what Encode wrote, strictly.
func ParsePending(b []byte) (*Pending, error) {
	var p Pending
	if err := parse(b, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// Encode is e as it is stored and served: RFC 8785 JSON.
func (e *Entry) Encode() ([]byte, error) { return canonical(e) }

// Parse reads an entry, strictly. It does not check the hash: Hash and Verify do.
func Parse(b []byte) (*Entry, error) {
	var e Entry
	if err := parse(b, &e); err != nil {
		return nil, err
	}
	if e.Seq == 0 || !e.ActorType.Valid() || !e.AssertedBy.Valid() {
		return nil, fmt.Errorf("%w: sequence %d, actor type %q, asserted by %q", ErrEntry, e.Seq, e.ActorType, e.AssertedBy)
	}
	return &e, nil
}

func parse(b []byte, into any) error {
	if len(b) > MaxEntrySize {
		return fmt.Errorf("%w: %d bytes, more than %d", ErrEntry, len(b), MaxEntrySize)
	}
	if err := json.Unmarshal(b, into, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: %w", ErrEntry, err)
	}
	return nil
}

func canonical(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	c := jsontext.Value(b)
	if err := c.Canonicalize(); err != nil {
		return nil, err
	}
	return c, nil
}

// encodeMetadata writes m with every integer that a float64 cannot hold as a string: canonicalization
// would otherwise change its digits without a word.
func encodeMetadata(m map[string]any) (jsontext.Value, error) {
	if len(m) == 0 {
		return jsontext.Value("{}"), nil
	}
	b, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	if v := jsontext.Value(b); !longDigits(b) {
		return v, v.Canonicalize()
	}
	var out bytes.Buffer
	dec, enc := jsontext.NewDecoder(bytes.NewReader(b)), jsontext.NewEncoder(&out)
	for dec.StackDepth() > 0 || dec.InputOffset() == 0 {
		t, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		if t.Kind() == '0' && !exact(t.String()) {
			t = jsontext.String(t.String())
		}
		if err := enc.WriteToken(t); err != nil {
			return nil, err
		}
	}
	v := jsontext.Value(bytes.TrimSpace(out.Bytes()))
	if err := v.Canonicalize(); err != nil {
		return nil, err
	}
	return v, nil
}

// longDigits reports whether somewhere, in a number or not, so many digits follow one another that they could be
// of an integer that a float64 cannot hold.
func longDigits(b []byte) bool {
	run := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			run = 0
		} else if run++; run > 15 {
			return true
		}
	}
	return false
}

// exact reports whether a JSON number survives being a float64: integers up to 2^53 in size, and
// fractions, which were float64 when they were written.
func exact(number string) bool {
	if bytes.ContainsAny([]byte(number), ".eE") {
		return true
	}
	n, err := strconv.ParseInt(number, 10, 64)
	return err == nil && n <= maxExactInteger && n >= -maxExactInteger
}
