package registry

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// ImportSpec is what is asked for when a token that was deployed elsewhere is taken over.
type ImportSpec struct {
	Network         string
	ContractAddress tx.Address
	TemplateID      string
	// CreationTransactionHash names the transaction that made the contract; without it nobody can tell what the
	// contract's constructor did.
	CreationTransactionHash *tx.Hash
	AdminVaultAccountID     string
	ApprovalPolicyID        string
	// External are accounts of others that hold roles on the contract and are to keep them.
	External    []tx.Address
	Description string
	Tags        []string
	// Bad is an address of the request that does not hold; it is refused behind what the rest names.
	Bad error
}

// Import is a token on its way in: what its id is to mean once the custodians' threshold has signed it.
type Import struct {
	TokenID  string
	Binding  *policy.Binding
	Document []byte // the exact bytes that custodians sign
	Digest   policy.Digest
	// Doubts are why the binding says that the contract is not verified, for people; none if it does not.
	Doubts []string
	// RequiredSignatures is the custodians' threshold of the charter in force.
	RequiredSignatures int
	SignedBy           []string // custodians, sorted
	Sequence           uint64   // the batch that bound the token; 0 before
	ProposedBy         string
	CreatedAt          time.Time

	signatures []policy.Signature
	rev        int64
}

// importPrefix holds what waits for custodians, and what they signed.
const importPrefix = "/mw/import/"

// storedImport is an import as the store holds it.
type storedImport struct {
	Document   []byte             `json:"document"`
	Doubts     []string           `json:"doubts,omitzero"`
	SignedBy   []string           `json:"signedBy"`
	Signatures []policy.Signature `json:"signatures"`
	// Block is the one at which the contract was looked at; what happens behind it is reconciled.
	Block      uint64    `json:"block"`
	Creation   *tx.Hash  `json:"creation,omitzero"`
	ProposedBy string    `json:"proposedBy"`
	CreatedAt  time.Time `json:"createdAt"`
	Sequence   uint64    `json:"sequence,omitzero"`
}

// ImportToken makes a token in DRAFT out of a contract that is there, and the binding that custodians are to sign.
// Whatever the chain's nodes say of it is shown to them and decides nothing else: roles that somebody else holds
// refuse the import unless the request lists who.
func (s *Service) ImportToken(ctx context.Context, a Actor, spec ImportSpec, idem *store.Idempotent) (*Token, error) {
	t := &Token{ID: store.NewID(tokenPrefix), Standard: "QRC-20", TemplateID: spec.TemplateID, AdminVaultAccountID: spec.AdminVaultAccountID,
		ApprovalPolicyID: spec.ApprovalPolicyID, Network: spec.Network, Status: TokenDraft, Imported: true, Description: spec.Description,
		Tags: slices.Clone(spec.Tags), CreatedBy: a.Name, CreatedAt: s.second(), UpdatedAt: s.second(), Name: "imported", Symbol: "?"}
	// The names stand for the contract's, which are read once the rest is known to be right.
	if err := cmp.Or(s.checkToken(ctx, t), spec.Bad); err != nil {
		return nil, err
	}
	charter, _ := s.fold.Charter()
	if charter == nil {
		return nil, errNotReady
	}
	network, ok := charter.Network(spec.Network)
	if !ok {
		return nil, Refuse(Validation, "the charter in force has no network %+q", spec.Network)
	}
	if b, ok := s.fold.BindingByContract(network.ChainID, spec.ContractAddress); ok {
		return nil, Refuse(AlreadyDeployed, "contract %s on %s is token %s already", spec.ContractAddress, spec.Network, b.TokenID)
	}
	performers, err := s.performers(ctx, spec.AdminVaultAccountID, spec.Network)
	if err != nil {
		return nil, err
	}
	found, err := s.inspect(ctx, spec)
	if err != nil {
		return nil, err
	}
	t.Name, t.Symbol, t.Decimals, t.InitialSupply, t.SupplyPolicy = found.name, found.symbol, found.decimals, found.supply, found.policy
	if err := s.checkToken(ctx, t); err != nil {
		return nil, fmt.Errorf("what contract %s says of itself: %w", spec.ContractAddress, err)
	}
	external := slices.Clone(spec.External)
	slices.SortFunc(external, func(a, b tx.Address) int { return bytes.Compare(a[:], b[:]) })
	external = slices.Compact(external)
	document, err := (&policy.Binding{Format: policy.Format, Instance: charter.Instance, Version: 1, TokenID: t.ID, Network: network.Name, ChainID: network.ChainID,
		ContractAddress: spec.ContractAddress, TemplateID: t.TemplateID, Symbol: t.Symbol, Decimals: t.Decimals, PolicyID: t.ApprovalPolicyID,
		Performers: performers, Verified: len(found.doubts) == 0, CreatedAt: s.second(), External: external}).Encode()
	if err != nil {
		return nil, Refuse(Validation, "the token cannot be bound: %v", err)
	}
	waits := storedImport{Document: document, Doubts: found.doubts, SignedBy: []string{}, Signatures: []policy.Signature{}, Block: found.block,
		Creation: spec.CreationTransactionHash, ProposedBy: a.Name, CreatedAt: s.second()}
	h := happening{"token.created", "token", t.ID, map[string]any{"name": t.Name, "symbol": t.Symbol, "network": t.Network, "templateId": t.TemplateID,
		"imported": spec.ContractAddress.String(), "verified": len(found.doubts) == 0, "documentDigest": string(policy.DigestOf(document))}}
	err = create(ctx, s, s.tokens, store.Token(t.ID), t, a, h, idem, func(change *store.Tx) { change.PutIfAbsent(importPrefix+t.ID, encode(waits)) })
	if err != nil {
		return nil, err
	}
	return t, nil
}

