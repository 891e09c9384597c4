package api_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// room is a seal without a socket and without an HSM: it judges nothing, but
// what it records is a real ledger, signed and folded as the seal's is, and what
// it signs is a real transaction.
type room struct {
	t     testing.TB
	store *store.Store // with the seal's rights
	key   ed25519.PrivateKey

	mu      sync.Mutex
	fold    *ledger.Fold
	sealed  bool
	nonce   []byte   // while sealed: what shares are bound to
	shares  []string // while sealed: whose shares are there
	refusal error    // what every call answers, if not nil
	panics  bool
	poor    bool  // wallets get no coins from now on
	cutOff  bool  // a cancel is recorded and not answered, as a crash between the two looks from here
	refuses error // what a cancel answers, unrecorded, if not nil
	held    *holding
	wallets map[string]*seal.WalletResult
	applied map[policy.Digest]uint64
	private map[string]*mode3.PrivateKey
	signed  map[string]*seal.AuthorizeResult
	asked   map[string]*authorized
}

func (r *room) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func (r *room) record(records ...ledger.Record) uint64 {
	r.t.Helper()
	sequence, err := r.try(records...)
	require.NoError(r.t, err)
	return sequence
}

func (r *room) try(records ...ledger.Record) (uint64, error) {
	head, previous := r.fold.Head()
	b := &ledger.Batch{
		Format: ledger.Format, Instance: "test-1", Epoch: ledger.FirstEpoch, Term: 1, Sequence: head + 1, Previous: previous,
		Author: "appliance-1", Time: time.Now().UTC().Truncate(time.Second), Records: records,
	}
	if head == 0 {
		b.Previous = ledger.NoDigest
	}
	input, err := b.SigningInput()
	if err != nil {
		return 0, err
	}
	b.Signature = ed25519.Sign(r.key, input)
	value, err := b.Encode()
	if err != nil {
		return 0, err
	}
	if _, err := r.fold.Apply(value); err != nil {
		return 0, seal.Errorf(seal.KindConflict, "%v", err)
	}
	t := r.store.Tx()
	t.Put(ledger.Key(b.Sequence), value)
	_, err = t.Commit(context.Background())
	return b.Sequence, err
}

// holding keeps who asks for the seal's status waiting.
type holding struct {
	asked    chan struct{} // closed when the first one asks
	first    sync.Once
	released chan struct{}
	last     sync.Once
}

func (r *room) hold() *holding {
	h := &holding{asked: make(chan struct{}), released: make(chan struct{})}
	r.set(func() { r.held = h })
	return h
}

func (h *holding) release() { h.last.Do(func() { close(h.released) }) }

func (h *holding) wait() {
	if h == nil {
		return
	}
	h.first.Do(func() { close(h.asked) })
	<-h.released
}

func (r *room) Status(context.Context) (*seal.Status, error) {
	var held *holding
	r.set(func() { held = r.held })
	held.wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.panics {
		panic("a secret that nobody may see")
	}
	if r.refusal != nil {
		return nil, r.refusal
	}
	head, digest := r.fold.Head()
	return r.status(head, digest), nil
}

func (r *room) status(head uint64, digest policy.Digest) *seal.Status {
	st := &seal.Status{
		Sealed: r.sealed, Initialized: true, Instance: "test-1", ApplianceID: "appliance-1", Sequence: head, Head: digest, Author: "appliance-1", Term: 1,
		Version: "test", HSM: seal.HSM{Serial: "0123", Label: "test"},
	}
	if r.sealed {
		st.Unsealing = &seal.Unsealing{Nonce: r.nonce, Need: 2, Shares: slices.Clone(r.shares), UnsealKey: []byte{1}}
	}
	return st
}

