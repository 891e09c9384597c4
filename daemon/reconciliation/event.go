package reconciliation

import (
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/qrc20/bindings"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// contract reads what the contracts of all templates write; that of the regulated one writes all there is.
var contract = bindings.NewQRC20RegulatedV1()

// The events that are looked at, by the names that the contracts give them.
const (
	eventTransfer    = "Transfer"
	eventRoleGranted = "RoleGranted"
	eventRoleRevoked = "RoleRevoked"
	eventRoleAdmin   = "RoleAdminChanged"
	eventPaused      = "Paused"
	eventUnpaused    = "Unpaused"
	eventFrozen      = "Frozen"
	eventUnfrozen    = "Unfrozen"
	eventAllowed     = "Allowed"
	eventDisallowed  = "Disallowed"
)

func topic(signature string) tx.Hash { return tx.Hash(crypto.Keccak256Hash([]byte(signature))) }

var (
	topicTransfer = topic("Transfer(address,address,uint256)")
	// names are of the events that are looked at whatever they say.
	names = map[tx.Hash]string{
		topic("RoleGranted(bytes32,address,address)"):      eventRoleGranted,
		topic("RoleRevoked(bytes32,address,address)"):      eventRoleRevoked,
		topic("RoleAdminChanged(bytes32,bytes32,bytes32)"): eventRoleAdmin,
		topic("Paused(address)"):                           eventPaused,
		topic("Unpaused(address)"):                         eventUnpaused,
		topic("Frozen(address,address)"):                   eventFrozen,
		topic("Unfrozen(address,address)"):                 eventUnfrozen,
		topic("Allowed(address,address)"):                  eventAllowed,
		topic("Disallowed(address,address)"):               eventDisallowed,
	}
)

// queries pick the events of contracts: transfers from zero, transfers to zero, and the others.
func queries(contracts []tx.Address) []chain.LogQuery {
	var zero tx.Hash
	others := make([]tx.Hash, 0, len(names))
	for t := range names {
		others = append(others, t)
	}
	return []chain.LogQuery{
		{Addresses: contracts, Topics: [][]tx.Hash{{topicTransfer}, {zero}}},
		{Addresses: contracts, Topics: [][]tx.Hash{{topicTransfer}, nil, {zero}}},
		{Addresses: contracts, Topics: [][]tx.Hash{others}},
	}
}

// event is a log, read.
type event struct {
	Name    string      `json:"event"`
	Amount  *number     `json:"amount,omitzero"`  // of a Transfer, in base units
	Account *tx.Address `json:"account,omitzero"` // whom it concerns
	Role    qrc20.Role  `json:"role,omitzero"`
	Burn    bool        `json:"burn,omitzero"` // a Transfer to zero, else from zero
	// Actor is who called the contract, where the event tells.
	Actor *tx.Address `json:"actor,omitzero"`
}

// number is an unsigned integer that stands as decimal text in JSON.
type number struct{ big.Int }

func numberOf(n *big.Int) *number {
	var v number
	v.Set(n)
	return &v
}

// MarshalJSON writes a string, for integers above 2^53 are no numbers to many.
func (n *number) MarshalJSON() ([]byte, error) { return []byte(`"` + n.String() + `"`), nil }

// UnmarshalJSON takes what MarshalJSON writes.
func (n *number) UnmarshalJSON(b []byte) error {
	if len(b) < 3 || len(b) > 400 || b[0] != '"' || b[len(b)-1] != '"' {
		return fmt.Errorf("%.20q is no integer in a string", b)
	}
	if _, ok := n.SetString(string(b[1:len(b)-1]), 10); !ok {
		return fmt.Errorf("%.20q is no integer", b)
	}
	return nil
}

// readEvent reads a log that one of the queries picked. A contract that is not a template's may write what does not
// read: then the event has a name and nothing else.
func readEvent(l *chain.Log) event {
	entry := types.Log{Address: common.Address(l.Address), Data: l.Data}
	for _, t := range l.Topics {
		entry.Topics = append(entry.Topics, common.Hash(t))
	}
	who := func(a common.Address) *tx.Address { b := tx.Address(a); return &b }
	role := func(id [32]byte) qrc20.Role {
		if r, ok := qrc20.RoleByID(id); ok {
			return r
		}
		return ""
	}
	if len(l.Topics) > 0 && l.Topics[0] == topicTransfer {
		e := event{Name: eventTransfer}
		if t, err := contract.UnpackTransferEvent(&entry); err == nil {
			e.Burn = t.From != (common.Address{})
			e.Amount, e.Account = numberOf(t.Value), who(t.To)
			if e.Burn {
				e.Account = who(t.From)
			}
		}
		return e
	}
	e := event{}
	if len(l.Topics) > 0 {
		e.Name = names[l.Topics[0]]
	}
	switch e.Name {
	case eventRoleGranted:
		if v, err := contract.UnpackRoleGrantedEvent(&entry); err == nil {
			e.Role, e.Account, e.Actor = role(v.Role), who(v.Account), who(v.Sender)
		}
	case eventRoleRevoked:
		if v, err := contract.UnpackRoleRevokedEvent(&entry); err == nil {
			e.Role, e.Account, e.Actor = role(v.Role), who(v.Account), who(v.Sender)
		}
	case eventPaused:
		if v, err := contract.UnpackPausedEvent(&entry); err == nil {
			e.Actor = who(v.Account)
		}
	case eventUnpaused:
		if v, err := contract.UnpackUnpausedEvent(&entry); err == nil {
			e.Actor = who(v.Account)
		}
	case eventFrozen:
		if v, err := contract.UnpackFrozenEvent(&entry); err == nil {
			e.Account, e.Actor = who(v.Account), who(v.Operator)
		}
	case eventUnfrozen:
		if v, err := contract.UnpackUnfrozenEvent(&entry); err == nil {
			e.Account, e.Actor = who(v.Account), who(v.Operator)
		}
	case eventAllowed:
		if v, err := contract.UnpackAllowedEvent(&entry); err == nil {
			e.Account, e.Actor = who(v.Account), who(v.Operator)
		}
	case eventDisallowed:
		if v, err := contract.UnpackDisallowedEvent(&entry); err == nil {
			e.Account, e.Actor = who(v.Account), who(v.Operator)
		}
	}
	return e
}