// performers are the active wallets of a vault account on a network, sorted.
func (s *Service) performers(ctx context.Context, vaultID, network string) ([]string, error) {
	if _, err := s.OldestWallet(ctx, vaultID, network); err != nil {
		return nil, err
	}
	all, err := s.wallets.ascending(ctx, s.store)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, w := range all {
		if w.VaultAccountID == vaultID && w.Network == network && w.Status == WalletActive {
			ids = append(ids, w.ID)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Import is what custodians are to sign of a token, or signed. A token that was not imported is NOT_FOUND.
func (s *Service) Import(ctx context.Context, tokenID string) (*Import, error) {
	if !store.ValidID(tokenPrefix, tokenID) {
		return nil, noToken(tokenID)
	}
	v, rev, err := load[storedImport](ctx, s.store, importPrefix+tokenID)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, Refuse(NotFound, "token %s was not imported: its binding follows from its deployment", tokenID)
	}
	return v.decoded(s, tokenID, rev)
}

func (v *storedImport) decoded(s *Service, tokenID string, rev int64) (*Import, error) {
	b, err := policy.ParseBinding(v.Document)
	if err != nil {
		return nil, fmt.Errorf("registry: the import of %s: %w", tokenID, err)
	}
	i := &Import{TokenID: tokenID, Binding: b, Document: v.Document, Digest: policy.DigestOf(v.Document), Doubts: v.Doubts, SignedBy: v.SignedBy,
		Sequence: v.Sequence, ProposedBy: v.ProposedBy, CreatedAt: v.CreatedAt, signatures: v.Signatures, rev: rev}
	if charter, _ := s.fold.Charter(); charter != nil {
		i.RequiredSignatures = int(charter.Custodians.Threshold)
	}
	return i, nil
}

// SignBinding adds a custodian's signatures to a token's import. The one that reaches the threshold has the seal bind
// the token, and returns when that is carried in. The same envelope again gives the same answer.
func (s *Service) SignBinding(ctx context.Context, a Actor, tokenID string, envelope []byte) (*Import, error) {
	e, err := policy.ParseEnvelope(envelope)
	if err != nil {
		return nil, Refuse(ApprovalInvalid, "%v", err)
	}
	i, err := s.collectBinding(ctx, a, tokenID, e)
	if err != nil || i.Sequence != 0 || len(i.SignedBy) < i.RequiredSignatures {
		return i, err
	}
	recorded, err := s.seal.BindingApply(ctx, &policy.Envelope{PayloadType: policy.PayloadType(policy.DocBinding), Payload: i.Document, Signatures: i.signatures})
	if err != nil {
		return nil, sealRefusal(err, "the binding")
	}
	if err := s.WaitCarried(ctx, recorded.Sequence); err != nil {
		return nil, err
	}
	return s.Import(ctx, tokenID)
}

func (s *Service) collectBinding(ctx context.Context, a Actor, tokenID string, e *policy.Envelope) (*Import, error) {
	for range maxAttempts {
		i, err := s.Import(ctx, tokenID)
		if err != nil {
			return nil, err
		}
		if e.PayloadDigest() != i.Digest {
			return nil, Refuse(ApprovalInvalid, "the envelope holds bytes of digest %s, the binding of token %s has %s", e.PayloadDigest(), tokenID, i.Digest)
		}
		if i.Sequence != 0 {
			return i, nil
		}
		law, _ := s.fold.Charter()
		if law == nil {
			return nil, errNotReady
		}
		if err := signedHimself(law, policy.DocBinding, a, e); err != nil {
			return nil, err
		}
		var added []string
		i.SignedBy, i.signatures, added = merge(law, i.signatures, e)
		if len(added) == 0 {
			return i, nil
		}
		v, rev, err := load[storedImport](ctx, s.store, importPrefix+tokenID)
		if err != nil || v == nil || rev != i.rev {
			if err != nil {
				return nil, err
			}
			continue
		}
		v.SignedBy, v.Signatures = i.SignedBy, i.signatures
		change := s.store.Tx()
		change.PutIf(importPrefix+tokenID, encode(v), rev)
		change.Audit(a.draft(happening{"token.binding_signed", "token", tokenID, map[string]any{
			"documentDigest": string(i.Digest), "signedBy": added, "signatures": len(i.SignedBy), "required": i.RequiredSignatures}}))
		if _, err = change.Commit(ctx); lostRace(err) {
			continue
		}
		return i, err
	}
	return nil, fmt.Errorf("registry: the binding of %s: %w", tokenID, store.ErrConflict)
}

// carryImported makes a token that custodians bound one that can be used. Whoever comes second finds it done.
func (s *Service) carryImported(ctx context.Context, b *policy.Binding, e *policy.Envelope, batch *ledger.Batch, at Carried) error {
	for {
		v, rev, err := load[storedImport](ctx, s.store, importPrefix+b.TokenID)
		if err != nil {
			return err
		}
		token, tokenRev, err := load[Token](ctx, s.store, store.Token(b.TokenID))
		if err != nil {
			return err
		}
		// A binding of a token that this store has lost, or a later one of a token that is there.
		if v == nil || token == nil || v.Sequence != 0 || policy.DigestOf(v.Document) != e.PayloadDigest() {
			return nil
		}
		v.Sequence = batch.Sequence
		contract := b.ContractAddress
		token.Status, token.ContractAddress, token.TransactionHash = TokenDeployed, &contract, v.Creation
		token.BlockNumber, token.DeployedAt, token.LedgerSeq, token.UpdatedAt = v.Block, batch.Time, at.LedgerSeq, batch.Time
		change := s.store.Tx()
		change.PutIf(importPrefix+b.TokenID, encode(v), rev)
		change.PutIf(store.Token(b.TokenID), encode(token), tokenRev)
		h := happening{"token.updated", "token", b.TokenID, map[string]any{"fields": []string{"contractAddress", "status"},
			"contractAddress": contract.String(), "verified": b.Verified, "documentDigest": string(e.PayloadDigest())}}
		change.Audit(sealDraft(h, at))
		emit(change, h, token)
		done, err := change.Commit(ctx)
		if lostRace(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("carrying batch %d into token %s: %w", at.LedgerSeq, b.TokenID, err)
		}
		s.tokens.wrote(store.Token(b.TokenID), token, done)
		return nil
	}
}

// inspected is what a contract says of itself, and what is doubtful of it.
type inspected struct {
	block    uint64
	name     string
	symbol   string
	decimals uint8
	supply   policy.Amount
	policy   SupplyPolicy
	doubts   []string
}

// noCap is what a template's contract says where it has no cap.
var noCap = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))

var errNoToken = errors.New("is not a QRC-20 contract")
