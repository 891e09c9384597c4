package ledger

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// View reads a fold, or a stage on it. What it gives is not to be changed: it is shared.
type View struct {
	mu    *sync.RWMutex // the fold's
	state *state
}

// Head is the newest batch: its sequence, 0 before the first, and the digest of its bytes. In a
// stage it is the batch being made, which has no digest yet.
func (v *View) Head() (sequence uint64, digest policy.Digest) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.head.sequence, v.state.head.digest
}

// Instance is the charter's, empty before charter 1.
func (v *View) Instance() string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.instance
}

// Epoch is the current one; it begins at FirstEpoch.
func (v *View) Epoch() uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.head.epoch
}

// Term is the newest batch's, 0 before the first.
func (v *View) Term() uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.head.term
}

// Author is the appliance that wrote the newest batch, empty before the first.
func (v *View) Author() string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.head.author
}

// LastTime is the newest batch's, zero before the first.
func (v *View) LastTime() time.Time {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.head.time
}

// Charter is the one in force and the digest of its bytes; nil before charter 1.
func (v *View) Charter() (*policy.Charter, policy.Digest) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.state.law == nil {
		return nil, ""
	}
	return v.state.law.charter, v.state.law.digest
}

// Charters is the envelope of charter 1 and of every one that replaced it, the one in force last.
func (v *View) Charters() []*Enveloped {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var all []*Enveloped
	for _, l := range v.state.chain {
		all = append(all, l.envelope)
	}
	return all
}

// CharterKnown is true of the charter in force and of its ancestors.
func (v *View) CharterKnown(digest policy.Digest) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.charters.has(digest)
}

// Recorded finds the batch that holds the charter, policy, binding, freeze, join or recover whose
// payload has the digest.
func (v *View) Recorded(payload policy.Digest) (sequence uint64, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.documents.get(payload)
}

// Policy is a policy's version in force, a retired one too.
func (v *View) Policy(id string) (*policy.InForce, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	line, ok := v.state.policies.get(id)
	if !ok {
		return nil, false
	}
	return line.versions[len(line.versions)-1].inForce, true
}

// PolicyVersion is one version of a policy: the one in force, or one that was superseded so lately
// that an intent which names it may still live.
func (v *View) PolicyVersion(id string, version uint64) (*policy.InForce, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	line, ok := v.state.policies.get(id)
	if !ok {
		return nil, false
	}
	for _, p := range line.versions {
		if p.inForce.Policy.Version == version {
			return p.inForce, true
		}
	}
	return nil, false
}

// Policies is every policy's version in force, retired ones too, in the order of their ids.
func (v *View) Policies() []*policy.InForce {
	return v.policies(func(*policy.Policy) bool { return true })
}

// PoliciesInScope is every policy in force that judges operations on the token by the performing
// vault from the source vault (an empty id is none), in the order of their ids.
func (v *View) PoliciesInScope(tokenID, performerVault, sourceVault string) []*policy.InForce {
	return v.policies(func(p *policy.Policy) bool { return policy.InScope(p, tokenID, performerVault, sourceVault) })
}

func (v *View) policies(take func(*policy.Policy) bool) []*policy.InForce {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.inForce(take)
}

// Binding is what a token id is. Its performers hold the wallets to which a role was granted since
// the document was recorded.
func (v *View) Binding(tokenID string) (*policy.Binding, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	line, ok := v.state.bindings.get(tokenID)
	if !ok {
		return nil, false
	}
	return line.view, true
}

// BindingDocument is the binding as it was recorded, the digest of its bytes, which the next
// version replaces, and whether it is there to stay: the custodians signed it, or something but its
// deployment was authorized under it. A deployment replaces only what is not.
func (v *View) BindingDocument(tokenID string) (document *policy.Binding, digest policy.Digest, used, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	line, ok := v.state.bindings.get(tokenID)
	if !ok {
		return nil, "", false, false
	}
	return line.document, line.digest, line.used, true
}

// BindingByContract is the binding of the token that a contract is.
func (v *View) BindingByContract(chainID uint64, address tx.Address) (*policy.Binding, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	token, _ := v.state.contracts.get(contract{chainID, address})
	line, ok := v.state.bindings.get(token)
	if !ok {
		return nil, false
	}
	return line.view, true
}

// Bindings is every token's, in the order of token ids.
func (v *View) Bindings() []*policy.Binding {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var all []*policy.Binding
	for _, line := range v.state.bindings.all() {
		all = append(all, line.view)
	}
	slices.SortFunc(all, func(a, b *policy.Binding) int { return strings.Compare(a.TokenID, b.TokenID) })
	return all
}

