package dev_test

import (
	"encoding/json/v2"
	"maps"
	"os"
	"slices"
	"strings"
)

// explained are the lines of level WARN and ERROR that faults of the soak's
// kinds may write, each with the page of the guide, or the page of the README,
// that says what it means. A line that is none of them fails the soak: an
// operator could make nothing of it.
var explained = map[string]string{
	"ERROR anchor not renewed; nothing is signed until it is":                           "MintwardenTokenLost: tried again before anything is decided",
	"ERROR call to the token is stuck; its session is abandoned":                        "MintwardenHSMStuck",
	"ERROR chain node is of another chain; nothing is sent to it":                       "MintwardenNodeErrors",
	"ERROR ledger in doubt; nothing is decided":                                         "MintwardenStoreErrors: asked again as soon as etcd answers",
	"ERROR outcome of a commit is unknown; offering it again":                           "MintwardenStoreErrors",
	"ERROR registry: a batch is not carried yet; trying again":                          "MintwardenLedgerBehind",
	"ERROR the log was not shortened":                                                   "MintwardenLedgerNotShortened: tried again at the next batches",
	"ERROR the token cannot be used":                                                    "MintwardenTokenLost",
	"ERROR the worker is silent; it is killed":                                          "MintwardenSealDown: it was paused",
	"ERROR token needs a new process":                                                   "MintwardenHSMErrors: the worker ends, and another one logs in",
	"ERROR worker crashed":                                                              "MintwardenSealDown: the token's library did, and where it was",
	"ERROR worker did not take its greeting":                                            "MintwardenSealDown: it was killed in its start",
	"ERROR worker ended; starting another":                                              "MintwardenSealDown: no custodian is needed",
	"ERROR worker ends":                                                                 "MintwardenSealDown",
	"PLAIN mintwardend: daemon: store: etcd is not available":                           "MintwardenDown: it ends where there is no etcd at its start, and is started again",
	"WARN a fence is given back when the store answers":                                 "MintwardenStoreErrors",
	"WARN an operation whose block is gone is looked at again":                          "Chains and nodes that misbehave: a reorg",
	"WARN another seal wrote the anchor, of this log; deciding anew":                    "MintwardenNoticed, commit_refused: an author that was paused past its lease woke up",
	"WARN api: a proposal is not rehearsed":                                             "MintwardenSealDown",
	"WARN api: the seal does not say how it is":                                         "MintwardenSealDown",
	"WARN archive's archivist: starting again":                                          "MintwardenStoreErrors",
	"WARN archive's collector: starting again":                                          "MintwardenStoreErrors",
	"WARN audit log's archive: starting again":                                          "MintwardenStoreErrors",
	"WARN audit log's follower: starting again":                                         "MintwardenStoreErrors",
	"WARN audit log's sequencer: starting again":                                        "MintwardenAuditBacklog",
	"WARN audit log: a checkpoint is not cosigned":                                      "MintwardenCheckpointOld",
	"WARN audit log: no checkpoint":                                                     "MintwardenCheckpointOld",
	"WARN callback: a round failed":                                                     "MintwardenCallbackFails",
	"WARN callback: a transaction is refused":                                           "MintwardenCallbackRefuses",
	"WARN chain node does not answer":                                                   "MintwardenNodeErrors",
	"WARN chain node fails":                                                             "MintwardenNodeErrors",
	"WARN chain node is slow; others are asked beside it":                               "MintwardenNodeErrors",
	"WARN error occurred during lease keep alive request sending":                       "MintwardenStoreErrors: etcd's own client",
	"WARN lane: a step is tried again":                                                  "MintwardenOperationsStuck, where it does not end: the line says what it waits for",
	"WARN lane: starting again":                                                         "MintwardenStoreErrors",
	"WARN link: a caller is refused":                                                    "the line says it: a custodian suspended the appliance that asks",
	"WARN link: a request is not passed on":                                             "MintwardenSealDown",
	"WARN link: our own seal did not answer a peer":                                     "MintwardenSealDown",
	"WARN operations: reading them again":                                               "MintwardenStoreErrors",
	"WARN reconciliation: a network could not be looked at whole; trying again":         "MintwardenReconciliationBehind",
	"WARN reconciliation: waiting for its fence":                                        "MintwardenStoreErrors",
	"WARN registry: following the ledger again":                                         "MintwardenLedgerBehind",
	"WARN registry: how far the ledger is carried was not written; trying again":        "MintwardenLedgerBehind",
	"WARN registry: reading a prefix again":                                             "MintwardenStoreErrors",
	"WARN registry: when credentials were used last was not written":                    "MintwardenStoreErrors",
	"WARN retrying of unary invoker failed":                                             "MintwardenStoreErrors: etcd's own client",
	"WARN seal connection ended":                                                        "MintwardenDown: serve ended in the middle of a question",
	"WARN sealed":                                                                       "MintwardenSealed",
	"WARN share refused":                                                                "MintwardenSealed: the line says why; a custodian gave his twice",
	"WARN store: etcd does not say how full it is":                                      "MintwardenStoreErrors",
	"WARN store: fences end with their lease only":                                      "MintwardenStoreErrors",
	"WARN the keeper was not told that callers are answered":                            "MintwardenSealDown: it was killed",
	"WARN the ledger is not read yet; it is tried again":                                "MintwardenStoreErrors: etcd was away when the seal began",
	"WARN the log has moved on, or the author key changed; deciding anew":               "MintwardenNoticed, commit_refused: a paused appliance woke up",
	"WARN the token gave a key's handle to another object; the key is looked for again": "MintwardenHSMErrors: nothing was signed with it",
	"WARN the token's canary failed":                                                    "MintwardenTokenLost",
	"WARN this appliance is suspended; another one may write the ledger":                "the line says it: a custodian did that",
	"WARN token not closed":                                                             "MintwardenHSMErrors: a call hangs",
	"WARN trying the token again":                                                       "MintwardenTokenLost",
	"WARN unsealed by a quorum of custodians":                                           "MintwardenSealed",
	"WARN webhooks: a delivery is tried again":                                          "MintwardenWebhooksWait",
	"WARN webhooks: an endpoint's deliveries cannot be read":                            "MintwardenStoreErrors",
	"WARN webhooks: starting again":                                                     "MintwardenStoreErrors",
}

