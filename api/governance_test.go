package api_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// signedBy is the body that hands in a document, signed by people.
func (h *house) signedBy(document string, payload []byte, people ...string) string {
	h.t.Helper()
	var signers []*policy.Signer
	for _, name := range people {
		signers = append(signers, h.signers[name])
	}
	e, err := policy.Sign(policy.PayloadType(document), payload, signers...)
	require.NoError(h.t, err)
	return `{"envelope":` + string(e.Encode()) + `}`
}

func (h *house) encoded(d interface{ Encode() ([]byte, error) }) []byte {
	h.t.Helper()
	b, err := d.Encode()
	require.NoError(h.t, err)
	return b
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// nextCharter is the charter that would follow the one in force, changed.
func (s *server) nextCharter(change func(*policy.Charter)) []byte {
	s.t.Helper()
	shown := is[api.Charter](s.as("viewer", "GET", "/v1/charter", ""), 200)
	c, err := policy.ParseCharter(shown.Document)
	require.NoError(s.t, err)
	digest := policy.Digest(shown.DocumentDigest)
	c.Version, c.Replaces = c.Version+1, &digest
	change(c)
	return s.encoded(c)
}

func (s *server) proposeCharter(as string, document []byte) answer {
	s.t.Helper()
	return s.as(as, "PUT", "/v1/charter", `{"document":"`+base64.StdEncoding.EncodeToString(document)+`"}`)
}

func TestACharterIsInForceWhenTheThresholdSigned(t *testing.T) {
	s := newHouse(t).serve()
	wider := s.nextCharter(func(c *policy.Charter) { c.Limits.MaxOutstanding = 32 })
	sibling := s.nextCharter(func(c *policy.Charter) { c.Limits.MaxOutstanding = 64 })
	proposed := s.proposeCharter("custodian-1", wider)
	golden(t, "charter-proposed", proposed, 202)
	p := is[api.Charter](proposed, 202)
	require.Equal(t, wider, p.Document, "what is signed is what was proposed")
	is[api.Charter](s.proposeCharter("admin", sibling), 202)
	require.Equal(t, p.DocumentDigest, is[api.Charter](s.proposeCharter("custodian-2", wider), 202).DocumentDigest, "the same bytes again")
	shown := is[api.Charter](s.as("viewer", "GET", "/v1/charter", ""), 200)
	require.EqualValues(t, 1, shown.Version)
	require.Len(t, *shown.Proposals, 2)
	require.Equal(t, string(policy.DigestOf(sibling)), (*shown.Proposals)[0].DocumentDigest, "newest first")

	sign := func(who string, document []byte, by ...string) answer {
		return s.as(who, "POST", "/v1/charter/sign", s.signedBy(policy.DocCharter, document, by...))
	}
	one := is[api.Charter](sign("custodian-1", wider, "custodian-1"), 200)
	require.Equal(t, api.CharterStatusPENDINGAUTHORIZATION, one.Status)
	require.Equal(t, []string{"custodian-1"}, one.SignedBy)
	require.Equal(t, []string{"custodian-1"}, is[api.Charter](sign("custodian-1", wider, "custodian-1"), 200).SignedBy, "one custodian is one signature")
	is[api.Charter](sign("custodian-2", sibling, "custodian-2"), 200)
	two := is[api.Charter](sign("custodian-3", wider, "custodian-3"), 200)
	require.Equal(t, api.CharterStatusACTIVE, two.Status)
	require.Equal(t, []string{"custodian-1", "custodian-3"}, two.SignedBy)
	golden(t, "charter-second", s.as("viewer", "GET", "/v1/charter", ""), 200)
	require.Equal(t, api.CharterStatusACTIVE, is[api.Charter](sign("custodian-3", wider, "custodian-3"), 200).Status, "the same envelope again")

	overtaken := *is[api.Charter](s.as("viewer", "GET", "/v1/charter", ""), 200).Proposals
	require.Len(t, overtaken, 1)
	require.Equal(t, api.CharterStatusSUPERSEDED, overtaken[0].Status)
	require.Equal(t, p.DocumentDigest, *overtaken[0].SupersededBy)
	require.Equal(t, string(policy.DigestOf(sibling)), overtaken[0].DocumentDigest)
	require.Contains(t, sign("custodian-3", sibling, "custodian-3").fails(409, 1301), p.DocumentDigest, "a sibling says what superseded it")
	require.Contains(t, s.proposeCharter("custodian-1", sibling).fails(409, 1301), p.DocumentDigest)
	require.NotNil(t, is[api.Charter](s.proposeCharter("custodian-1", s.nextCharter(func(c *policy.Charter) { c.Custodians.Threshold = 3 })), 202))
}

// TestALargeCharterIsAnsweredOnce: fifteen large proposals whose place a charter takes are more than the record of a key
// holds, and are not in the answer to the signature that put it in force.
func TestALargeCharterIsAnsweredOnce(t *testing.T) {
	s := newHouse(t).serve()
	people := make([]policy.Person, 19)
	for i := range people {
		people[i] = policy.Person{Name: fmt.Sprintf("person-%02d", i), Keys: []policy.PublicKey{signer(t, policy.MLDSA65).Public()}, Users: []string{store.NewID("user_")}}
	}
	var proposals [16][]byte
	size := 0
	for i := range proposals {
		proposals[i] = s.nextCharter(func(c *policy.Charter) {
			c.Limits.MaxOutstanding = uint64(33 + i)
			c.Persons = append(c.Persons, people...)
		})
		is[api.Charter](s.proposeCharter([]string{"admin", "custodian-1"}[i%2], proposals[i]), 202)
		size += base64.StdEncoding.EncodedLen(len(proposals[i]))
	}
	require.Greater(t, size-size/len(proposals), store.MaxTxBytes)
	sign := func(body string) answer {
		return s.as("custodian-3", "POST", "/v1/charter/sign", body, key("in-force"))
	}
	is[api.Charter](s.as("custodian-1", "POST", "/v1/charter/sign", s.signedBy(policy.DocCharter, proposals[7], "custodian-1")), 200)
	body := s.signedBy(policy.DocCharter, proposals[7], "custodian-3")
	last := sign(body)
	require.Equal(t, api.CharterStatusACTIVE, is[api.Charter](last, 200).Status)
	require.Equal(t, string(last.body), string(sign(body).body))
	require.Len(t, *is[api.Charter](s.as("viewer", "GET", "/v1/charter", ""), 200).Proposals, 15)
}

func TestCharterProposalsThatCannotBe(t *testing.T) {
	s := newHouse(t).serve()
	change := func(f func(*policy.Charter)) []byte { return s.nextCharter(f) }
	fine := change(func(c *policy.Charter) { c.Limits.MaxOutstanding = 32 })
	for name, document := range map[string][]byte{
		"not a charter":       []byte(`{"format":1}`),
		"unknown member":      []byte(`{"format":1,"root":true}`),
		"another instance":    change(func(c *policy.Charter) { c.Instance = "test-2" }),
		"another tenant":      change(func(c *policy.Charter) { c.TenantID = "other" }),
		"another environment": change(func(c *policy.Charter) { c.Environment = policy.Production }),
	} {
		t.Run(name, func(t *testing.T) { s.in(t).proposeCharter("custodian-1", document).fails(400, 1100) })
	}
	for name, document := range map[string][]byte{
		"version again":    change(func(c *policy.Charter) { c.Version, c.Replaces = 1, nil }),
		"version skipped":  change(func(c *policy.Charter) { c.Version++ }),
		"replaces another": change(func(c *policy.Charter) { d := policy.DigestOf([]byte("x")); c.Replaces = &d }),
		"the one in force": is[api.Charter](s.as("viewer", "GET", "/v1/charter", ""), 200).Document,
	} {
		t.Run(name, func(t *testing.T) { s.in(t).proposeCharter("custodian-1", document).fails(409, 1301) })
	}
	s.as("custodian-1", "PUT", "/v1/charter", `{}`).fails(400, 1101)
	s.as("custodian-1", "PUT", "/v1/charter", `{"document":"%"}`).fails(400, 1100)
	s.as("custodian-1", "PUT", "/v1/charter", `{"document":"e30=","threshold":1}`).fails(400, 1100)
	s.proposeCharter("operator", fine).fails(403, 1001)
	s.proposeCharter("approver-1", fine).fails(403, 1001)
	is[api.Charter](s.proposeCharter("admin", fine), 202)

	sign := func(as string, payload []byte, by ...string) answer {
		return s.as(as, "POST", "/v1/charter/sign", s.signedBy(policy.DocCharter, payload, by...))
	}
	sign("admin", fine, "custodian-1").fails(403, 1001)
	sign("custodian-2", fine, "custodian-1").fails(422, 1202)
	sign("custodian-1", fine, "approver-1").fails(422, 1202)
	sign("custodian-1", append(slices.Clone(fine), ' '), "custodian-1").fails(422, 1202)
	s.as("custodian-1", "POST", "/v1/charter/sign", s.signedBy(policy.DocPolicy, fine, "custodian-1")).fails(422, 1202)
	s.as("custodian-1", "POST", "/v1/charter/sign", `{}`).fails(400, 1101)
	require.Empty(t, (*is[api.Charter](s.as("viewer", "GET", "/v1/charter", ""), 200).Proposals)[0].SignedBy)
	another := func(n int) []byte {
		return change(func(c *policy.Charter) { c.Limits.MaxOutstanding = uint64(33 + n) })
	}
	for n := 1; n < 16; n++ { // the first is admin's
		is[api.Charter](s.proposeCharter([]string{"admin", "custodian-1"}[n/8], another(n)), 202)
		if n == 7 {
			require.Contains(t, s.proposeCharter("admin", another(99)).fails(409, 1301), "admin has 8", "nobody alone keeps the others from it")
		}
	}
	require.Contains(t, s.proposeCharter("custodian-2", another(99)).fails(409, 1301), "16")
}

// seals is a seal document of one custodian.
func (s *server) sealDocument(appliance string) []byte {
	return s.encoded(&policy.Seal{Format: policy.Format, Instance: "test-1", ApplianceID: appliance, Reason: "drill", CreatedAt: now()})
}

func (s *server) unsealDocument(nonce []byte) []byte {
	return s.encoded(&policy.Unseal{Format: policy.Format, Instance: "test-1", ApplianceID: "appliance-1", Nonce: nonce, Share: []byte("ciphertext"), CreatedAt: now()})
}

func TestSealingByOneAndUnsealingByAQuorum(t *testing.T) {
	s := newHouse(t).serve()
	seal := func(as, appliance string, by ...string) answer {
		return s.as(as, "POST", "/v1/seal/seal", s.signedBy(policy.DocSeal, s.sealDocument(appliance), by...))
	}
	seal("operator", "appliance-1", "custodian-1").fails(403, 1001)
	seal("custodian-1", "appliance-1", "custodian-2").fails(422, 1202)
	seal("custodian-1", "appliance-1", "approver-1").fails(422, 1202)
	seal("custodian-1", "appliance-2", "custodian-1").fails(422, 1202)
	s.as("custodian-1", "POST", "/v1/seal/seal", `{}`).fails(400, 1101)
	s.as("custodian-1", "POST", "/v1/seal/seal", s.signedBy(policy.DocUnseal, s.sealDocument("appliance-1"), "custodian-1")).fails(422, 1202)
	require.Nil(t, is[api.Seal](s.as("viewer", "GET", "/v1/seal", ""), 200).Unsealing)

	body := s.signedBy(policy.DocSeal, s.sealDocument("appliance-1"), "custodian-1")
	first := s.as("custodian-1", "POST", "/v1/seal/seal", body, key("stop"))
	golden(t, "seal-sealed", first, 200)
	again := s.as("custodian-1", "POST", "/v1/seal/seal", body, key("stop"))
	require.Equal(t, first.body, again.body, "whoever lost the answer asks again")
	s.as("custodian-1", "POST", "/v1/seal/seal", body).fails(503, 1603)
	s.as("operator", "POST", "/v1/vault/accounts", `{"name":"x"}`).fails(503, 1603)
	s.as("custodian-1", "POST", "/v1/seal/freeze", body).fails(503, 1603)
	s.as("custodian-1", "POST", "/v1/charter/sign", body).fails(503, 1603)

	st := is[api.Seal](s.as("viewer", "GET", "/v1/seal", ""), 200)
	require.True(t, st.Sealed)
	require.Equal(t, 2, st.Unsealing.Need)
	share := func(as string, nonce []byte, by ...string) answer {
		return s.as(as, "POST", "/v1/seal/unseal", s.signedBy(policy.DocUnseal, s.unsealDocument(nonce), by...))
	}
	share("approver-1", st.Unsealing.Nonce, "approver-1").fails(403, 1001)
	share("custodian-1", st.Unsealing.Nonce, "custodian-2").fails(422, 1202)
	require.Contains(t, share("custodian-1", []byte("a nonce of an earlier day"), "custodian-1").fails(422, 1202), "stale")
	s.as("custodian-1", "POST", "/v1/seal/unseal", s.signedBy(policy.DocUnseal, s.sealDocument("appliance-1"), "custodian-1")).fails(422, 1202)
	golden(t, "seal-unsealing", share("custodian-1", st.Unsealing.Nonce, "custodian-1"), 200)
	require.Contains(t, share("custodian-1", st.Unsealing.Nonce, "custodian-1").fails(409, 1203), "custodian-1")
	require.False(t, is[api.Seal](share("custodian-3", st.Unsealing.Nonce, "custodian-3"), 200).Sealed)
	share("custodian-2", st.Unsealing.Nonce, "custodian-2").fails(409, 1301)
	is[api.VaultAccount](s.as("operator", "POST", "/v1/vault/accounts", `{"name":"x"}`), 201)

	for action, want := range map[string]int{"seal.sealed": 1, "seal.share_given": 2} {
		require.Eventually(t, func() bool {
			return is[api.AuditEntryList](s.as("viewer", "GET", "/v1/audit?resource_type=seal&action="+action, ""), 200).Pagination.Total == want
		}, patience, poll, action)
	}
}

func TestFreezeByOneAndLetGoByTheThreshold(t *testing.T) {
	s := newHouse(t).serve()
	at := now().Add(-time.Minute)
	freeze := func(as string, frozen bool, by ...string) answer {
		at = at.Add(time.Second)
		return s.as(as, "POST", "/v1/seal/freeze", s.signedBy(policy.DocFreeze, s.encoded(&policy.Freeze{
			Format: policy.Format, Instance: "test-1", Subject: policy.Subject{Person: "approver-2"}, Frozen: frozen, CreatedAt: at,
		}), by...))
	}
	freeze("admin", true, "custodian-1").fails(403, 1001)
	freeze("custodian-2", true, "custodian-1").fails(422, 1202)
	made := freeze("custodian-1", true, "custodian-1")
	golden(t, "frozen", made, 200)
	require.True(t, s.registry.Fold().Frozen(policy.Subject{Person: "approver-2"}))
	freeze("custodian-1", false, "custodian-1").fails(409, 1301) // the room's ledger: one custodian lets nobody go
	require.True(t, s.registry.Fold().Frozen(policy.Subject{Person: "approver-2"}))
	require.False(t, is[api.Frozen](freeze("custodian-1", false, "custodian-1", "custodian-2"), 200).Frozen)
	require.False(t, s.registry.Fold().Frozen(policy.Subject{Person: "approver-2"}))
	s.as("custodian-1", "POST", "/v1/seal/freeze", s.signedBy(policy.DocFreeze, []byte(`{"format":1}`), "custodian-1")).fails(422, 1202)
}

func TestOnlyTheRequesterSignsHisRequest(t *testing.T) {
	s := newHouse(t).serve()
	path := "/v1/token-operations/op_01JS0Z4M9GQ3V1T7T2B5C8D0EF/request"
	s.as("operator", "POST", path, `{}`).fails(400, 1101)
	s.as("viewer", "POST", path, s.signedBy(policy.DocRequest, []byte(`{"format":1}`), "approver-1")).fails(403, 1001)
	s.as("operator", "POST", path, s.signedBy(policy.DocRequest, []byte(`{"format":1}`), "approver-1")).fails(404, 1300)
	s.as("operator", "POST", fmt.Sprintf("/v1/token-operations/%s/request", "op_nope"), s.signedBy(policy.DocRequest, []byte(`{}`), "approver-1")).fails(404, 1300)
}

func TestAProposalIsSimulatedAndRehearsed(t *testing.T) {
	s := newHouse(t).serve()
	_, wallet := s.vault("treasury")
	path := "/v1/policies/" + s.policyID
	simulate := func(more string) answer {
		return s.as("viewer", "POST", path+"/simulate", `{"operationType":"DEPLOY_TOKEN","amount":"1000","performedBy":{"type":"walletId","walletId":"`+wallet+`"}`+more+`}`)
	}
	golden(t, "simulation-waits", simulate(""), 200)
	require.Equal(t, api.OutcomeALLOW, is[api.Simulation](simulate(`,"approvers":["approver-1","approver-2"]`), 200).Outcome)
	require.Equal(t, api.OutcomeDENY, is[api.Simulation](simulate(`,"approvers":["approver-1","approver-2"],"rejecters":["approver-3"]`), 200).Outcome)

	tighter := is[api.Policy](s.as("operator", "PUT", path, `{"name":"dev-default","rules":[{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers"},{"type":"MAX_AMOUNT","amount":"500","operations":["MINT"]}]}`), 202)
	require.Equal(t, api.ChangeTIGHTER, *tighter.Change)
	require.Equal(t, 1, tighter.RequiredSignatures, "one custodian may stop")
	looser := is[api.Policy](s.as("operator", "PUT", path, `{"name":"dev-default","rules":[{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"approvers"}]}`), 202)
	require.Equal(t, api.ChangeLOOSER, *looser.Change)
	require.Equal(t, 2, looser.RequiredSignatures)
	golden(t, "policy-rehearsed", s.as("viewer", "GET", path, ""), 200)

	approved := `,"approvers":["approver-1","approver-2"]`
	require.Equal(t, api.OutcomeALLOW, is[api.Simulation](simulate(approved), 200).Outcome, "the version in force")
	denied := is[api.Simulation](simulate(approved+`,"proposal":"`+tighter.DocumentDigest+`"`), 200)
	require.Equal(t, api.OutcomeDENY, denied.Outcome)
	require.Equal(t, api.OutcomeALLOW, is[api.Simulation](simulate(`,"approvers":["approver-3"],"proposal":"`+looser.DocumentDigest+`"`), 200).Outcome)

	simulate(`,"proposal":"`+string(policy.DigestOf([]byte("x")))+`"`).fails(404, 1300)
	simulate(`,"rule":"x"`).fails(400, 1100)
	s.as("viewer", "POST", "/v1/policies/pol_nope/simulate", `{"operationType":"MINT"}`).fails(404, 1300)
	s.as("viewer", "POST", path+"/simulate", `{}`).fails(400, 1101)
	s.as("viewer", "POST", path+"/simulate", `{"operationType":"MINT"}`).fails(400, 1100)
	s.as("viewer", "POST", path+"/simulate", `{"operationType":"MINT","amount":"-1"}`).fails(400, 1103)
	s.as("viewer", "POST", path+"/simulate", `{"operationType":"MINT","recipient":{"type":"address","address":"0x5aaeb6053F3e94c9b9a09f33669435e7ef1beaed"}}`).fails(400, 1102)

	// One custodian alone puts the tighter one in force, and the looser one is superseded by it.
	e, err := policy.Sign(policy.PayloadType(policy.DocPolicy), tighter.Document, s.signers["custodian-2"])
	require.NoError(t, err)
	require.Equal(t, api.PolicyStatusACTIVE, is[api.Policy](s.as("custodian-2", "POST", path+"/sign", `{"envelope":`+string(e.Encode())+`}`), 200).Status)
}

// A reader of a ledger whose beginning is in the archive begins with a snapshot,
// which the answer names, and goes on behind it.
func TestALedgerThatWasTrimmedIsReadFromASnapshot(t *testing.T) {
	h := newHouse(t)
	s := h.serve()
	require.Nil(t, is[api.LedgerPage](s.as("viewer", "GET", "/v1/ledger", ""), 200).Snapshot)
	s.as("viewer", "GET", "/v1/ledger/snapshot", "").fails(400, 1101)
	s.as("viewer", "GET", "/v1/ledger/snapshot?sequence=2&part=-1", "").fails(400, 1100)
	s.as("viewer", "GET", "/v1/ledger/snapshot?sequence=2&part=0", "").fails(404, 1112)

	snapshot, err := h.room.fold.Snapshot()
	require.NoError(t, err)
	signed, err := ledger.SignedSnapshot(snapshot, "appliance-1", ed25519.Sign(h.room.key, ledger.SnapshotInput("appliance-1", policy.DigestOf(snapshot))))
	require.NoError(t, err)
	at, _ := h.room.fold.Head()
	tx := h.room.store.Tx()
	for n, part := range ledger.SnapshotParts(signed) {
		tx.Put(ledger.SnapshotKey(at, n), part)
	}
	_, err = tx.Commit(t.Context())
	require.NoError(t, err)
	s.vault("treasury")
	trim := h.room.store.Tx()
	for n := range at {
		trim.Delete(ledger.Key(n + 1))
	}
	_, err = trim.Commit(t.Context())
	require.NoError(t, err)
	page := is[api.LedgerPage](s.as("viewer", "GET", "/v1/ledger", ""), 200)
	require.EqualValues(t, at, page.Snapshot.Sequence)
	require.Len(t, page.Data, 1)
	var got []byte
	for n := range page.Snapshot.Parts {
		part := is[api.LedgerSnapshotPart](s.as("viewer", "GET", fmt.Sprintf("/v1/ledger/snapshot?sequence=%d&part=%d", at, n), ""), 200)
		got = append(got, part.Data...)
	}
	fold, err := ledger.RestoreFold(got, h.charter1)
	require.NoError(t, err)
	_, err = fold.Apply(page.Data[0])
	require.NoError(t, err)
}