// Wallet finds a wallet by id.
func (v *View) Wallet(id string) (*WalletRecord, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.wallets.get(id)
}

// WalletByAddress finds the wallet that an address on a network is.
func (v *View) WalletByAddress(network string, address tx.Address) (*WalletRecord, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	id, ok := v.state.addresses.get(account{network, address})
	if !ok {
		return nil, false
	}
	return v.state.wallets.get(id)
}

// Wallets is every wallet, in the order of ids.
func (v *View) Wallets() []*WalletRecord {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var all []*WalletRecord
	for _, w := range v.state.wallets.all() {
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b *WalletRecord) int { return strings.Compare(a.WalletID, b.WalletID) })
	return all
}

// Operation is what is recorded of an operation; ok is false where nothing is, or no more.
func (v *View) Operation(id string) (record OperationRecord, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	op, ok := v.state.operations.get(id)
	if !ok {
		return OperationRecord{}, false
	}
	return op.clone().OperationRecord, true
}

// Intent is the intent of which digest is the exact bytes', nil unless a recorded decision or request of an
// operation that is not over holds it. It is shared and not to be changed.
func (v *View) Intent(operationID string, digest policy.Digest) *policy.Intent {
	v.mu.RLock()
	defer v.mu.RUnlock()
	op, ok := v.state.operations.get(operationID)
	if !ok {
		return nil
	}
	return op.intent(digest)
}

// Unsettled is every operation that is authorized and not settled, in the order of ids.
func (v *View) Unsettled() []OperationRecord {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var all []OperationRecord
	for _, op := range v.state.operations.all() {
		if op.Authorized != nil && op.Settled == nil {
			all = append(all, op.clone().OperationRecord)
		}
	}
	slices.SortFunc(all, func(a, b OperationRecord) int { return strings.Compare(a.OperationID, b.OperationID) })
	return all
}

// Undecided is every operation of which a person decided something and that nothing ended, in the order
// of ids.
func (v *View) Undecided() []OperationRecord {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var all []OperationRecord
	for _, op := range v.state.operations.all() {
		if len(op.Decisions) > 0 && op.undecided() == nil {
			all = append(all, op.clone().OperationRecord)
		}
	}
	slices.SortFunc(all, func(a, b OperationRecord) int { return strings.Compare(a.OperationID, b.OperationID) })
	return all
}

// NextNonce is the wallet's next; 0 for one that is not known.
func (v *View) NextNonce(walletID string) uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.lane(walletID).next
}

// Gap is true where a recover left the wallet's nonce to be filled by a CANCEL operation.
func (v *View) Gap(walletID string, nonce uint64) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.lane(walletID).gap(nonce)
}

// LowestGap is the first of the wallet's gaps, if it has any.
func (v *View) LowestGap(walletID string) (nonce uint64, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, g := range v.state.lane(walletID).gaps {
		if !ok || g.first < nonce {
			nonce, ok = g.first, true
		}
	}
	return nonce, ok
}

// Outstanding is how many of the wallet's authorizations wait for their settlement.
func (v *View) Outstanding(walletID string) int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.lane(walletID).outstanding
}

// Frozen is true of a token, person or appliance that is stopped.
func (v *View) Frozen(subject policy.Subject) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.isFrozen(subject)
}

// Suspended is the names of the persons who are stopped, sorted.
func (v *View) Suspended() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.suspendedPersons()
}

// Charged is what was charged to a counter since the moment, whole buckets of 15 minutes, 2^256-1
// where the sum would pass it or a recover left it unknown. It knows 49 hours.
func (v *View) Charged(chainID uint64, address tx.Address, operation policy.OperationType, since time.Time) policy.Amount {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.chargedSince(counter{chainID, address, operation}, since)
}

// Fees is the most that the wallet's authorizations since the moment may cost (gas limit × max fee
// of the newest version), counted as Charged counts.
func (v *View) Fees(walletID string, since time.Time) policy.Amount {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.feesSince(walletID, since)
}

// Joined is the newest join of an appliance.
func (v *View) Joined(applianceID string) (*Join, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.joins.get(applianceID)
}

// LastCheckpoint is the newest, nil if there is none.
func (v *View) LastCheckpoint() *Checkpoint {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.checkpoint
}

// LastTrim is the newest, nil if there is none.
func (v *View) LastTrim() *Trim {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.state.trim
}

var (
	_ policy.Usage = (*Fold)(nil)
	_ policy.Usage = (*Stage)(nil)
)
