package reconciliation

import (
	"cmp"
	"context"
	"encoding/json/v2"
	"fmt"
	"math/big"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// outcome is what an event was found to be; the zero value is none.
type outcome int

const (
	unmatched outcome = iota + 1 // nobody authorized it
	matched                      // it is the effect of one authorized operation
	external                     // it is the doing of an account that the binding lists
)

func (o outcome) String() string {
	switch o {
	case unmatched:
		return "unmatched"
	case matched:
		return "matched"
	case external:
		return "external"
	}
	return "none"
}

// seen is an event with what it was found to be.
type seen struct {
	log       chain.Log
	event     event
	outcome   outcome
	operation string // whose effect it is, or whose transaction at least
	// elsewhere is set where the node that was asked first does not tell of it, and another one does.
	elsewhere bool
	shadow    uint64 // tells it from others at the same place of a block; 0 for the first
}

// expectation is an event that an operation has, at most once.
type expectation struct {
	name    string
	role    qrc20.Role
	account tx.Address
	amount  *big.Int
	burn    bool
	anyRole bool // of the token's template
}

func (x *expectation) admits(e *event) bool {
	if x.name != e.Name || x.burn != e.Burn {
		return false
	}
	if x.amount != nil && (e.Amount == nil || e.Amount.Cmp(x.amount) != 0) {
		return false
	}
	if x.account != (tx.Address{}) && (e.Account == nil || *e.Account != x.account) {
		return false
	}
	return x.role == e.Role || x.anyRole && e.Role != ""
}

// expect is what an operation may make its contract write.
func expect(o *operation.Operation) ([]expectation, error) {
	address := func(a *tx.Address) tx.Address {
		if a == nil {
			return tx.Address{}
		}
		return *a
	}
	amount := func() *big.Int {
		if o.Amount == nil {
			return new(big.Int)
		}
		return o.Amount.Big()
	}
	switch o.Type {
	case "MINT":
		return []expectation{{name: eventTransfer, account: address(o.Recipient), amount: amount()}}, nil
	case "BURN":
		return []expectation{{name: eventTransfer, account: address(o.From), amount: amount(), burn: true}}, nil
	case "GRANT_ROLE":
		return []expectation{{name: eventRoleGranted, role: o.Role, account: address(o.Subject)}}, nil
	case "REVOKE_ROLE":
		return []expectation{{name: eventRoleRevoked, role: o.Role, account: address(o.Subject)}}, nil
	case "PAUSE":
		return []expectation{{name: eventPaused}}, nil
	case "UNPAUSE":
		return []expectation{{name: eventUnpaused}}, nil
	case "FREEZE":
		return []expectation{{name: eventFrozen, account: address(o.Subject)}}, nil
	case "UNFREEZE":
		return []expectation{{name: eventUnfrozen, account: address(o.Subject)}}, nil
	case "ALLOWLIST_ADD":
		return []expectation{{name: eventAllowed, account: address(o.Subject)}}, nil
	case "ALLOWLIST_REMOVE":
		return []expectation{{name: eventDisallowed, account: address(o.Subject)}}, nil
	case "DEPLOY_TOKEN":
		return expectDeployment(o)
	}
	return nil, nil
}

// expectDeployment: the constructor gives the admin every role of the supply policy, each once, a place on the
// allowlist, and the initial supply.
func expectDeployment(o *operation.Operation) ([]expectation, error) {
	var intent struct {
		Params struct {
			Admin         tx.Address `json:"admin"`
			InitialSupply number     `json:"initialSupply"`
		} `json:"params"`
		Token struct {
			TemplateID string `json:"templateId"`
		} `json:"token"`
	}
	if err := json.Unmarshal(o.Intent, &intent); err != nil {
		return nil, fmt.Errorf("reconciliation: the intent of %s: %w", o.ID, err)
	}
	admin := intent.Params.Admin
	all := []expectation{{name: eventAllowed, account: admin}}
	if template, ok := qrc20.TemplateByID(intent.Token.TemplateID); ok {
		for _, r := range template.Roles {
			all = append(all, expectation{name: eventRoleGranted, role: r, account: admin})
		}
	}
	if intent.Params.InitialSupply.Sign() > 0 {
		all = append(all, expectation{name: eventTransfer, account: admin, amount: &intent.Params.InitialSupply.Int})
	}
	return all, nil
}

// lookups is how many transactions of others are asked for at once.
const lookups = 16

// match finds out what the events of a token's contract are, given in the chain's order: those that the node tells
// which was asked first, and what others tell beside them. All events of a transaction are among them, or none. The
// answer is in the chain's order, at one place the others' first.
func (s *Service) match(ctx context.Context, token *registry.Token, logs, others []chain.Log) ([]seen, error) {
	found := gathered(logs, others)
	var groups [][]seen
	for i := range found {
		found[i].event, found[i].outcome = readEvent(&found[i].log), unmatched
		if i == 0 || found[i].log.TxHash != found[i-1].log.TxHash {
			groups = append(groups, found[i:i])
		}
		last := &groups[len(groups)-1]
		*last = (*last)[:len(*last)+1]
	}
	foreign, err := s.explainOwn(ctx, token, groups)
	if err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for _, group := range foreign {
		g.Go(func() error { return s.explainForeign(ctx, token, group) })
	}
	err = g.Wait()
	placed(found)
	return found, err
}

// gathered puts what others tell of a transaction behind what the first node tells of it, so that an operation explains
// that first.
func gathered(logs, others []chain.Log) []seen {
	found := make([]seen, 0, len(logs)+len(others))
	of := map[tx.Hash][]chain.Log{}
	var strange []tx.Hash
	for _, l := range others {
		if _, known := of[l.TxHash]; !known {
			strange = append(strange, l.TxHash)
		}
		of[l.TxHash] = append(of[l.TxHash], l)
	}
	add := func(hash tx.Hash) {
		for _, l := range of[hash] {
			found = append(found, seen{log: l, elsewhere: true})
		}
		delete(of, hash)
	}
	for i, l := range logs {
		found = append(found, seen{log: l})
		if i+1 == len(logs) || logs[i+1].TxHash != l.TxHash {
			add(l.TxHash)
		}
	}
	for _, hash := range strange {
		add(hash)
	}
	return found
}

// placed sorts by the place in the chain, and tells those apart that are said to stand at the same.
func placed(found []seen) {
	order := func(a, b seen) int {
		return cmp.Or(cmp.Compare(a.log.BlockNumber, b.log.BlockNumber), cmp.Compare(a.log.Index, b.log.Index))
	}
	slices.SortStableFunc(found, func(a, b seen) int {
		first := map[bool]int{true: 0, false: 1}
		return cmp.Or(order(a, b), cmp.Compare(first[a.elsewhere], first[b.elsewhere]))
	})
	for i := len(found) - 2; i >= 0; i-- {
		if order(found[i], found[i+1]) == 0 {
			found[i].shadow = found[i+1].shadow + 1
		}
	}
}

// explainOwn says what the events of our own transactions are, and answers those of others.
func (s *Service) explainOwn(ctx context.Context, token *registry.Token, groups [][]seen) (foreign [][]seen, err error) {
	for chunk := range slices.Chunk(groups, store.MaxTxOps) {
		hashes := make([]tx.Hash, len(chunk))
		for i, group := range chunk {
			hashes[i] = group[0].log.TxHash
		}
		of, err := s.operations.OfTransactions(ctx, hashes)
		if err != nil {
			return nil, err
		}
		var ids []string
		var own [][]seen
		for i, id := range of {
			if id != "" {
				ids, own = append(ids, id), append(own, chunk[i])
			} else {
				foreign = append(foreign, chunk[i])
			}
		}
		if len(ids) == 0 {
			continue
		}
		ops, err := s.authorizedStates(ctx, ids)
		if err != nil {
			return nil, err
		}
		for i, o := range ops {
			if o == nil { // this store has lost it, and says nothing of it
				foreign = append(foreign, own[i])
			} else if err := s.explain(ctx, token, own[i], o); err != nil {
				return nil, err
			}
		}
	}
	return foreign, nil
}

// authorizedStates are the operations with these ids; nil where the store has none. A block may be made sooner than the
// ledger's authorization of what it holds is carried into the store; it was in the ledger before there was a signature,
// though. So before one is called unauthorized, all that the ledger holds now is waited for.
func (s *Service) authorizedStates(ctx context.Context, ids []string) ([]*operation.Operation, error) {
	ops, err := s.operations.States(ctx, ids)
	if err != nil || !slices.ContainsFunc(ops, func(o *operation.Operation) bool { return o != nil && !o.Authorized }) {
		return ops, err
	}
	if err := s.registry.WaitLog(ctx); err != nil {
		return nil, err
	}
	return s.operations.States(ctx, ids)
}

// explain says of the events of an operation's transaction what they are. What the operation does not explain, nobody
// does: an external account has transactions of its own.
func (s *Service) explain(ctx context.Context, token *registry.Token, group []seen, o *operation.Operation) error {
	for i := range group {
		group[i].operation = o.ID
	}
	if !o.Authorized || o.TokenID != token.ID {
		return nil
	}
	if o.Type == "DEPLOY_TOKEN" { // its intent says whom it gives what
		whole, err := s.operations.Get(ctx, o.ID)
		if err != nil {
			return err
		}
		o = whole
	}
	open, err := expect(o)
	if err != nil {
		return err
	}
	for i := range group {
		at := slices.IndexFunc(open, func(x expectation) bool { return x.admits(&group[i].event) })
		if at >= 0 {
			group[i].outcome = matched
			open = slices.Delete(open, at, at+1)
		}
	}
	return nil
}

// explainForeign looks whether an account that the binding lists did this: it sent the transaction, or is the
// contract that was called by it, or the one that called the token's. One node's word excuses nothing where there are
// others.
func (s *Service) explainForeign(ctx context.Context, token *registry.Token, group []seen) error {
	others := s.registry.ExternalHolders(token.ID)
	c, ok := s.chains[token.Network]
	if len(others) == 0 || !ok {
		return nil
	}
	sent, err := c.AgreedTransaction(ctx, group[0].log.TxHash)
	if err != nil {
		return err
	}
	if sent == nil {
		if c.Nodes() == 1 {
			return fmt.Errorf("reconciliation: %s is in a block and its node does not know it", group[0].log.TxHash)
		}
		return nil
	}
	listed := func(a *tx.Address) bool { return a != nil && slices.Contains(others, *a) }
	for i := range group {
		// Where the event says who did it, the transaction's ends say nothing.
		who := group[i].event.Actor
		if who != nil && listed(who) || who == nil && (listed(&sent.From) || listed(sent.To)) {
			group[i].outcome = external
		}
	}
	return nil
}
