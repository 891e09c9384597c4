package api

import (
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// operationsOf is what each of a contract's methods lets a token do. A burn of
// somebody else's tokens and a transfer by allowance are the same operations.
var operationsOf = map[qrc20.Method]policy.OperationType{
	qrc20.Mint: policy.OpMint, qrc20.Burn: policy.OpBurn, qrc20.Transfer: policy.OpTransfer,
	qrc20.GrantRole: policy.OpGrantRole, qrc20.RevokeRole: policy.OpRevokeRole,
	qrc20.Pause: policy.OpPause, qrc20.Unpause: policy.OpUnpause,
	qrc20.Freeze: policy.OpFreeze, qrc20.Unfreeze: policy.OpUnfreeze,
	qrc20.Allow: policy.OpAllowlistAdd, qrc20.Disallow: policy.OpAllowlistRemove,
}

// templateVersion is that of every template: its code never changes, for a
// token's bytecode hash is what tells which template it is of.
const templateVersion = "1.0.0"

// constructorFields are the members of ConstructorArgs; what a token does not
// say when it is created is zero, and its cap then the type's own bound.
func constructorFields() []ConstructorField {
	zero := "0"
	return []ConstructorField{
		{Name: "name", Type: "string", Required: true},
		{Name: "symbol", Type: "string", Required: true},
		{Name: "decimals", Type: "uint8", Required: true},
		{Name: "cap", Type: "uint256", Default: &zero},
		{Name: "mintable", Type: "bool", Required: true},
		{Name: "burnable", Type: "bool", Required: true},
		{Name: "initialSupply", Type: "uint256", Default: &zero},
	}
}

func templateForm(t *qrc20.Template) TokenTemplate {
	f := TokenTemplate{
		ID: t.ID, TemplateID: t.ID, Standard: t.Standard, Name: t.Name, Description: t.Description, Version: templateVersion,
		BytecodeHash: "0x" + hex.EncodeToString(t.BytecodeHash[:]),
		Roles:        make([]Role, 0, len(t.Roles)), Operations: []OperationType{OperationType(policy.OpDeployToken)},
		ConstructorFields: constructorFields(), ImplementationStatus: TokenTemplateImplementationStatusImplemented,
		Features: TemplateFeatures{
			Mintable: t.HasMethod(qrc20.Mint), Burnable: t.HasMethod(qrc20.Burn), Pausable: t.HasMethod(qrc20.Pause),
			Freezable: t.HasMethod(qrc20.Freeze), Allowlist: t.HasMethod(qrc20.Allow), RoleBased: len(t.Roles) > 0,
		},
	}
	for _, r := range t.Roles {
		f.Roles = append(f.Roles, Role(r))
	}
	for _, m := range t.Methods {
		if op, ok := operationsOf[m]; ok {
			f.Operations = append(f.Operations, OperationType(op))
		}
	}
	for _, op := range f.Operations {
		f.SupportedOperations = append(f.SupportedOperations, strings.ToLower(strings.TrimSuffix(string(op), "_TOKEN")))
	}
	return f
}

// ListTokenTemplates answers GET /v1/token-templates.
func (s *Server) ListTokenTemplates(c *gin.Context, params ListTokenTemplatesParams) {
	limit, offset := page(params.Limit, params.Offset)
	all := qrc20.Templates()
	if standard := of(params.Standard); standard != "" {
		all = slices.DeleteFunc(all, func(t *qrc20.Template) bool { return t.Standard != standard })
		if len(all) == 0 {
			s.refuse(c, registry.Refuse(registry.StandardNotSupported, "token standard %+q is not supported; %s is", standard, qrc20.StandardQRC20))
			return
		}
	}
	some := all[min(offset, len(all)):min(offset+limit, len(all))]
	s.answer(c, TokenTemplateList{
		Data: forms(some, templateForm), Pagination: Pagination{Total: len(all), Limit: limit, Offset: offset},
	})
}

// GetTokenTemplate answers GET /v1/token-templates/{templateId}.
func (s *Server) GetTokenTemplate(c *gin.Context, templateID TemplateID) {
	t, ok := qrc20.TemplateByID(templateID)
	if !ok {
		s.refuse(c, missing("templateId", templateID))
		return
	}
	f := templateForm(t)
	d := TokenTemplateDetail{
		ID: f.ID, TemplateID: f.TemplateID, Standard: f.Standard, Name: f.Name, Description: f.Description, Version: f.Version,
		Roles: f.Roles, Operations: f.Operations, SupportedOperations: f.SupportedOperations, ConstructorFields: f.ConstructorFields,
		Features: f.Features, ImplementationStatus: TokenTemplateDetailImplementationStatus(f.ImplementationStatus),
		BytecodeHash: f.BytecodeHash,
	}
	if err := json.Unmarshal(t.ABI, &d.Abi); err != nil {
		s.refuse(c, fmt.Errorf("api: the ABI of %s: %w", t.ID, err))
		return
	}
	s.answer(c, d)
}
