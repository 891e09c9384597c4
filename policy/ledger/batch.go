package ledger

import (
	"bytes"
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"strconv"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// signatureSize is Ed25519's, in bytes.
const signatureSize = 64

// Batch is one value of the log.
type Batch struct {
	Format    int // 1
	Instance  string
	Epoch     uint64        // raised by recover only
	Term      uint64        // raised by every take-over
	Sequence  uint64        // 1, 2, 3, …
	Previous  policy.Digest // of the previous batch's bytes; policy.NoDigest for the first
	Author    string        // appliance id
	Time      time.Time     // of all of its records; whole seconds, UTC
	Records   []Record      // at least one
	Signature []byte        // Ed25519 over SigningInput

	// encoded is the records' encodings where whoever made the batch had them already ([Stage.Batch]).
	encoded []jsontext.Value
}

// wireBatch is what a batch is read into.
type wireBatch struct {
	Author    string        `json:"author"`
	Epoch     uint64        `json:"epoch"`
	Format    int           `json:"format"`
	Instance  string        `json:"instance"`
	Previous  policy.Digest `json:"previous"`
	Records   []wireRecord  `json:"records"`
	Sequence  uint64        `json:"sequence"`
	Signature []byte        `json:"signature"`
	Term      uint64        `json:"term"`
	Time      time.Time     `json:"time"`
}

// Encode gives the batch's one spelling. It fails where a field is out of its range, the signature
// is not of 64 bytes, or the encoding passes MaxBatch.
func (b *Batch) Encode() ([]byte, error) {
	if len(b.Signature) != signatureSize {
		return nil, fmt.Errorf("signature of %d bytes, want %d", len(b.Signature), signatureSize)
	}
	return b.encode("")
}

// SigningInput is what the author signs: Tag, a newline, and the encoding without the member
// "signature".
func (b *Batch) SigningInput() ([]byte, error) {
	unsigned := *b
	unsigned.Signature = nil
	return unsigned.encode(Tag + "\n")
}

// isSigned is true if value is what Encode gives, where input is what SigningInput does.
func (b *Batch) isSigned(value, input []byte) bool {
	unsigned, member, tail := input[len(Tag)+1:], signatureMember(b.Signature), b.appendTail(nil)
	at := len(unsigned) - len(tail)
	return len(b.Signature) == signatureSize && len(value) <= MaxBatch && len(value) == len(unsigned)+len(member) &&
		bytes.Equal(value[:at], unsigned[:at]) && bytes.Equal(value[at:at+len(member)], member) && bytes.Equal(value[at+len(member):], tail)
}

// signingInput is of a canonical encoding, from which it leaves out the member "signature" if there
// is one. Records come before it, so the last place where it can stand is the right one.
func signingInput(value, signature []byte) []byte {
	member := signatureMember(signature)
	at := bytes.LastIndex(value, member)
	input := make([]byte, 0, len(Tag)+1+len(value)-len(member))
	input = append(input, Tag...)
	input = append(input, '\n')
	input = append(input, value[:at]...)
	return append(input, value[at+len(member):]...)
}

// encode is the encoding behind a prefix.
func (b *Batch) encode(prefix string) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	records := b.encoded
	if len(records) != len(b.Records) {
		records = make([]jsontext.Value, len(b.Records))
		for i := range b.Records {
			value, err := b.Records[i].Encode()
			if err != nil {
				return nil, fmt.Errorf("record %d: %w", i, err)
			}
			records[i] = value
		}
	}
	value := b.join(prefix, records)
	if n := len(value) - len(prefix); n > MaxBatch {
		return nil, fmt.Errorf("batch of %d bytes, at most %d", n, MaxBatch)
	}
	return value, nil
}

// join writes the members in the order of RFC 8785. Nothing needs escaping, for check took only
// names, digests, integers and a time; the records are encoded already, and are most of the bytes.
func (b *Batch) join(prefix string, records []jsontext.Value) []byte {
	size := len(prefix) + headroom
	for _, r := range records {
		size += len(r) + 1
	}
	v := append(make([]byte, 0, size), prefix...)
	v = append(append(v, `{"author":"`...), b.Author...)
	v = strconv.AppendUint(append(v, `","epoch":`...), b.Epoch, 10)
	v = strconv.AppendInt(append(v, `,"format":`...), int64(b.Format), 10)
	v = append(append(v, `,"instance":"`...), b.Instance...)
	v = append(append(v, `","previous":"`...), b.Previous...)
	v = append(v, `","records":[`...)
	for i, r := range records {
		if i > 0 {
			v = append(v, ',')
		}
		v = append(v, r...)
	}
	v = strconv.AppendUint(append(v, `],"sequence":`...), b.Sequence, 10)
	v = append(v, signatureMember(b.Signature)...)
	return b.appendTail(v)
}

