package dev_test

import (
	"fmt"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// check is what must hold in the end, whatever was broken.
func (h *soakHouse) check(c *crowd, before map[string]int) {
	h.t.Helper()
	h.reorgsAreOver()
	ops := h.operations(0)
	for id, op := range h.operations(1) {
		if ops[id].Status != op.Status {
			h.t.Errorf("%s is %s at one appliance and %s at the other", id, ops[id].Status, op.Status)
		}
	}
	h.report(c, ops)
	h.keysHold(c, ops)
	h.qustodyHolds(ops)
	law := h.readLaw(ops)
	law.lawHolds(c)
	law.wordsHold(c, ops)
	h.historiesHold(ops)
	h.carriedOutOnce(ops)
	for n := range applianceIDs {
		h.boxes[n].intact()
	}
	h.provesItself(ops)
	h.reconciles()
	h.sinkHolds(ops)
	h.processesHold(before)
	h.logsHold()
	for _, wrong := range c.wrong {
		h.t.Errorf("%s", wrong)
	}
}

// reorgsAreOver waits until what a deep reorg took away is looked at: an operation
// whose block is gone is COMPLETED for a moment longer. What stays so is found by
// carriedOutOnce.
func (h *soakHouse) reorgsAreOver() {
	h.t.Helper()
	if !h.deep.Load() {
		return
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Second) {
		transactions, failed, _ := h.onChain()
		if !slices.ContainsFunc(slices.Collect(maps.Values(h.operations(0))), func(op client.Operation) bool {
			hash := op.BlockchainTransactionHash
			return !op.Status.Terminal() || hash != nil && (op.Status == client.OperationStatusCOMPLETED) != (transactions[*hash].Hash != "" && !failed[*hash])
		}) {
			return
		}
	}
}

// report says what the run was about.
func (h *soakHouse) report(c *crowd, ops map[string]client.Operation) {
	ends, kinds := map[string]int{}, map[string]int{}
	for _, op := range ops {
		reason := ""
		if op.FailureReason != nil {
			reason, _, _ = strings.Cut(" "+*op.FailureReason, ":")
		}
		ends[string(op.Status)+reason]++
		if op.Status == client.OperationStatusFAILED && op.BlockchainTransactionHash != nil { // the chain said so
			h.t.Logf("%s %s FAILED: %v %+v", op.OperationType, op.OperationID, *op.FailureReason, op.History)
		}
		kinds[string(op.OperationType)]++
	}
	unknown := 0
	for _, a := range c.asks {
		unknown += a.unknown
	}
	h.t.Logf("%d requests, %d attempts of unknown outcome; operations %v; ended %v; refusals %v; %d events came again",
		len(c.asks), unknown, kinds, ends, c.seen, h.sink.again)
	for _, p := range h.processes() {
		h.t.Logf("%s was started %d times; of itself it ended: %v", p.name, p.starts, p.crashes)
	}
}

// keysHold: every key has one operation, and every operation one key.
func (h *soakHouse) keysHold(c *crowd, ops map[string]client.Operation) {
	keys := map[string]string{}
	for _, a := range c.asks {
		if a.id == "" {
			if a.refused == nil {
				h.t.Errorf("key %s was never answered", a.key)
			}
			continue
		}
		if other := keys[a.id]; other != "" {
			h.t.Errorf("%s is the operation of the keys %s and %s", a.id, other, a.key)
		}
		keys[a.id] = a.key
		op, known := ops[a.id]
		if !known {
			h.t.Errorf("key %s was answered with %s, of which nothing is known", a.key, a.id)
		} else if op.OperationType != a.kind {
			h.t.Errorf("key %s asked for %s, its operation is %s", a.key, a.kind, op.OperationType)
		}
	}
	extra := 0
	for id, op := range ops {
		if keys[id] == "" && op.RequestedBy != qustodyName {
			extra++
		}
	}
	if extra != h.setUp {
		h.t.Errorf("%d operations have no key; the set-up's are %d", extra, h.setUp)
	}
}

// wordsHold: what a person was told was recorded counts, and nothing else does.
// Whether a rejection counts is the group's in which he was then.
func (l *lawReader) wordsHold(c *crowd, ops map[string]client.Operation) {
	for id, words := range c.words {
		op := ops[id]
		recorded := map[string]bool{}
		for _, a := range op.Approvals {
			recorded[a.Approver+" "+string(a.Decision)] = true
		}
		for _, w := range words {
			name := w.who + " " + string(w.verb)
			counts := slices.ContainsFunc(l.said[id], func(s saying) bool { return s.who == w.who && s.verb == w.verb && s.grouped })
			switch {
			case w.who == "operator" && w.taken && op.Status != client.OperationStatusCANCELLED:
				l.h.t.Errorf("%s was withdrawn and is %s", id, op.Status)
			case w.who == "operator":
			case w.taken && !recorded[name]:
				l.h.t.Errorf("%s: %s was taken and is not among %v", id, name, op.Approvals)
			case w.taken && w.verb == policy.Reject && counts && op.Status != client.OperationStatusREJECTED:
				l.h.t.Errorf("%s was rejected by %s and is %s", id, w.who, op.Status)
			case w.refused != nil && recorded[name] && !slices.ContainsFunc(words, func(o *word) bool {
				return o.who == w.who && o.verb == w.verb && (o.taken || o.unknown > 0) // he said it more than once
			}):
				l.h.t.Errorf("%s: %s was refused (%v) and is recorded", id, name, w.refused)
			}
		}
	}
}

// legal are the states that may follow each (the API's contract), beside the
// way back that a reorg takes.
var legal = map[client.OperationStatus][]client.OperationStatus{
	"SUBMITTED":             {"PENDING_AUTHORIZATION", "APPROVED"},
	"PENDING_AUTHORIZATION": {"APPROVED", "REJECTED", "CANCELLED"},
	"APPROVED":              {"PENDING_SIGNATURE", "REJECTED", "CANCELLED"},
	"PENDING_SIGNATURE":     {"SIGNED", "QUEUED", "PENDING_AUTHORIZATION", "REJECTED", "CANCELLED", "FAILED"},
	"QUEUED":                {"SIGNED", "QUEUED", "PENDING_AUTHORIZATION", "REJECTED", "CANCELLED", "FAILED"},
	"SIGNED":                {"BROADCASTING"},
	"BROADCASTING":          {"CONFIRMING", "FAILED"},
	"CONFIRMING":            {"COMPLETED", "FAILED", "BROADCASTING"},
}

func (h *soakHouse) historiesHold(ops map[string]client.Operation) {
	for id, op := range ops {
		for n := 1; n < len(op.History); n++ {
			from, to := op.History[n-1].Status, op.History[n].Status
			if h.deep.Load() && from.Terminal() && to == client.OperationStatusBROADCASTING {
				continue // its block was taken away
			}
			if !slices.Contains(legal[from], to) {
				h.t.Errorf("%s went from %s to %s: %+v", id, from, to, op.History)
			}
		}
		for _, never := range []string{"NONCE_STOLEN", "out of gas"} { // nobody steals, and what was estimated is enough
			if op.FailureReason != nil && strings.Contains(*op.FailureReason, never) {
				h.t.Errorf("%s: %s", id, *op.FailureReason)
			}
		}
	}
}

// carriedOutOnce: each operation that was carried out is on the chain once, and
// nothing else is.
func (h *soakHouse) carriedOutOnce(ops map[string]client.Operation) {
	transactions, failed, events := h.onChain()
	nonces := map[string]map[uint64]bool{}
	for _, m := range transactions {
		of := strings.ToLower(m.From)
		if nonces[of] == nil {
			nonces[of] = map[uint64]bool{}
		}
		if nonces[of][uint64(m.Nonce)] {
			h.t.Errorf("%s used nonce %d twice", of, m.Nonce)
		}
		nonces[of][uint64(m.Nonce)] = true
	}
	for of, used := range nonces {
		for n := range uint64(len(used)) {
			if !used[n] {
				h.t.Errorf("%s has %d transactions and none with nonce %d", of, len(used), n)
			}
		}
	}
	byHash := map[string]client.Operation{}
	supply := map[string]*big.Int{}
	for _, t := range h.tokens {
		supply[t.id] = new(big.Int)
	}
	for id, op := range ops {
		hash := op.BlockchainTransactionHash
		onChain := hash != nil && transactions[*hash].Hash != ""
		switch {
		case op.Status == client.OperationStatusCOMPLETED && (!onChain || failed[*hash]):
			h.t.Errorf("%s %s is COMPLETED; on the chain: %v", op.OperationType, id, onChain)
		case op.Status != client.OperationStatusCOMPLETED && onChain && !failed[*hash]:
			h.t.Errorf("%s %s is %s, and its transaction %s was carried out", op.OperationType, id, op.Status, *hash)
		}
		if !onChain {
			continue
		}
		if other, twice := byHash[*hash]; twice {
			h.t.Errorf("%s and %s have one transaction", other.OperationID, id)
		}
		byHash[*hash] = op
		if op.Status != client.OperationStatusCOMPLETED || op.TokenID == nil {
			continue
		}
		amount := new(big.Int)
		if op.Amount != nil {
			amount.SetString(*op.Amount, 10)
		}
		switch op.OperationType {
		case client.OperationTypeMINT:
			supply[*op.TokenID].Add(supply[*op.TokenID], amount)
		case client.OperationTypeBURN:
			supply[*op.TokenID].Sub(supply[*op.TokenID], amount)
		}
	}
	for hash, m := range transactions {
		if _, known := byHash[hash]; !known {
			h.t.Errorf("transaction %s (nonce %d of %s) is no operation's", hash, m.Nonce, m.From)
		}
	}
	told := map[string]int{}
	for _, e := range events {
		op := byHash[e.TransactionHash]
		if op.OperationType == client.OperationTypeDEPLOYTOKEN {
			continue
		}
		told[e.TransactionHash]++
		if string(op.OperationType) != e.what() || told[e.TransactionHash] > 1 {
			h.t.Errorf("%s %s wrote %s", op.OperationType, op.OperationID, e.what())
		}
		if op.Amount != nil && e.amount().String() != *op.Amount {
			h.t.Errorf("%s %s of %s wrote %s", op.OperationType, op.OperationID, *op.Amount, e.amount())
		}
	}
	for _, t := range h.tokens {
		var total string
		h.into(&total, "eth_call", fmt.Sprintf(`[{"to":%q,"data":"0x18160ddd"}, "latest"]`, t.contract)) // totalSupply()
		if got, ok := new(big.Int).SetString(total, 0); !ok || got.Cmp(supply[t.id]) != 0 {
			h.t.Errorf("the supply of %s is %s, by its operations %s", t.id, total, supply[t.id])
		}
	}
}

// provesItself has the operator's program verify the ledger, the audit log,
// both disks and some receipts.
func (h *soakHouse) provesItself(ops map[string]client.Operation) {
	program, err := commandLine()
	if err != nil {
		h.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(h.dir, "charter1.sha256"))
	if err != nil {
		h.t.Fatal(err)
	}
	charter1 := strings.TrimSpace(string(text))
	ids := slices.Sorted(maps.Keys(ops))
	for n := range applianceIDs {
		box := h.boxes[n]
		for i := 0; i < len(ids); i += 1 + len(ids)/10 {
			h.eventually(func() error { // until the next checkpoint
				_, err := box.as("viewer").GetTokenOperationReceipt(box.context(), ids[i])
				return err
			})
			box.receipt(ids[i])
		}
		cmd := exec.Command(program, "audit", "verify", "--charter1", charter1)
		cmd.Env = []string{"HOME=" + h.t.TempDir(), "MINTWARDEN_URL=" + box.url, "MINTWARDEN_CA=" + h.dir + "/tls/ca.crt",
			"MINTWARDEN_CERT=" + h.dir + "/tls/client.crt", "MINTWARDEN_KEY=" + h.dir + "/tls/client.key", "MINTWARDEN_API_KEY_FILE=" + h.dir + "/keys/viewer.apikey"}
		if out, err := cmd.CombinedOutput(); err != nil {
			h.t.Errorf("audit verify at %s: %v\n%s", applianceIDs[n], err, out)
		}
		if exit, said := alone(h.t, program, "audit", "verify", "--tiles", h.file(n, "audit"), "--charter1", charter1); exit != 0 {
			h.t.Errorf("audit verify --tiles at %s: exit code %d\n%s", applianceIDs[n], exit, said)
		}
	}
}

// reconciles: the chain tells of nothing that nobody authorized.
func (h *soakHouse) reconciles() {
	for _, t := range h.tokens {
		for n := range applianceIDs {
			r := h.boxes[n].reconciled(t.id, func(r *client.Reconciliation) bool { return r.Status == client.ReconciliationStatusAGREES })
			if r.UnmatchedTotal != 0 || r.Frozen || r.Supply.Events != r.Supply.Contract || r.Supply.Events != r.Supply.Operations {
				h.t.Errorf("the reconciliation of %s: %+v", t.id, r)
			}
		}
	}
}

// tellsOfEnd is the event that tells of an operation's end.
var tellsOfEnd = map[client.OperationType]string{"MINT": "token.minted", "BURN": "token.burned", "TRANSFER": "token.transferred",
	"GRANT_ROLE": "token.role_granted", "REVOKE_ROLE": "token.role_revoked"}

// sinkHolds waits until the webhooks told of each operation's end, and looks at
// the order in which they told.
func (h *soakHouse) sinkHolds(ops map[string]client.Operation) {
	ends := []string{"token.operation_rejected", "token.operation_cancelled", "token.operation_failed", "token.reconciliation_failed"}
	for deadline := time.Now().Add(soakPatience); ; time.Sleep(100 * time.Millisecond) {
		var missing []string
		for id, op := range ops {
			if op.OperationType == client.OperationTypeDEPLOYTOKEN {
				continue
			}
			want := map[client.OperationStatus]string{"COMPLETED": tellsOfEnd[op.OperationType], "REJECTED": ends[0], "CANCELLED": ends[1], "FAILED": ends[2]}[op.Status]
			told := h.sink.of(id)
			if len(told) == 0 && op.CreatedAt.Before(h.hooked) {
				continue // before there was an endpoint
			}
			if !slices.Contains(told, want) {
				missing = append(missing, fmt.Sprintf("%s %s %s: told of %v", op.OperationType, id, op.Status, told))
			}
		}
		if len(missing) == 0 {
			break
		}
		if time.Now().After(deadline) {
			h.t.Errorf("of %d operations the webhooks never told the end, such as\n%s", len(missing), strings.Join(missing[:min(len(missing), 10)], "\n"))
			break
		}
	}
	for id, op := range ops {
		told := h.sink.of(id)
		if len(told) == 0 {
			continue
		}
		if end := told[len(told)-1]; end != tellsOfEnd[op.OperationType] && !slices.Contains(ends, end) {
			h.t.Errorf("%s %s %s: the last that was told is %v", op.OperationType, id, op.Status, told)
		}
		if at := slices.IndexFunc(told, func(e string) bool { return strings.HasSuffix(e, "_requested") }); at > 0 {
			h.t.Errorf("%s %s: told %v", op.OperationType, id, told)
		}
		for n, e := range told {
			if n < len(told)-1 && !h.deep.Load() && (e == tellsOfEnd[op.OperationType] || slices.Contains(ends, e)) {
				h.t.Errorf("%s %s: told %v", op.OperationType, id, told)
			}
			if e == "token.reconciliation_failed" && !h.deep.Load() {
				h.t.Errorf("%s %s: a failed reconciliation was told: %v", op.OperationType, id, told)
			}
		}
	}
	h.sink.mu.Lock()
	defer h.sink.mu.Unlock()
	if len(h.sink.forged) != 0 || !h.deep.Load() && slices.Contains(h.sink.others, "token.reconciliation_failed") {
		h.t.Errorf("told: %v; not verified: %v", h.sink.others, h.sink.forged)
	}
}

// processesHold: none ended by a panic, and none holds more and more.
func (h *soakHouse) processesHold(before map[string]int) {
	for _, p := range h.processes() {
		for _, end := range p.panics {
			h.t.Errorf("ended by a panic: %s", end)
		}
	}
	for name, n := range h.use() {
		h.t.Logf("%s: %d, at the beginning %d", name, n, before[name])
		if n > 2*before[name]+50 {
			h.t.Errorf("%s: %d, at the beginning %d", name, n, before[name])
		}
	}
}
