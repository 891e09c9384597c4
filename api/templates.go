package api

import (
	"encoding/hex"
	"encoding/json/v2"
	"fmt"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/chain/qrc20"
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

func templateForm(t *qrc20.Template) TokenTemplate {
	f := TokenTemplate{
		ID: t.ID, Standard: t.Standard, Name: t.Name, Description: t.Description,
		BytecodeHash: "0x" + hex.EncodeToString(t.BytecodeHash[:]),
		Roles:        make([]Role, 0, len(t.Roles)), Operations: []OperationType{OperationType(policy.OpDeployToken)},
	}
	for _, r := range t.Roles {
		f.Roles = append(f.Roles, Role(r))
	}
	for _, m := range t.Methods {
		if op, ok := operationsOf[m]; ok {
			f.Operations = append(f.Operations, OperationType(op))
		}
	}
	return f
}

// ListTokenTemplates answers GET /v1/token-templates.
func (s *Server) ListTokenTemplates(c *gin.Context, params ListTokenTemplatesParams) {
	limit, offset := page(params.Limit, params.Offset)
	all := qrc20.Templates()
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
		ID: f.ID, Standard: f.Standard, Name: f.Name, Description: f.Description, Roles: f.Roles, Operations: f.Operations,
		BytecodeHash: f.BytecodeHash,
	}
	if err := json.Unmarshal(t.ABI, &d.Abi); err != nil {
		s.refuse(c, fmt.Errorf("api: the ABI of %s: %w", t.ID, err))
		return
	}
	s.answer(c, d)
}
