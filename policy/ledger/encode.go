package ledger

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json/jsontext"
	"strconv"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// Encode gives the record's one spelling, as it stands in a batch. It fails where not exactly one
// member is set or a field is out of its range.
func (r *Record) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	return r.append(make([]byte, 0, usualRecord))
}

// usualRecord is room for an authorization with one charge, in bytes; what is longer grows.
const usualRecord = 704

// append writes a record that check took, its members in the order of RFC 8785. What check holds to
// a shape without quotes, backslashes and control characters goes in as it is.
func (r *Record) append(v []byte) ([]byte, error) {
	switch {
	case r.Authorize != nil:
		return r.Authorize.append(v), nil
	case r.Settle != nil:
		v = append(append(v, `{"operationId":"`...), r.Settle.OperationID...)
		v = hex.AppendEncode(append(v, `","txHash":"0x`...), r.Settle.TxHash[:])
		return append(v, `","type":"settle"}`...), nil
	case r.Cancel != nil:
		v = append(append(v, `{"operationId":"`...), r.Cancel.OperationID...)
		v, err := jsontext.AppendQuote(append(v, `","reason":`...), r.Cancel.Reason)
		return append(v, `,"type":"cancel"}`...), err
	case r.Bump != nil:
		return r.Bump.append(v), nil
	case r.DeployBinding != nil:
		value, err := r.DeployBinding.Encode()
		if err != nil {
			return nil, err
		}
		canonical := jsontext.Value(value)
		if err := canonical.Canonicalize(); err != nil {
			return nil, err
		}
		v = append(append(v, `{"binding":`...), canonical...)
		return append(v, `,"type":"binding"}`...), nil
	case r.EventFreeze != nil:
		v, err := jsontext.AppendQuote(append(v, `{"event":`...), r.EventFreeze.Event)
		v = append(append(v, `,"tokenId":"`...), r.EventFreeze.TokenID...)
		return append(v, `","type":"freeze"}`...), err
	case r.Wallet != nil:
		return r.Wallet.append(v), nil
	case r.Checkpoint != nil:
		v = append(append(v, `{"root":"`...), r.Checkpoint.Root...)
		v = strconv.AppendUint(append(v, `","size":`...), r.Checkpoint.Size, 10)
		return append(v, `,"type":"checkpoint"}`...), nil
	case r.Trim != nil:
		v = strconv.AppendUint(append(v, `{"firstKept":`...), r.Trim.FirstKept, 10)
		v = append(append(v, `,"snapshot":"`...), r.Trim.Snapshot...)
		return append(v, `","type":"trim"}`...), nil
	}
	v, err := appendEnvelope(append(v, `{"envelope":`...), r.enveloped())
	v = append(append(v, `,"type":"`...), r.Type()...)
	return append(v, `"}`...), err
}

// appendEnvelope writes an envelope, its members in the order of RFC 8785.
func appendEnvelope(v []byte, e *Enveloped) ([]byte, error) {
	v = base64.StdEncoding.AppendEncode(append(v, `{"payload":"`...), e.Payload)
	v, err := jsontext.AppendQuote(append(v, `","payloadType":`...), e.PayloadType)
	if err != nil {
		return nil, err
	}
	v = append(v, `,"signatures":[`...)
	for i, s := range e.Signatures {
		if i > 0 {
			v = append(v, ',')
		}
		if v, err = jsontext.AppendQuote(append(v, `{"keyid":`...), s.KeyID); err != nil {
			return nil, err
		}
		v = base64.StdEncoding.AppendEncode(append(v, `,"sig":"`...), s.Sig)
		v = append(v, `"}`...)
	}
	return append(v, `]}`...), nil
}

func (a *Authorize) append(v []byte) []byte {
	v = append(v, `{"charges":[`...)
	for i := range a.Charges {
		if i > 0 {
			v = append(v, ',')
		}
		v = a.Charges[i].append(v)
	}
	v = a.Expiry.AppendFormat(append(v, `],"expiry":"`...), time.RFC3339)
	v = strconv.AppendUint(append(v, `","gasLimit":`...), a.GasLimit, 10)
	v = append(append(v, `,"intent":"`...), a.Intent...)
	v = appendAmount(append(v, `","maxFee":`...), a.MaxFee)
	v = strconv.AppendUint(append(v, `,"nonce":`...), a.Nonce, 10)
	v = append(append(v, `,"operationId":"`...), a.OperationID...)
	v = appendAmount(append(v, `","tip":`...), a.Tip)
	v = hex.AppendEncode(append(v, `,"tx":"0x`...), a.Tx[:])
	v = append(append(v, `","type":"authorize","walletId":"`...), a.WalletID...)
	return append(v, `"}`...)
}

func (c *Charge) append(v []byte) []byte {
	v = appendAmount(append(v, `{"amount":`...), c.Amount)
	v = strconv.AppendUint(append(v, `,"chainId":`...), c.ChainID, 10)
	v, _ = c.Contract.AppendText(append(v, `,"contractAddress":"`...)) // an address always has a text
	v = append(append(v, `","operation":"`...), c.Operation...)
	return append(v, `"}`...)
}

func (b *Bump) append(v []byte) []byte {
	v = appendAmount(append(v, `{"maxFee":`...), b.MaxFee)
	v = append(append(v, `,"operationId":"`...), b.OperationID...)
	v = appendAmount(append(v, `","tip":`...), b.Tip)
	v = hex.AppendEncode(append(v, `,"tx":"0x`...), b.Tx[:])
	v = strconv.AppendUint(append(v, `","type":"bump","version":`...), b.Version, 10)
	return append(v, '}')
}

func (w *Wallet) append(v []byte) []byte {
	v = append(append(v, `{"address":"`...), w.Address.String()...)
	v = append(append(v, `","network":"`...), w.Network...)
	v = base64.StdEncoding.AppendEncode(append(v, `","publicKey":"`...), w.PublicKey)
	v = append(append(v, `","scheme":"`...), w.Scheme...)
	v = append(append(v, `","type":"wallet","vaultAccountId":"`...), w.VaultAccountID...)
	v = append(append(v, `","walletId":"`...), w.WalletID...)
	return append(v, `"}`...)
}

func appendAmount(v []byte, a policy.Amount) []byte {
	return append(append(append(v, '"'), a.String()...), '"')
}
