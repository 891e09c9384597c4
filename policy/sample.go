package policy

import (
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// Role is a role of a token's contract.
type Role = qrc20.Role

// SampleDeployment makes the intent, whose performer is known, one that deploys a mintable and burnable
// token of the first template with that initial supply, all to the performer: an operation that nobody
// asked for, to be judged and not to be signed. tokenID may be empty.
func (i *Intent) SampleDeployment(tokenID string, supply Amount) error {
	template := qrc20.Templates()[0]
	name, symbol, decimals, yes, admin := "Sample", "SAMPLE", uint8(18), true, i.Performer.Address
	if tokenID == "" {
		tokenID = "token_00000000000000000000000000"
	}
	i.OperationType = OpDeployToken
	i.Token = Token{ID: tokenID, TemplateID: template.ID, Symbol: symbol, Decimals: decimals}
	i.Params = Params{Name: &name, Symbol: &symbol, Decimals: &decimals, Cap: &Amount{}, Mintable: &yes, Burnable: &yes, InitialSupply: &supply, Admin: &admin}
	code, err := i.Params.InitCode(template.ID)
	if err != nil {
		return err
	}
	keccak := tx.HashOf(code)
	i.Params.InitcodeKeccak = &keccak
	return nil
}
