package registry

import (
	"encoding/json/v2"
	"fmt"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// told are the happenings that are also events (spec: api, "Token resources").
// What an operation makes of its token is the operation's to tell.
var told = map[string]bool{"token.created": true, "token.updated": true, "token.retired": true}

// tokenEvent is what an event of a token tells.
type tokenEvent struct {
	TokenID         string      `json:"tokenId"`
	Status          TokenStatus `json:"status"`
	Standard        string      `json:"standard"`
	TemplateID      string      `json:"templateId"`
	Name            string      `json:"name"`
	Symbol          string      `json:"symbol"`
	Decimals        uint8       `json:"decimals"`
	Network         string      `json:"network"`
	ContractAddress *tx.Address `json:"contractAddress,omitzero"`
	Fields          any         `json:"fields,omitzero"` // of token.updated: what was changed
}

// emit puts the event of a happening into its transaction, if it is one.
func emit(t *store.Tx, h happening, v any) {
	token, ok := v.(*Token)
	if !ok || !told[h.action] {
		return
	}
	e := tokenEvent{
		TokenID: token.ID, Status: token.Status, Standard: token.Standard, TemplateID: token.TemplateID, Name: token.Name,
		Symbol: token.Symbol, Decimals: token.Decimals, Network: token.Network, ContractAddress: token.ContractAddress, Fields: h.metadata["fields"],
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("registry: event %s of %s does not encode: %v", h.action, token.ID, err)) // no value of these types can do that
	}
	t.Emit(store.Emission{Type: h.action, Data: b})
}