// appendTail writes what stands behind the signature.
func (b *Batch) appendTail(v []byte) []byte {
	v = strconv.AppendUint(append(v, `,"term":`...), b.Term, 10)
	v = b.Time.AppendFormat(append(v, `,"time":"`...), time.RFC3339)
	return append(v, `"}`...)
}

// signatureMember is the member as it stands behind sequence, nothing if there is no signature.
func signatureMember(signature []byte) []byte {
	if len(signature) == 0 {
		return nil
	}
	v := base64.StdEncoding.AppendEncode([]byte(`,"signature":"`), signature)
	return append(v, '"')
}

// check is of the batch's own fields; records check themselves.
func (b *Batch) check() error {
	switch {
	case b.Format != Format:
		return fmt.Errorf("format %d, want %d", b.Format, Format)
	case b.Sequence == 0 || b.Epoch == 0 || b.Term == 0:
		return fmt.Errorf("sequence %d, epoch %d, term %d: each begins at 1", b.Sequence, b.Epoch, b.Term)
	case b.Sequence > MaxInteger || b.Epoch > MaxInteger || b.Term > MaxInteger:
		return fmt.Errorf("sequence %d, epoch %d, term %d: each is at most 2^53-1", b.Sequence, b.Epoch, b.Term)
	case !b.Previous.Valid():
		return fmt.Errorf("previous %.80q is not a digest", string(b.Previous))
	case len(b.Records) == 0:
		return fmt.Errorf("a batch without records")
	}
	if err := policy.CheckName(b.Instance); err != nil {
		return fmt.Errorf("instance: %w", err)
	}
	if err := policy.CheckName(b.Author); err != nil {
		return fmt.Errorf("author: %w", err)
	}
	return checkTime("time", b.Time)
}

// checkTime takes RFC 3339 with one spelling: whole seconds, UTC.
func checkTime(name string, t time.Time) error {
	if t.Nanosecond() != 0 || t.Location() != time.UTC || t.Year() < 2000 || t.Year() > 9999 {
		return fmt.Errorf("%s %s: want whole seconds, UTC, from the year 2000 on", name, t.Format(time.RFC3339Nano))
	}
	return nil
}

// ParseBatch takes exactly what Encode gives. It checks no signature, link or rule: that is the
// fold's. Errors are *Refusal with ReasonEncoding.
func ParseBatch(value []byte) (*Batch, error) {
	b, _, r := parseBatch(value)
	if r != nil {
		return nil, r
	}
	return b, nil
}

// parseBatch gives the signing input too, which is the value without its signature.
func parseBatch(value []byte) (*Batch, []byte, *Refusal) {
	if len(value) > MaxBatch {
		return nil, nil, refuse(ReasonEncoding, "batch of %d bytes, at most %d", len(value), MaxBatch)
	}
	if b, ok := readBatch(value); ok {
		if again, err := b.Encode(); err == nil && bytes.Equal(again, value) {
			return b, signingInput(value, b.Signature), nil
		}
	}
	return parseGenerally(value)
}

// parseGenerally is parseBatch by the general decoder, which says what is wrong.
func parseGenerally(value []byte) (*Batch, []byte, *Refusal) {
	var w wireBatch
	if err := json.Unmarshal(value, &w, json.RejectUnknownMembers(true)); err != nil {
		return nil, nil, refuse(ReasonEncoding, "%w", err)
	}
	b := &Batch{Format: w.Format, Instance: w.Instance, Epoch: w.Epoch, Term: w.Term, Sequence: w.Sequence, Previous: w.Previous,
		Author: w.Author, Time: w.Time.UTC(), Signature: w.Signature}
	b.Records = make([]Record, len(w.Records))
	for i := range w.Records {
		r, err := w.Records[i].record()
		if err != nil {
			return nil, nil, refuse(ReasonEncoding, "record %d: %w", i, err)
		}
		b.Records[i] = r
	}
	again, err := b.Encode()
	if err != nil {
		return nil, nil, refuse(ReasonEncoding, "%w", err)
	}
	// One value, one spelling: whatever was not read (a missing member, another order, white space,
	// another way to write a number) shows here.
	if !bytes.Equal(again, value) {
		return nil, nil, refuse(ReasonEncoding, "not the canonical encoding, first at byte %d", firstDifference(value, again))
	}
	return b, signingInput(value, b.Signature), nil
}

func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
