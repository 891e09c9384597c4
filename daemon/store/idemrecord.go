package store

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/mintwarden/mintwarden/daemon/packed"
)

// storedRecords is how records are kept: an answer is the largest thing that a request leaves, and says much the same
// as others. What is here is part of the form: it is not changed, another mark gets another one.
var storedRecords = packed.New(1, `"attention":null,"blockNumber":1,"blockchainTransactionHash":"0x"REJECTEDCANCELLEDSUBMITTEDDEPLOY_TOKENBURNTRANSFERGRANT_ROLE`+
	`"failureReason":"","fromAddress":"0x","role":"MINTER","subjectAddress":"0x","resourceId":"","pending":true,`+
	`{"amount":"10","approvalPolicyId":"pol_01M","createdAt":"2026-1Z","operationId":"op_01M","operationType":"MINT","recipientAddress":"0x`+
	`","status":"PENDING_AUTHORIZATION","tokenId":"token_01M","transactionRequestId":"txreq_01M"}`+
	`{"bodyHash":"","status":202,"createdAt":"2026-1Z"}`+"\n0"+`{"bodyHash":"","status":200,"createdAt":"2026-1Z"}`+"\n1"+
	`{"amount":"10","approvalGroup":"approvers","approvals":[{"approver":"approver-1","decidedAt":"2026-1Z","decision":"APPROVE","reason":""},`+
	`{"approver":"approver-2","decidedAt":"2026-1Z","decision":"APPROVE","reason":""}],"approvedBy":["approver-1","approver-2"],`+
	`"attention":null,"blockNumber":null,"blockchainTransactionHash":null,"confirmations":0,"createdAt":"2026-1Z","expiresAt":"2026-1Z",`+
	`"failureReason":null,"fromAddress":null,"history":[{"at":"2026-1Z","status":"SUBMITTED"},{"at":"2026-1Z","status":"PENDING_AUTHORIZATION"},`+
	`{"at":"2026-1Z","status":"APPROVED"},{"at":"2026-1Z","status":"PENDING_SIGNATURE"}],"intent":"`+
	`{"format":1,"domain":"mintwarden/intent","instance":"inst_01M","epoch":1,"charter":"sha256:","operationId":"op_01M`+
	`","operationType":"MINT","network":"quantum-chain-mainnet","chainId":1,"scheme":"dilithium3","token":{"id":"token_01M`+
	`","contractAddress":"0x","templateId":"tpl_qrc20_v1","symbol":"","decimals":18},"performer":{"walletId":"wallet_01M`+
	`","address":"0x"},"params":{"amount":"10","recipient":"0x"},"feeCap":"1971057","policies":[{"id":"pol_01M`+
	`","version":1,"digest":"sha256:"}],"requester":"operator","notBefore":"2026-1Z","expiresAt":"2026-1Z"}`+
	`","intentDigest":"sha256:","operationId":"op_01M","operationType":"MINT","policy":{"id":"pol_01M","version":1},"recipientAddress":"0x`+
	`","requestedBy":"operator","requiredApprovals":2,"role":null,"singleNode":false,"status":"PENDING_SIGNATURE","subjectAddress":null,`+
	`"tokenId":"token_01M","transactionRequestId":"txreq_01M","updatedAt":"2026-1Z"}`)

// How a body stands behind its line.
const (
	plainBody = '0'
	// undoneBody has a text in base64 undone, between two zero bytes, of which there are no others: what is in base64
	// has nothing in common with what is not.
	undoneBody = '1'
)