// explainedByReorgs are explained only where a reorg that took away what was final
// was among the faults.
var explainedByReorgs = map[string]string{
	"ERROR a reorg deeper than the confirmations took an operation's block away":                             "MintwardenOperationAlarm, DEEP_REORG",
	"ERROR reconciliation: a reorg took a final block away; the token is looked at from its beginning again": "MintwardenOperationAlarm, DEEP_REORG",
	"ERROR reconciliation: supplies differ":                                                                  "MintwardenReconciliationDisagrees: COMPLETED is taken back a moment later",
}

// logsHold: nothing was logged that nobody explains.
func (h *soakHouse) logsHold() {
	h.t.Helper()
	lines, first := map[string]int{}, map[string]string{}
	for n := range applianceIDs {
		for _, p := range []*process{h.serves[n], h.seals[n]} {
			text, err := os.ReadFile(p.log)
			if err != nil {
				h.t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				var l struct {
					Level string `json:"level"`
					Msg   string `json:"msg"`
				}
				if json.Unmarshal([]byte(line), &l) != nil {
					l.Level, l.Msg = "PLAIN", strings.TrimSpace(line)
					if said, why, ok := strings.Cut(l.Msg, " is not available: "); ok && why != "" {
						l.Msg = said + " is not available" // which endpoints, and how, differs
					}
				}
				if l.Level == "INFO" || l.Level == "DEBUG" {
					continue
				}
				key := l.Level + " " + l.Msg
				if lines[key]++; first[key] == "" {
					first[key] = p.name + ": " + strings.TrimSpace(line)
				}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(lines)) {
		if explained[key] == "" && (!h.deep.Load() || explainedByReorgs[key] == "") {
			h.t.Errorf("%d times nobody explains: %s; first %.600s", lines[key], key, first[key])
			continue
		}
		h.t.Logf("%6d %s", lines[key], key)
	}
}
