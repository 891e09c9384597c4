package auditlog

import (
	"bytes"
	"fmt"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/packed"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// A value of the log holds one entry or several that follow each other, the last of which has the key's number; a
// value of the tree's order likewise holds blocks, and has the key of the last one. They stand a line each, in the
// form that is hashed, and packed as a whole: hashes and ids are all that an entry does not have in common with
// others. Earlier versions wrote one entry or block a value, as JSON.
//
// What is in the dictionaries is part of the form: it is not changed, another mark gets another one.
var (
	storedEntries = packed.New(1, `,"reason":"callback.webhook.testedwebhook.createdcredential.createdcredential.revokeduser.createdpolicy.proposed`+
		`policy.signedcharter.wallet.createdvault_account.createdtoken.createdtoken.updatedidempotency"resourceType":"webhook"`+
		`"resourceType":"credential"resourceType":"user"resourceType":"policy"resourceType":"wallet"resourceType":"token"`+
		`operation.deniedoperation.expiredoperation.cancelledoperation.rejectedoperation.failedoperation.rejection_recorded`+
		`operation.queuedoperation.bumpedoperation.replacedoperation.reorgedDEPLOY_TOKENBURNTRANSFERGRANT_ROLEREVOKE_ROLEPAUSE`+
		`{"action":"operation.submitted","actorId":"operator","actorType":"user","assertedBy":"api","createdAt":"2026-",`+
		`"metadata":{"expiresAt":"2026-Z","intentDigest":"sha256:","operationType":"MINT","performer":"0x","tokenId":"token_01M"},`+
		`{"action":"operation.pending_authorization","metadata":{"approvalGroup":"approvers","operationType":"MINT",`+
		`"policyId":"pol_01M","policyVersion":1,"requiredApprovals":2,"tokenId":"token_01M"},`+
		`{"action":"operation.approval_recorded","actorId":"approver-1","actorType":"user","assertedBy":"seal","createdAt":"2026-`+
		`"metadata":{"intentDigest":"sha256:","ledgerRecord":1,"ledgerSequence":1,"operationType":"MINT","reason":"","tokenId":"token_01M"},`+
		`{"action":"operation.approved","actorId":"system","actorType":"system","assertedBy":"seal","createdAt":"2026-`+
		`"metadata":{"approvedBy":["approver-1","approver-2"],"ledgerRecord":1,"ledgerSequence":1,"operationType":"MINT","tokenId":"token_01M`+
		`{"action":"operation.authorized","actorId":"system","metadata":{"gasLimit":49276,"ledgerRecord":1,"ledgerSequence":1,"maxFee":"1000046634`+
		`","nonce":2,"operationType":"MINT","signingHash":"0x","tip":"1000000000","tokenId":"token_01M","walletId":"wallet_01M"},`+
		`{"action":"operation.signed","metadata":{"ledgerSequence":1,"nonce":1,"operationType":"MINT","tokenId":"token_01M","transactionHash":"0x`+
		`{"action":"operation.confirming","metadata":{"blockHash":"0x","blockNumber":8,"operationType":"MINT","tokenId":"token_01M"},`+
		`{"action":"operation.completed","metadata":{"blockHash":"0x","blockNumber":8,"gasUsed":39053,"operationType":"MINT","tokenId":"token_01M`+
		`","transactionHash":"0x"},{"action":"operation.settled","assertedBy":"seal","createdAt":"2026-","metadata":{"ledgerRecord":1,"ledgerSequence":1`+
		`"userAgent":"mintwarden-client"}"requestId":"req_01M"ip":"127.0.0.1",`+
		`{"action":"operation.broadcasting","actorId":"system","actorType":"system","assertedBy":"api","createdAt":"2026-`+
		`Z","entryHash":"sha256:","id":"aud_01M","ip":"","metadata":{"operationType":"MINT","tokenId":"token_01M"},"prevHash":"sha256:`+
		`","requestId":"","resourceId":"op_01M","resourceType":"operation","seq":1,"tenantId":"","userAgent":""}`)

	storedBlocks = packed.New(1, `,"quiet":true}"entries":0{"format":1,"first":1,"entries":1,"audit":1,"batches":["sha256:","sha256:"],"ledger":1}`+"\n"+
		`{"format":1,"first":1,"entries":1,"audit":1,"batches":[],"ledger":1}`)
)

const (
	// valueFull is how many entries, or leaves of the tree, a value has that nothing is added to.
	valueFull = 64
	// valueMost is how many a value has at most that was put together.
	valueMost = 2 * valueFull
	// valueBytes bounds what is put together into a value, in bytes before packing.
	valueBytes = 512 << 10
	// valueText bounds what any value unpacks to.
	valueText = 2 << 20
)

// storeLines is the value that holds lines.
func storeLines(k *packed.Kind, lines [][]byte) []byte {
	return k.Pack(bytes.Join(lines, []byte{'\n'}))
}

// linesOf is the lines that a value holds: one at least.
func linesOf(k *packed.Kind, kv store.KV) ([][]byte, error) {
	text, err := k.Unpack(kv.Value, valueText)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kv.Key, err)
	}
	return bytes.Split(text, []byte{'\n'}), nil
}

// parseEntries reads what stands at a key of the log, strictly: entries that are numbered one after the other, up to
// the key's number. It does not check hashes.
func parseEntries(kv store.KV) ([]*audit.Entry, error) {
	last, err := parseLogKey(kv.Key)
	if err != nil {
		return nil, err
	}
	lines, err := linesOf(storedEntries, kv)
	if err != nil {
		return nil, fmt.Errorf("auditlog: %w", err)
	}
	out := make([]*audit.Entry, len(lines))
	for i, line := range lines {
		if out[i], err = audit.Parse(line); err != nil {
			return nil, fmt.Errorf("auditlog: %s: %w", kv.Key, err)
		}
		if want := last - uint64(len(lines)-1-i); uint64(out[i].Seq) != want {
			return nil, fmt.Errorf("auditlog: %s holds entry %d where %d was to stand", kv.Key, out[i].Seq, want)
		}
	}
	return out, nil
}

// parseBlocks reads what stands at a key of the tree's order, strictly: blocks that follow each other, up to the one
// with that key. Errors wrap errOrder.
func parseBlocks(kv store.KV) ([]*block, error) {
	lines, err := linesOf(storedBlocks, kv)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOrder, err)
	}
	out := make([]*block, len(lines))
	for i, line := range lines {
		if out[i], err = readBlock(line); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errOrder, kv.Key, err)
		}
		if i > 0 && out[i].First != out[i-1].end() {
			return nil, fmt.Errorf("%w: %s: a block begins at leaf %d, the one before ends at %d", errOrder, kv.Key, out[i].First, out[i-1].end())
		}
	}
	if last := out[len(out)-1]; last.key() != kv.Key {
		return nil, fmt.Errorf("%w: %s holds the block of %s", errOrder, kv.Key, last.key())
	}
	return out, nil
}
