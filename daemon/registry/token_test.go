package registry_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// desk is a registry with a vault account and a policy in force, which is what
// a token needs.
type desk struct {
	*house
	s      *registry.Service
	vault  *registry.VaultAccount
	policy *policy.Policy
}

func newDesk(t testing.TB) *desk {
	h := newHouse(t)
	p := devDefault()
	h.apply(p)
	s, _ := h.serve()
	v, err := s.CreateVault(t.Context(), operator, registry.VaultSpec{Name: "treasury"}, nil)
	require.NoError(t, err)
	return &desk{h, s, v, p}
}

func (d *desk) spec() registry.TokenSpec {
	return registry.TokenSpec{
		Standard: "QRC-20", TemplateID: "tpl_qrc20_v1", Name: "Example Institutional Token", Symbol: "EIT", Decimals: 18,
		SupplyPolicy:        registry.SupplyPolicy{Mintable: true, Burnable: true, MaxSupply: policy.AmountOf(1_000_000)},
		AdminVaultAccountID: d.vault.ID, ApprovalPolicyID: d.policy.ID, Network: network, Tags: []string{"a", "b"},
	}
}

func ptr[T any](v T) *T { return &v }

func TestCreateTokenNamesWhatIsWrong(t *testing.T) {
	d := newDesk(t)
	unknownVault, unknownPolicy := store.NewID("vault_"), store.NewID("pol_")
	proposal, err := d.s.ProposePolicy(t.Context(), operator, registry.PolicySpec{Name: "not yet", Rules: twoOfApprovers()}, nil)
	require.NoError(t, err)
	other, err := d.s.CreateVault(t.Context(), operator, registry.VaultSpec{Name: "other"}, nil)
	require.NoError(t, err)
	elsewhere := devDefault()
	elsewhere.Scope = policy.Scope{VaultAccountID: other.ID}
	d.apply(elsewhere)
	require.NoError(t, d.s.WaitCarried(soon(t), 3))

	for name, c := range map[string]struct {
		change func(*registry.TokenSpec)
		kind   string
		says   string
	}{
		"no standard":         {func(s *registry.TokenSpec) { s.Standard = "" }, registry.MissingField, "standard"},
		"other standard":      {func(s *registry.TokenSpec) { s.Standard = "QRC-721" }, registry.StandardNotSupported, "QRC-721"},
		"no template":         {func(s *registry.TokenSpec) { s.TemplateID = "" }, registry.MissingField, "templateId"},
		"unknown template":    {func(s *registry.TokenSpec) { s.TemplateID = "tpl_x" }, registry.TemplateNotFound, "tpl_x"},
		"no name":             {func(s *registry.TokenSpec) { s.Name = "" }, registry.MissingField, "name"},
		"blank name":          {func(s *registry.TokenSpec) { s.Name = "   " }, registry.Validation, "name"},
		"padded name":         {func(s *registry.TokenSpec) { s.Name = " x" }, registry.Validation, "name"},
		"long name":           {func(s *registry.TokenSpec) { s.Name = strings.Repeat("n", 65) }, registry.StringTooLong, "65"},
		"long name in bytes":  {func(s *registry.TokenSpec) { s.Name = strings.Repeat("𝕟", 40) }, registry.StringTooLong, "160"},
		"reversed name":       {func(s *registry.TokenSpec) { s.Name = "abc\u202edef" }, registry.Validation, `\u202e`},
		"line break":          {func(s *registry.TokenSpec) { s.Name = "abc\ndef" }, registry.Validation, `\n`},
		"not UTF-8":           {func(s *registry.TokenSpec) { s.Name = "abc\xff" }, registry.Validation, "name"},
		"no symbol":           {func(s *registry.TokenSpec) { s.Symbol = "" }, registry.MissingField, "symbol"},
		"long symbol":         {func(s *registry.TokenSpec) { s.Symbol = "ABCDEFGHIJKL" }, registry.StringTooLong, "12"},
		"spaced symbol":       {func(s *registry.TokenSpec) { s.Symbol = "E T" }, registry.Validation, "symbol"},
		"invisible in symbol": {func(s *registry.TokenSpec) { s.Symbol = "E\u200bT" }, registry.Validation, "U+200B"},
		"negative decimals":   {func(s *registry.TokenSpec) { s.Decimals = -1 }, registry.Validation, "-1"},
		"too many decimals":   {func(s *registry.TokenSpec) { s.Decimals = 78 }, registry.Validation, "78"},
		"decimals that wrap":  {func(s *registry.TokenSpec) { s.Decimals = 256 + 18 }, registry.Validation, "274"},
		"above its own cap":   {func(s *registry.TokenSpec) { s.InitialSupply = policy.AmountOf(1_000_001) }, registry.SupplyExceeded, "1000001"},
		"no network":          {func(s *registry.TokenSpec) { s.Network = "" }, registry.MissingField, "network"},
		"unknown network":     {func(s *registry.TokenSpec) { s.Network = "mainnet" }, registry.Validation, "mainnet"},
		"no vault":            {func(s *registry.TokenSpec) { s.AdminVaultAccountID = "" }, registry.MissingField, "vaultAccountId"},
		"unknown vault":       {func(s *registry.TokenSpec) { s.AdminVaultAccountID = unknownVault }, registry.VaultNotFound, unknownVault},
		"a path for a vault":  {func(s *registry.TokenSpec) { s.AdminVaultAccountID = "vault_../x" }, registry.VaultNotFound, "vault_../x"},
		"no policy":           {func(s *registry.TokenSpec) { s.ApprovalPolicyID = "" }, registry.MissingField, "approvalPolicyId"},
		"unknown policy":      {func(s *registry.TokenSpec) { s.ApprovalPolicyID = unknownPolicy }, registry.TxNotFound, unknownPolicy},
		"proposed policy":     {func(s *registry.TokenSpec) { s.ApprovalPolicyID = proposal.ID }, registry.Validation, "PENDING_AUTHORIZATION"},
		"policy out of scope": {func(s *registry.TokenSpec) { s.ApprovalPolicyID = elsewhere.ID }, registry.Validation, elsewhere.ID},
		"long description":    {func(s *registry.TokenSpec) { s.Description = strings.Repeat("d", 1025) }, registry.StringTooLong, "description"},
		"too many tags":       {func(s *registry.TokenSpec) { s.Tags = make([]string, 33) }, registry.Validation, "33"},
		"an empty tag":        {func(s *registry.TokenSpec) { s.Tags = []string{"a", ""} }, registry.MissingField, "tags[1]"},
		"control in a tag":    {func(s *registry.TokenSpec) { s.Tags = []string{"a\x00"} }, registry.Validation, "tags[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := d.spec()
			c.change(&spec)
			_, err := d.s.CreateToken(t.Context(), operator, spec, nil)
			require.Contains(t, refused(t, err, c.kind), c.says)
		})
	}
	_, total, err := d.s.Tokens(t.Context(), registry.TokenFilter{}, 50, 0)
	require.NoError(t, err)
	require.Zero(t, total, "nothing of it was stored")
	require.Zero(t, d.audits("token.created"))
}

func TestTokensNoCapAndWideScripts(t *testing.T) {
	d := newDesk(t)
	spec := d.spec()
	spec.SupplyPolicy.MaxSupply, spec.InitialSupply = policy.AmountOf(0), policy.MaxAmount()
	spec.Name, spec.Symbol, spec.Decimals = "机构代币", "ÉI₮", 77
	made, err := d.s.CreateToken(t.Context(), operator, spec, nil)
	require.NoError(t, err)
	got, err := d.s.Token(t.Context(), made.ID)
	require.NoError(t, err)
	require.Equal(t, policy.MaxAmount(), got.InitialSupply)
	require.Equal(t, "ÉI₮", got.Symbol)
}

func TestTokenLifeInTheRegistry(t *testing.T) {
	d := newDesk(t)
	made, err := d.s.CreateToken(t.Context(), operator, d.spec(), nil)
	require.NoError(t, err)
	require.Equal(t, registry.TokenDraft, made.Status)
	require.Equal(t, 1, d.audits("token.created"))

	changed, err := d.s.UpdateToken(t.Context(), operator, made.ID, registry.TokenPatch{Symbol: ptr("EIX"), MaxSupply: ptr(policy.AmountOf(5)), Tags: ptr([]string{})}, nil)
	require.NoError(t, err)
	require.Equal(t, "EIX", changed.Symbol)
	require.True(t, changed.SupplyPolicy.Mintable, "what was not named stays")
	got, err := d.s.Token(t.Context(), made.ID)
	require.NoError(t, err)
	require.Equal(t, changed, got)
	require.Equal(t, 1, d.audits("token.updated"))
	_, err = d.s.UpdateToken(t.Context(), operator, made.ID, registry.TokenPatch{Symbol: ptr("EIX")}, nil)
	require.NoError(t, err)
	require.Equal(t, 1, d.audits("token.updated"), "a change of nothing is no event")

	_, err = d.s.UpdateToken(t.Context(), operator, made.ID, registry.TokenPatch{}, nil)
	refused(t, err, registry.MissingField)
	_, err = d.s.UpdateToken(t.Context(), operator, made.ID, registry.TokenPatch{InitialSupply: ptr(policy.AmountOf(6))}, nil)
	refused(t, err, registry.SupplyExceeded)
	_, err = d.s.UpdateToken(t.Context(), operator, made.ID, registry.TokenPatch{Decimals: ptr(300)}, nil)
	refused(t, err, registry.Validation)
	unknown := store.NewID("token_")
	_, err = d.s.UpdateToken(t.Context(), operator, unknown, registry.TokenPatch{Name: ptr("x")}, nil)
	require.Contains(t, refused(t, err, registry.NotFound), unknown)

	d.deployed(made.ID, tx.Address{19: 7})
	_, err = d.s.UpdateToken(t.Context(), operator, made.ID, registry.TokenPatch{Name: ptr("y"), Decimals: ptr(6)}, nil)
	require.Contains(t, refused(t, err, registry.AlreadyDeployed), "decimals")
	changed, err = d.s.UpdateToken(t.Context(), operator, made.ID, registry.TokenPatch{Name: ptr("y"), Description: ptr("d"), Tags: ptr([]string{"t"})}, nil)
	require.NoError(t, err)
	require.Equal(t, registry.TokenDeployed, changed.Status)
	require.Equal(t, "y", changed.Name)
}

// deployed has the token deployed as the operation's worker does it.
func (d *desk) deployed(id string, contract tx.Address) {
	t, rev, err := d.s.TokenAt(d.t.Context(), id)
	require.NoError(d.t, err)
	t.Status, t.ContractAddress = registry.TokenDeployed, &contract
	change := d.store.Tx()
	d.s.StageToken(change, t, rev)
	_, err = change.Commit(d.t.Context())
	require.NoError(d.t, err)
}

func TestStageTokenComparesTheRevision(t *testing.T) {
	d := newDesk(t)
	made, err := d.s.CreateToken(t.Context(), operator, d.spec(), nil)
	require.NoError(t, err)
	tok, rev, err := d.s.TokenAt(t.Context(), made.ID)
	require.NoError(t, err)
	_, err = d.s.UpdateToken(t.Context(), operator, made.ID, registry.TokenPatch{Name: ptr("meanwhile")}, nil)
	require.NoError(t, err)
	change := d.store.Tx()
	d.s.StageToken(change, tok, rev)
	_, err = change.Commit(t.Context())
	require.ErrorIs(t, err, store.ErrConflict)
}

func TestListsAreNewestFirstFilteredAndCounted(t *testing.T) {
	d := newDesk(t)
	var ids []string
	for range 5 {
		made, err := d.s.CreateToken(t.Context(), operator, d.spec(), nil)
		require.NoError(t, err)
		ids = append([]string{made.ID}, ids...)
	}
	d.deployed(ids[1], tx.Address{1})
	list := func(f registry.TokenFilter, limit, offset int) ([]string, int) {
		page, total, err := d.s.Tokens(t.Context(), f, limit, offset)
		require.NoError(t, err)
		got := []string{}
		for _, tok := range page {
			got = append(got, tok.ID)
		}
		return got, total
	}
	got, total := list(registry.TokenFilter{}, 50, 0)
	require.Equal(t, ids, got)
	require.Equal(t, 5, total)
	got, total = list(registry.TokenFilter{}, 2, 1)
	require.Equal(t, ids[1:3], got)
	require.Equal(t, 5, total)
	got, total = list(registry.TokenFilter{}, 2, 10)
	require.Empty(t, got)
	require.Equal(t, 5, total)
	require.Eventually(t, func() bool { // the watch tells of what another package wrote
		got, total = list(registry.TokenFilter{Status: registry.TokenDeployed}, 50, 0)
		return total == 1 && got[0] == ids[1]
	}, waitLimit, waitStep)
	_, total = list(registry.TokenFilter{Network: "elsewhere"}, 50, 0)
	require.Zero(t, total)
	_, total = list(registry.TokenFilter{AdminVaultAccountID: d.vault.ID, Standard: "QRC-20"}, 50, 0)
	require.Equal(t, 5, total)
}

func TestIdempotentCreationIsAnsweredOnce(t *testing.T) {
	d := newDesk(t)
	idem := func() *store.Idempotent {
		return &store.Idempotent{Hash: strings.Repeat("ab", 32), BodyHash: "body", Render: func(v any) (int, []byte, error) {
			return 201, []byte(v.(*registry.Token).ID), nil
		}}
	}
	made, err := d.s.CreateToken(t.Context(), operator, d.spec(), idem())
	require.NoError(t, err)
	_, err = d.s.CreateToken(t.Context(), operator, d.spec(), idem())
	require.ErrorIs(t, err, store.ErrIdempotencyLost)
	r, ok, err := d.store.Idempotency(t.Context(), strings.Repeat("ab", 32))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, made.ID, string(r.Body))
	_, total, err := d.s.Tokens(t.Context(), registry.TokenFilter{}, 50, 0)
	require.NoError(t, err)
	require.Equal(t, 1, total)
	_, err = d.s.UpdateToken(t.Context(), operator, made.ID, registry.TokenPatch{Name: ptr("z")}, idem())
	require.ErrorIs(t, err, store.ErrIdempotencyLost, "not taken for a race with another change")
}
