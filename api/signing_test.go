package api_test

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Authorize records and signs what the worker asks for. The fold refuses what
// the seal's would: a nonce out of turn, a charge that is not the intent's.
func (r *room) Authorize(_ context.Context, q seal.AuthorizeRequest) (*seal.AuthorizeResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.refusal != nil:
		return nil, r.refusal
	case r.sealed:
		return nil, seal.Errorf(seal.KindSealed, "sealed")
	}
	if done, ok := r.signed[q.OperationID]; ok {
		return done, nil
	}
	i, err := policy.ParseIntent(q.Intent)
	if err != nil {
		return nil, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	nonce := r.fold.NextNonce(i.Performer.WalletID)
	if i.Params.Nonce != nil {
		if nonce, err = strconv.ParseUint(*i.Params.Nonce, 10, 64); err != nil {
			return nil, err
		}
	}
	unsigned, err := i.Transaction(nonce, q.GasLimit, q.MaxFee.Big(), q.Tip.Big())
	if err != nil {
		return nil, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	hash, err := unsigned.SigningHash()
	if err != nil {
		return nil, err
	}
	records, err := r.authorization(i, q, nonce, hash)
	if err != nil {
		return nil, err
	}
	signature := make([]byte, mode3.SignatureSize)
	mode3.SignTo(r.private[i.Performer.WalletID], hash[:], signature)
	raw, err := unsigned.Encode(r.wallets[i.Performer.WalletID].PublicKey, signature)
	if err != nil {
		return nil, err
	}
	sequence, err := r.try(records...)
	if err != nil {
		return nil, err
	}
	done := &seal.AuthorizeResult{Sequence: sequence, Authorization: []byte("{}"), RawTx: raw, TxHash: tx.HashOf(raw)}
	r.signed[q.OperationID] = done
	r.asked[q.OperationID] = &authorized{unsigned: unsigned, walletID: i.Performer.WalletID, version: 1}
	return done, nil
}

func (r *room) authorization(i *policy.Intent, q seal.AuthorizeRequest, nonce uint64, hash tx.Hash) ([]ledger.Record, error) {
	contract := tx.CreateAddress(i.Performer.Address, nonce)
	if i.Token.ContractAddress != nil {
		contract = *i.Token.ContractAddress
	}
	a := &ledger.Authorize{
		OperationID: i.OperationID, Intent: policy.DigestOf(q.Intent), WalletID: i.Performer.WalletID, Nonce: nonce,
		GasLimit: q.GasLimit, MaxFee: q.MaxFee, Tip: q.Tip, Tx: hash, Expiry: i.ExpiresAt,
	}
	if amount, ok := i.Amount(); ok && !amount.Is0() {
		a.Charges = []ledger.Charge{{ChainID: i.ChainID, Contract: contract, Operation: i.AmountOperation(), Amount: amount}}
	}
	records := []ledger.Record{{Authorize: a}}
	if i.OperationType == policy.OpDeployToken {
		b, err := i.DeployBinding(contract, []string{i.Performer.WalletID}, nil, "", time.Now().UTC().Truncate(time.Second))
		if err != nil {
			return nil, err
		}
		records = append(records, ledger.Record{DeployBinding: b})
	}
	return records, nil
}

// Settle records that an operation is final.
func (r *room) Settle(_ context.Context, q seal.SettleRequest) (*seal.Recorded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal != nil {
		return nil, r.refusal
	}
	at, err := r.try(ledger.Record{Settle: &ledger.Settle{OperationID: q.OperationID, TxHash: q.TxHash}})
	if err != nil {
		return nil, err
	}
	return &seal.Recorded{Sequence: at}, nil
}

// decision is one person's signed word on an operation, as a request's body.
func (s *server) decision(who string, verb policy.Verb, operationID string) string {
	s.t.Helper()
	op := is[api.Operation](s.as("viewer", "GET", "/v1/token-operations/"+operationID, ""), 200)
	d := &policy.Decision{Format: policy.Format, Decision: verb, Intent: op.Intent, Approver: who, Reason: "as agreed", DecidedAt: time.Now().UTC().Truncate(time.Second)}
	doc, err := d.Encode()
	require.NoError(s.t, err)
	return s.signedBy(policy.DocDecision, doc, who)
}

// approved has two approvers approve an operation, and waits until it is over.
func (s *server) approved(operationID string) api.Operation {
	s.t.Helper()
	for _, who := range []string{"approver-1", "approver-2"} {
		is[api.Operation](s.as(who, "POST", "/v1/token-operations/"+operationID+"/approve", s.decision(who, policy.Approve, operationID)), 200)
	}
	var op api.Operation
	require.Eventually(s.t, func() bool {
		op = is[api.Operation](s.as("viewer", "GET", "/v1/token-operations/"+operationID, ""), 200)
		return op.Status == api.OperationStatusCOMPLETED || op.Status == api.OperationStatusFAILED
	}, patience, poll)
	require.Equal(s.t, api.OperationStatusCOMPLETED, op.Status, "%v", op.FailureReason)
	return op
}

// asked is the operation that a privileged call made.
func (s *server) asked(path, body, idempotencyKey string) string {
	s.t.Helper()
	a := s.as("operator", "POST", path, body, key(idempotencyKey))
	var v struct {
		OperationID string `json:"operationId"`
	}
	require.Equal(s.t, 202, a.status, "%s", a.body)
	a.read(&v)
	return v.OperationID
}

// deployed is a token on the chain.
func (s *server) deployed(vault string, change map[string]any) string {
	s.t.Helper()
	token := is[api.Token](s.as("operator", "POST", "/v1/tokens", s.tokenBody(vault, change)), 201).ID
	s.approved(s.asked("/v1/tokens/"+token+"/deploy", "", "deploy-"+token))
	return token
}

func toAddress(a string) string { return fmt.Sprintf(`{"type":"address","address":%q}`, a) }

const somebody = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"

// Bump records and signs the same transaction with higher fees.
func (r *room) Bump(_ context.Context, q seal.BumpRequest) (*seal.BumpResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal != nil {
		return nil, r.refusal
	}
	was, ok := r.asked[q.OperationID]
	if !ok {
		return nil, seal.Errorf(seal.KindInvalid, "operation %s is not authorized", q.OperationID)
	}
	unsigned := *was.unsigned
	unsigned.MaxFee, unsigned.Tip = q.MaxFee.Big(), q.Tip.Big()
	hash, err := unsigned.SigningHash()
	if err != nil {
		return nil, err
	}
	signature := make([]byte, mode3.SignatureSize)
	mode3.SignTo(r.private[was.walletID], hash[:], signature)
	raw, err := unsigned.Encode(r.wallets[was.walletID].PublicKey, signature)
	if err != nil {
		return nil, err
	}
	was.version++
	sequence, err := r.try(ledger.Record{Bump: &ledger.Bump{OperationID: q.OperationID, Version: was.version, MaxFee: q.MaxFee, Tip: q.Tip, Tx: hash}})
	if err != nil {
		return nil, err
	}
	return &seal.BumpResult{Sequence: sequence, Version: was.version, RawTx: raw, TxHash: tx.HashOf(raw)}, nil
}

// authorized is what was signed for an operation.
type authorized struct {
	unsigned *tx.Unsigned
	walletID string
	version  uint64
}