// Unseal counts shares; what is in them is the keeper's business, which this
// room has not.
func (r *room) Unseal(_ context.Context, e *policy.Envelope) (*seal.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal != nil {
		return nil, r.refusal
	}
	if !r.sealed {
		return nil, seal.Errorf(seal.KindConflict, "it is not sealed")
	}
	c, _ := r.fold.Charter()
	who, err := c.VerifyCustodians(policy.DocUnseal, e)
	if err != nil {
		return nil, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	d, err := policy.ParseUnseal(e.Payload)
	if err != nil {
		return nil, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	switch {
	case !bytes.Equal(d.Nonce, r.nonce):
		return nil, seal.Errorf(seal.KindInvalid, "the share of %s is stale", who[0])
	case slices.Contains(r.shares, who[0]):
		return nil, seal.Errorf(seal.KindDuplicate, "the share of %s is there already", who[0])
	}
	if r.shares = append(r.shares, who[0]); len(r.shares) == 2 {
		r.sealed, r.shares = false, nil
	}
	return r.status(r.fold.Head()), nil
}

func (r *room) Seal(_ context.Context, e *policy.Envelope) (*seal.Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal != nil {
		return nil, r.refusal
	}
	d, err := policy.ParseSeal(e.Payload)
	if err != nil {
		return nil, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	if d.ApplianceID != "appliance-1" {
		return nil, seal.Errorf(seal.KindInvalid, "the document seals appliance %s", d.ApplianceID)
	}
	r.sealed, r.nonce = true, []byte("sixteen bytes or more")
	return r.status(r.fold.Head()), nil
}

func (r *room) WalletCreate(_ context.Context, q seal.WalletCreateRequest) (*seal.WalletResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if made, ok := r.wallets[q.WalletID]; ok {
		return made, nil
	}
	public, private, err := mode3.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	address, err := tx.Sender(tx.KindQuantum, public.Bytes())
	if err != nil {
		return nil, err
	}
	made := &seal.WalletResult{
		WalletID: q.WalletID, VaultAccountID: q.VaultAccountID, Network: q.Network, Scheme: q.Scheme, PublicKey: public.Bytes(), Address: address, Protection: "hsm-wrapped",
	}
	made.Sequence, err = r.try(ledger.Record{Wallet: &ledger.Wallet{
		WalletID: q.WalletID, VaultAccountID: q.VaultAccountID, Network: q.Network, Scheme: q.Scheme, PublicKey: made.PublicKey, Address: address,
	}})
	if err != nil {
		return nil, err
	}
	r.wallets[q.WalletID], r.private[q.WalletID] = made, private
	return made, nil
}

func (r *room) once(e *policy.Envelope, record ledger.Record) (*seal.Recorded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal != nil {
		return nil, r.refusal
	}
	if at, ok := r.applied[e.PayloadDigest()]; ok {
		return &seal.Recorded{Sequence: at}, nil
	}
	at, err := r.try(record)
	if err != nil {
		return nil, err
	}
	r.applied[e.PayloadDigest()] = at
	return &seal.Recorded{Sequence: at}, nil
}

func (r *room) PolicyApply(_ context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return r.once(e, ledger.Record{Policy: e})
}

func (r *room) CharterApply(_ context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return r.once(e, ledger.Record{Charter: e})
}

func (r *room) Freeze(_ context.Context, q seal.FreezeRequest) (*seal.Recorded, error) {
	return r.once(q.Envelope, ledger.Record{Freeze: q.Envelope})
}

func (r *room) Decide(_ context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	if e.PayloadType == policy.PayloadType(policy.DocRequest) {
		return r.once(e, ledger.Record{Request: e})
	}
	return r.once(e, ledger.Record{Decision: e})
}

func (r *room) Cancel(_ context.Context, operationID, why string) (*seal.Recorded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuses != nil {
		return nil, r.refuses
	}
	at, err := r.try(ledger.Record{Cancel: &ledger.Cancel{OperationID: operationID, Reason: why}})
	if err == nil && r.cutOff {
		err = seal.ErrUnreachable
	}
	if err != nil {
		return nil, err
	}
	return &seal.Recorded{Sequence: at}, nil
}