// encode is the record's value: a line of JSON without the body, and behind its end the body; all of it packed.
func (r *IdempotencyRecord) encode() ([]byte, error) {
	if len(r.Body) > MaxTxBytes {
		return nil, fmt.Errorf("%w: an answer of %d bytes", ErrTooLarge, len(r.Body))
	}
	head := *r
	head.Body = nil
	text, err := json.Marshal(&head)
	if err != nil || r.Body == nil {
		return text, err
	}
	form, body := byte(plainBody), r.Body
	if undone, ok := undo64(body); ok {
		form, body = undoneBody, undone
	}
	text = append(append(text, '\n', form), body...)
	if value := storedRecords.Pack(text); storedRecords.Packed(value) {
		return value, nil
	}
	return json.Marshal(r) // it is too small to be worth it: all in the line, as earlier versions had it
}

// worthUndoing is how long a text in base64 must be, in bytes.
const worthUndoing = 256

// undo64 undoes the first long text in base64 of a JSON document, as its intent is; false if there is none, or what is
// left would not be told from another text.
func undo64(body []byte) ([]byte, bool) {
	if bytes.IndexByte(body, 0) >= 0 {
		return nil, false
	}
	for from := 0; ; {
		at := bytes.IndexByte(body[from:], '"')
		if at < 0 {
			return nil, false
		}
		from += at + 1
		end := bytes.IndexByte(body[from:], '"')
		if end < worthUndoing {
			continue
		}
		clear, err := base64.StdEncoding.AppendDecode(nil, body[from:from+end])
		if err != nil || bytes.IndexByte(clear, 0) >= 0 {
			continue
		}
		out := slices.Concat(body[:from], []byte{0}, clear, []byte{0}, body[from+end:])
		again, ok := redo64(out)
		return out, ok && bytes.Equal(again, body)
	}
}

// redo64 is what undo64 was given.
func redo64(undone []byte) ([]byte, bool) {
	before, rest, ok := bytes.Cut(undone, []byte{0})
	clear, after, more := bytes.Cut(rest, []byte{0})
	if !ok || !more {
		return nil, false
	}
	return append(base64.StdEncoding.AppendEncode(bytes.Clone(before), clear), after...), true
}

var errRecord = errors.New("not a record of idempotency")

// parseRecord is strict. A record of an earlier version has its body in the line, or deflated behind it.
func parseRecord(b []byte) (*IdempotencyRecord, error) {
	if len(b) > 2*MaxTxBytes {
		return nil, fmt.Errorf("%w: %d bytes", errRecord, len(b))
	}
	if storedRecords.Packed(b) {
		return parsePackedRecord(b)
	}
	text, deflated, has := bytes.Cut(b, []byte{'\n'})
	var r IdempotencyRecord
	if err := json.Unmarshal(text, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	if !has {
		return &r, nil
	}
	if r.Body != nil {
		return nil, fmt.Errorf("%w: two bodies", errRecord)
	}
	from := bytes.NewReader(deflated)
	body, err := io.ReadAll(io.LimitReader(flate.NewReader(from), MaxTxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%w: its body: %w", errRecord, err)
	}
	if len(body) > MaxTxBytes || from.Len() > 0 {
		return nil, fmt.Errorf("%w: a body of %d bytes or more, %d are left", errRecord, len(body), from.Len())
	}
	r.Body = body
	return &r, nil
}

func parsePackedRecord(b []byte) (*IdempotencyRecord, error) {
	text, err := storedRecords.Unpack(b, 2*MaxTxBytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	head, rest, has := bytes.Cut(text, []byte{'\n'})
	var r IdempotencyRecord
	if err := json.Unmarshal(head, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	if !has || len(rest) == 0 || r.Body != nil {
		return nil, fmt.Errorf("%w: no body, or two", errRecord)
	}
	form, body := rest[0], rest[1:]
	switch form {
	case plainBody:
	case undoneBody:
		if body, has = redo64(body); !has {
			return nil, fmt.Errorf("%w: its body is not in the form that it says", errRecord)
		}
	default:
		return nil, fmt.Errorf("%w: a body of form %q", errRecord, form)
	}
	if len(body) > MaxTxBytes {
		return nil, fmt.Errorf("%w: a body of %d bytes", errRecord, len(body))
	}
	r.Body = body
	return &r, nil
}
