package ledger

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/jsontext"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// reader reads canonical bytes fast and believes nothing: whatever it takes is encoded again and
// compared, and whatever it does not take goes to the general decoder, which knows why. So it may
// leave out every check that the encoding makes again (an address's checksum, leading zeros).
type reader struct {
	b   []byte
	bad bool // nothing that was read counts
}

// readBatch is ok where the value looks like the one spelling of a batch.
func readBatch(value []byte) (b *Batch, ok bool) {
	p := &reader{b: value}
	b = &Batch{}
	p.literal(`{"author":"`)
	b.Author = p.text()
	p.literal(`,"epoch":`)
	b.Epoch = p.integer()
	p.literal(`,"format":`)
	b.Format = int(p.integer())
	p.literal(`,"instance":"`)
	b.Instance = p.text()
	p.literal(`,"previous":"`)
	b.Previous = policy.Digest(p.text())
	p.literal(`,"records":[`)
	for !p.bad {
		b.Records = append(b.Records, p.record())
		if !p.maybe(`,`) {
			break
		}
	}
	p.literal(`],"sequence":`)
	b.Sequence = p.integer()
	p.literal(`,"signature":"`)
	b.Signature = p.base64()
	p.literal(`,"term":`)
	b.Term = p.integer()
	p.literal(`,"time":"`)
	b.Time = p.time()
	p.literal(`}`)
	return b, !p.bad && len(p.b) == 0
}

func (p *reader) record() Record {
	switch {
	case p.maybe(`{"charges":[`):
		return Record{Authorize: p.authorize()}
	case p.maybe(`{"envelope":`):
		return p.envelope()
	case p.maybe(`{"operationId":"`):
		return p.ending(p.text())
	}
	// The rest is rare: the general decoder reads one value.
	value, err := jsontext.NewDecoder(bytes.NewBuffer(p.b)).ReadValue()
	if err != nil {
		p.bad = true
		return Record{}
	}
	r, err := ParseRecord(value)
	if err != nil {
		p.bad = true
		return Record{}
	}
	p.b = p.b[len(value):]
	return *r
}

func (p *reader) authorize() *Authorize {
	a := &Authorize{Charges: []Charge{}}
	for !p.bad && p.maybe(`{"amount":"`) {
		var c Charge
		c.Amount = p.amount()
		p.literal(`,"chainId":`)
		c.ChainID = p.integer()
		p.literal(`,"contractAddress":"0x`)
		p.hex(c.Contract[:])
		p.literal(`,"operation":"`)
		c.Operation = policy.OperationType(p.text())
		p.literal(`}`)
		p.maybe(`,`)
		a.Charges = append(a.Charges, c)
	}
	p.literal(`],"expiry":"`)
	a.Expiry = p.time()
	p.literal(`,"gasLimit":`)
	a.GasLimit = p.integer()
	p.literal(`,"intent":"`)
	a.Intent = policy.Digest(p.text())
	p.literal(`,"maxFee":"`)
	a.MaxFee = p.amount()
	p.literal(`,"nonce":`)
	a.Nonce = p.integer()
	p.literal(`,"operationId":"`)
	a.OperationID = p.text()
	p.literal(`,"tip":"`)
	a.Tip = p.amount()
	p.literal(`,"tx":"0x`)
	p.hex(a.Tx[:])
	p.literal(`,"type":"authorize","walletId":"`)
	a.WalletID = p.text()
	p.literal(`}`)
	return a
}

// ending is a settle or a cancel.
func (p *reader) ending(operation string) (r Record) {
	if p.maybe(`,"txHash":"0x`) {
		var hash tx.Hash
		p.hex(hash[:])
		p.literal(`,"type":"settle"}`)
		return Record{Settle: &Settle{operation, hash}}
	}
	p.literal(`,"reason":"`)
	reason := p.text()
	p.literal(`,"type":"cancel"}`)
	return Record{Cancel: &Cancel{operation, reason}}
}

func (p *reader) envelope() (r Record) {
	e := &Enveloped{Signatures: []policy.Signature{}}
	p.literal(`{"payload":"`)
	e.Payload = p.base64()
	p.literal(`,"payloadType":"`)
	e.PayloadType = p.text()
	p.literal(`,"signatures":[`)
	for !p.bad && p.maybe(`{"keyid":"`) {
		id := p.text()
		p.literal(`,"sig":"`)
		e.Signatures = append(e.Signatures, policy.Signature{KeyID: id, Sig: p.base64()})
		p.literal(`}`)
		p.maybe(`,`)
	}
	p.literal(`]},"type":"`)
	place := r.envelopeOf(Type(p.text()))
	p.literal(`}`)
	if place == nil {
		p.bad = true
		return Record{}
	}
	*place = e
	return r
}

// maybe takes the text if it comes next.
func (p *reader) maybe(text string) bool {
	if len(p.b) < len(text) || string(p.b[:len(text)]) != text {
		return false
	}
	p.b = p.b[len(text):]
	return true
}

func (p *reader) literal(text string) {
	if !p.bad && !p.maybe(text) {
		p.bad = true
	}
}

// quoted is what stands before the next quote, which goes too. Escapes are not read.
func (p *reader) quoted() []byte {
	n := bytes.IndexByte(p.b, '"')
	if p.bad || n < 0 || bytes.IndexByte(p.b[:n], '\\') >= 0 {
		p.bad = true
		return nil
	}
	q := p.b[:n]
	p.b = p.b[n+1:]
	return q
}

func (p *reader) text() string { return string(p.quoted()) }

func (p *reader) integer() (n uint64) {
	digits := 0
	for ; digits < len(p.b) && digits < 17 && p.b[digits] >= '0' && p.b[digits] <= '9'; digits++ {
		n = n*10 + uint64(p.b[digits]-'0')
	}
	p.bad = p.bad || digits == 0 || digits > 16
	p.b = p.b[digits:]
	return n
}

func (p *reader) base64() []byte {
	q := p.quoted()
	out := make([]byte, base64.StdEncoding.DecodedLen(len(q)))
	n, err := base64.StdEncoding.Decode(out, q)
	p.bad = p.bad || err != nil
	return out[:n]
}

func (p *reader) hex(into []byte) {
	q := p.quoted()
	if p.bad || len(q) != 2*len(into) {
		p.bad = true
		return
	}
	_, err := hex.Decode(into, q)
	p.bad = p.bad || err != nil
}

func (p *reader) amount() policy.Amount {
	a, err := policy.ParseAmount(string(p.quoted()))
	p.bad = p.bad || err != nil
	return a
}

func (p *reader) time() time.Time {
	t, err := time.Parse(time.RFC3339, string(p.quoted()))
	p.bad = p.bad || err != nil
	return t.UTC()
}
