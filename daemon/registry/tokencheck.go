package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/policy"
)

// maxDecimals is the largest number of decimals whose one whole token, 10^77
// base units, still fits into a uint256.
const maxDecimals = 77

// checkToken refuses a token whose parts do not fit each other or name what
// does not exist. Order: shape, then what exists, then values (spec: api, "Checks run
// in this order").
func (s *Service) checkToken(ctx context.Context, t *Token) error {
	if err := checkTokenText(t); err != nil {
		return err
	}
	if t.Standard != qrc20.StandardQRC20 {
		return Refuse(StandardNotSupported, "token standard %+q is not supported; %s is", t.Standard, qrc20.StandardQRC20)
	}
	if t.TemplateID == "" {
		return Refuse(MissingField, "templateId is missing")
	}
	template, ok := qrc20.TemplateByID(t.TemplateID)
	if !ok {
		return Refuse(TemplateNotFound, "there is no template %+q; GET /v1/token-templates lists them", t.TemplateID)
	}
	if template.Standard != t.Standard {
		return Refuse(TemplateNotFound, "template %s is of standard %s, not %s", t.TemplateID, template.Standard, t.Standard)
	}
	if err := s.checkNetwork(t.Network); err != nil {
		return err
	}
	if t.AdminVaultAccountID == "" {
		return Refuse(MissingField, "admin.vaultAccountId is missing")
	}
	if _, err := s.Vault(ctx, t.AdminVaultAccountID); err != nil {
		return err
	}
	if err := s.checkApprovalPolicy(ctx, t); err != nil {
		return err
	}
	return checkSupply(t)
}

func checkTokenText(t *Token) error {
	if t.Standard == "" {
		return Refuse(MissingField, "standard is missing")
	}
	if err := checkText("name", t.Name, 1, maxName); err != nil {
		return err
	}
	if strings.TrimSpace(t.Name) != t.Name {
		return Refuse(Validation, "name %q begins or ends with a space", t.Name)
	}
	if err := checkBytes("name", t.Name, maxNameBytes); err != nil {
		return err
	}
	if err := checkVisible("symbol", t.Symbol, maxSymbol); err != nil {
		return err
	}
	if err := checkBytes("symbol", t.Symbol, maxSymbolBytes); err != nil {
		return err
	}
	if err := checkText("description", t.Description, 0, maxDescription); err != nil {
		return err
	}
	if len(t.Tags) > maxTags {
		return Refuse(Validation, "there are %d tags; at most %d are allowed", len(t.Tags), maxTags)
	}
	for i, tag := range t.Tags {
		if err := checkText(fmt.Sprintf("tags[%d]", i), tag, 1, maxTag); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) checkNetwork(name string) error {
	if name == "" {
		return Refuse(MissingField, "network is missing")
	}
	if _, ok := s.chains[name]; !ok {
		return Refuse(Validation, "there is no network %+q; the networks are %v", name, slices.Sorted(maps.Keys(s.chains)))
	}
	if charter, _ := s.fold.Charter(); charter != nil {
		if _, ok := charter.Network(name); !ok {
			return Refuse(Validation, "network %s is configured here, but the charter in force does not name it: the seal signs nothing for it", name)
		}
	}
	return nil
}

// checkApprovalPolicy: the policy must be in force, and its scope must cover
// the token, or it could never be one of those that judge its operations.
func (s *Service) checkApprovalPolicy(ctx context.Context, t *Token) error {
	id := t.ApprovalPolicyID
	if id == "" {
		return Refuse(MissingField, "admin.approvalPolicyId is missing")
	}
	inForce, ok := s.fold.Policy(id)
	if !ok || inForce.Policy.Retired {
		p, err := s.Policy(ctx, id)
		if err != nil {
			return err
		}
		return Refuse(Validation, "policy %s is %s and judges nothing; name one that is in force", id, p.Status)
	}
	if !policy.InScope(inForce.Policy, t.ID, t.AdminVaultAccountID, t.AdminVaultAccountID) {
		return Refuse(Validation, "policy %s does not cover this token: its scope is another token or vault account", id)
	}
	return nil
}

func checkSupply(t *Token) error {
	if t.Decimals > maxDecimals {
		return Refuse(Validation, "decimals is %d; 0 to %d are allowed", t.Decimals, maxDecimals)
	}
	if limit := t.SupplyPolicy.MaxSupply; !limit.Is0() && t.InitialSupply.Cmp(limit) > 0 {
		return Refuse(SupplyExceeded, "initialSupply %s is above maxSupply %s", t.InitialSupply, limit)
	}
	return nil
}

// checkDecimals keeps what does not fit the stored form out of it.
func checkDecimals(n int) error {
	if n < 0 || n > maxDecimals {
		return Refuse(Validation, "decimals is %d; 0 to %d are allowed", n, maxDecimals)
	}
	return nil
}
