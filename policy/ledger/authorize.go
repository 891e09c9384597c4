package ledger

import (
	"slices"
	"strconv"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// authorize lets an operation be signed: it charges, numbers and excludes every other end.
func (s *state) authorize(at place, a *Authorize) *Refusal {
	if r := s.suspended(at); r != nil {
		return r
	}
	op := s.peek(a.OperationID)
	if r := op.undecided(); r != nil {
		return r
	}
	if r := s.inTime(at, a); r != nil {
		return r
	}
	w, ok := s.wallets.get(a.WalletID)
	if !ok {
		return refuse(ReasonUnknown, "wallet %s is not in the ledger", a.WalletID)
	}
	intent := op.intent(a.Intent)
	if intent != nil {
		if r := s.fits(a, w, intent); r != nil {
			return r
		}
	}
	if r := s.numbered(a, intent); r != nil {
		return r
	}
	d, r := s.charged(a, w, intent)
	if r != nil {
		return r
	}
	if r := s.spend(at, w, feeOf(a.GasLimit, a.MaxFee)); r != nil {
		return r
	}
	op, r = s.open(at, a.OperationID)
	if r != nil {
		return r
	}

	op.Authorized, op.AuthorizedAt = a, Moment{at.sequence, at.time}
	if a.Expiry.After(op.expires) {
		op.expires = a.Expiry
	}
	s.take(a)
	for _, c := range a.Charges {
		s.charge(at, c)
		if token, _ := s.contracts.get(contract{c.ChainID, c.Contract}); token != "" {
			s.use(token)
		}
	}
	if intent != nil && intent.OperationType != policy.OpDeployToken {
		s.use(intent.Token.ID)
	}
	if intent != nil && intent.OperationType == policy.OpGrantRole {
		s.grant(intent)
	}
	s.deploys = d
	return nil
}

func (s *state) inTime(at place, a *Authorize) *Refusal {
	if !at.time.Before(a.Expiry) {
		return refuse(ReasonExpired, "operation %s expired at %s; it is %s", a.OperationID, stamp(a.Expiry), stamp(at.time))
	}
	if latest := at.time.Add(s.horizon()); a.Expiry.After(latest) {
		return refuse(ReasonValue, "operation %s expires at %s, later than an intent may live", a.OperationID, stamp(a.Expiry))
	}
	return nil
}

// fits is nil if the authorization is what the intent says, on the token as it is bound now.
func (s *state) fits(a *Authorize, w *WalletRecord, i *policy.Intent) *Refusal {
	if r := s.current(i); r != nil {
		return r
	}
	network, ok := s.law.charter.Network(w.Network)
	switch {
	case i.Performer.WalletID != a.WalletID || i.Performer.Address != w.Address || i.Scheme != w.Scheme:
		return refuse(ReasonConflict, "the intent is performed by wallet %s (%s, %s), the ledger has %s (%s, %s)",
			i.Performer.WalletID, i.Performer.Address, i.Scheme, a.WalletID, w.Address, w.Scheme)
	case !ok || i.Network != w.Network || i.ChainID != network.ChainID:
		return refuse(ReasonConflict, "the intent is for %s, chain id %d, not the network of wallet %s", i.Network, i.ChainID, a.WalletID)
	case !i.ExpiresAt.Equal(a.Expiry):
		return refuse(ReasonConflict, "expiry is %s, the intent says %s", stamp(a.Expiry), stamp(i.ExpiresAt))
	case feeOf(a.GasLimit, a.MaxFee).Cmp(i.FeeCap) > 0:
		return refuse(ReasonConflict, "gas %d at %s passes the intent's fee cap %s", a.GasLimit, a.MaxFee, i.FeeCap)
	case s.isFrozen(policy.Subject{TokenID: i.Token.ID}):
		return refuse(ReasonFrozen, "token %s is frozen", i.Token.ID)
	}
	if r := s.bound(i); r != nil {
		return r
	}
	if r := s.ownAdmin(w, i); r != nil {
		return r
	}
	return sameTransaction(i, a.Nonce, a.GasLimit, a.MaxFee, a.Tip, a.Tx)
}

// ownAdmin is nil if a deployment gives its roles and initial supply to a wallet of the deploying
// vault on that network: nobody else has a role (spec chain.md).
func (s *state) ownAdmin(w *WalletRecord, i *policy.Intent) *Refusal {
	if i.OperationType != policy.OpDeployToken {
		return nil
	}
	admin := *i.Params.Admin
	if id, ok := s.addresses.get(account{w.Network, admin}); ok {
		if other, ok := s.wallets.get(id); ok && other.VaultAccountID == w.VaultAccountID {
			return nil
		}
	}
	return refuse(ReasonConflict, "the deployment's admin %s is no wallet of vault account %s on %s", admin, w.VaultAccountID, w.Network)
}

// bound is nil if the intent's token is what its binding says.
func (s *state) bound(i *policy.Intent) *Refusal {
	if i.OperationType == policy.OpDeployToken || i.OperationType == policy.OpCancel {
		return nil
	}
	line, ok := s.bindings.get(i.Token.ID)
	if !ok {
		return refuse(ReasonUnknown, "token %s is not bound", i.Token.ID)
	}
	b := line.document
	if b.Network != i.Network || b.ChainID != i.ChainID || b.ContractAddress != *i.Token.ContractAddress ||
		b.TemplateID != i.Token.TemplateID || b.Symbol != i.Token.Symbol || b.Decimals != i.Token.Decimals {
		return refuse(ReasonConflict, "the intent's token %s is not as it is bound", i.Token.ID)
	}
	return nil
}

// sameTransaction is nil if the digest is that of the one transaction that follows from the intent.
func sameTransaction(i *policy.Intent, nonce, gas uint64, maxFee, tip policy.Amount, digest tx.Hash) *Refusal {
	unsigned, err := i.Transaction(nonce, gas, maxFee.Big(), tip.Big())
	if err != nil {
		return refuse(ReasonConflict, "the intent of operation %s: %w", i.OperationID, err)
	}
	want, err := unsigned.SigningHash()
	if err != nil {
		return refuse(ReasonConflict, "the transaction of operation %s: %w", i.OperationID, err)
	}
	if want != digest {
		return refuse(ReasonConflict, "tx is %s, the intent of operation %s makes %s", digest, i.OperationID, want)
	}
	return nil
}

// numbered is nil if the nonce is the lane's next one, or fills a gap that a recover left, and the
// wallet has a place for one more that waits.
func (s *state) numbered(a *Authorize, i *policy.Intent) *Refusal {
	l := s.lane(a.WalletID)
	if most := s.law.charter.MaxOutstanding(); l.outstanding >= most {
		return refuse(ReasonQueued, "wallet %s has %d authorizations that wait for a confirmation, at most %d", a.WalletID, l.outstanding, most)
	}
	if i != nil && i.OperationType == policy.OpCancel {
		if want, err := strconv.ParseUint(*i.Params.Nonce, 10, 64); err != nil || want != a.Nonce {
			return refuse(ReasonNonce, "nonce %d of wallet %s, the intent cancels %s", a.Nonce, a.WalletID, *i.Params.Nonce)
		}
		if l.gap(a.Nonce) {
			return nil
		}
	}
	if a.Nonce != l.next {
		return refuse(ReasonNonce, "nonce %d of wallet %s, want %d", a.Nonce, a.WalletID, l.next)
	}
	return nil
}

// take spends the nonce and a place.
func (s *state) take(a *Authorize) {
	l, ok := s.lanes.edit(a.WalletID, (*lane).clone)
	if !ok {
		l = &lane{}
		s.lanes.put(a.WalletID, l)
	}
	l.outstanding++
	if a.Nonce == l.next {
		l.next++
		return
	}
	l.fill(a.Nonce)
}

// gap is true of a nonce in the gaps.
func (l lane) gap(nonce uint64) bool {
	return slices.ContainsFunc(l.gaps, func(g gap) bool { return g.first <= nonce && nonce <= g.last })
}

// fill takes one nonce out of the gaps.
func (l *lane) fill(nonce uint64) {
	var rest []gap
	for _, g := range l.gaps {
		if nonce < g.first || g.last < nonce {
			rest = append(rest, g)
			continue
		}
		if g.first < nonce {
			rest = append(rest, gap{g.first, nonce - 1})
		}
		if nonce < g.last {
			rest = append(rest, gap{nonce + 1, g.last})
		}
	}
	l.gaps = rest
}

func (l *lane) clone() *lane {
	c := *l
	return &c
}

func (s *state) lane(walletID string) lane {
	if l, ok := s.lanes.get(walletID); ok {
		return *l
	}
	return lane{}
}

// charged is nil if the charges are what the intent asks; without one, if each is on a contract
// that is bound. It gives the deployment, if it is one: every deployment asks people, so that none is
// without its intent.
func (s *state) charged(a *Authorize, w *WalletRecord, i *policy.Intent) (*deploy, *Refusal) {
	network, ok := s.law.charter.Network(w.Network)
	if !ok {
		return nil, refuse(ReasonUnknown, "network %s of wallet %s is not in the charter", w.Network, w.WalletID)
	}
	if i == nil {
		for _, c := range a.Charges {
			token, _ := s.contracts.get(contract{c.ChainID, c.Contract})
			if c.ChainID != network.ChainID || token == "" {
				return nil, refuse(ReasonCharge, "charge on chain %d, contract %s, which is not bound", c.ChainID, c.Contract)
			}
			if s.isFrozen(policy.Subject{TokenID: token}) {
				return nil, refuse(ReasonFrozen, "token %s is frozen", token)
			}
		}
		return nil, nil
	}
	var d *deploy
	var where tx.Address
	if i.OperationType == policy.OpDeployToken {
		where = tx.CreateAddress(w.Address, a.Nonce)
		d = &deploy{intent: i, contract: where, wallet: w}
	} else if i.Token.ContractAddress != nil {
		where = *i.Token.ContractAddress
	}
	amount, has := i.Amount()
	for _, c := range a.Charges {
		want := Charge{amount, i.ChainID, where, i.AmountOperation()}
		if !has || c != want {
			return nil, refuse(ReasonCharge, "charge of %s (%s) on chain %d, contract %s is not what the intent asks", c.Amount, c.Operation, c.ChainID, c.Contract)
		}
	}
	if has && !amount.Is0() && len(a.Charges) != 1 {
		return nil, refuse(ReasonCharge, "%d charges, the intent asks for one of %s (%s)", len(a.Charges), amount, i.AmountOperation())
	}
	return d, nil
}

// bump is the same transaction with higher fees, inside the approved cap. It needs no unexpired
// intent: the authorization stands.
func (s *state) bump(at place, b *Bump) *Refusal {
	if r := s.suspended(at); r != nil {
		return r
	}
	op := s.peek(b.OperationID)
	a := op.Authorized
	if a == nil {
		return refuse(ReasonUnknown, "operation %s is not authorized", b.OperationID)
	}
	if op.Settled != nil {
		return refuse(ReasonConflict, "operation %s was settled in batch %d", b.OperationID, op.SettledAt.Sequence)
	}
	maxFee, tip := a.MaxFee, a.Tip
	if n := len(op.Bumps); n > 0 {
		maxFee, tip = op.Bumps[n-1].MaxFee, op.Bumps[n-1].Tip
	}
	switch {
	case op.Version() == MaxVersions:
		return refuse(ReasonLimit, "operation %s has %d versions already", b.OperationID, MaxVersions)
	case b.Version != op.Version()+1:
		return refuse(ReasonConflict, "version %d of operation %s, want %d", b.Version, b.OperationID, op.Version()+1)
	case b.MaxFee.Cmp(maxFee) <= 0 || b.Tip.Cmp(tip) < 0:
		return refuse(ReasonConflict, "fees %s, %s of operation %s do not raise %s, %s", b.MaxFee, b.Tip, b.OperationID, maxFee, tip)
	}
	w, ok := s.wallets.get(a.WalletID)
	if !ok {
		return refuse(ReasonUnknown, "wallet %s is not in the ledger", a.WalletID)
	}
	if i := op.intent(a.Intent); i != nil {
		if s.isFrozen(policy.Subject{TokenID: i.Token.ID}) {
			return refuse(ReasonFrozen, "token %s is frozen", i.Token.ID)
		}
		if feeOf(a.GasLimit, b.MaxFee).Cmp(i.FeeCap) > 0 {
			return refuse(ReasonConflict, "gas %d at %s passes the intent's fee cap %s", a.GasLimit, b.MaxFee, i.FeeCap)
		}
		if r := sameTransaction(i, a.Nonce, a.GasLimit, b.MaxFee, b.Tip, b.Tx); r != nil {
			return r
		}
	}
	if r := s.spend(at, w, less(feeOf(a.GasLimit, b.MaxFee), feeOf(a.GasLimit, maxFee))); r != nil {
		return r
	}
	op, r := s.open(at, b.OperationID)
	if r != nil {
		return r
	}
	op.Bumps = append(op.Bumps, *b)
	return nil
}

// settle frees a place of the wallet, never a charge or a nonce.
func (s *state) settle(at place, c *Settle) *Refusal {
	op := s.peek(c.OperationID)
	switch {
	case op.Settled != nil:
		return refuse(ReasonDuplicate, "operation %s was settled in batch %d", c.OperationID, op.SettledAt.Sequence)
	case op.Authorized == nil:
		return refuse(ReasonUnknown, "operation %s is not authorized", c.OperationID)
	}
	op, r := s.open(at, c.OperationID)
	if r != nil {
		return r
	}
	op.Settled, op.SettledAt = c, Moment{at.sequence, at.time}
	op.over()
	if l, ok := s.lanes.edit(op.Authorized.WalletID, (*lane).clone); ok {
		l.outstanding--
	}
	return nil
}

// day is the UTC midnight before t: where a wallet's fees are counted from.
func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }
