package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain/qrc20"
)

// misfits says everything in which the intent does not fit what it is judged by. An approval for
// another chain, token, instance or epoch is thereby no approval of anything here.
func (j *judgement) misfits() []string {
	var why []string
	deny := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	i, c := j.Intent, j.Charter
	if !i.OperationType.Valid() {
		deny("operation type %.40q is not known", i.OperationType)
	}
	if !j.IntentDigest.Valid() {
		deny("the intent's digest %.80q is not one", j.IntentDigest)
	}
	if i.Instance != c.Instance {
		deny("the intent is for instance %s, this is %s", i.Instance, c.Instance)
	}
	if i.Epoch != j.Epoch {
		deny("the intent is of epoch %d, this is epoch %d", i.Epoch, j.Epoch)
	}
	if !j.CharterKnown {
		deny("the intent's charter %s is neither the current one nor an ancestor of it", i.Charter)
	}
	if network, ok := c.Network(i.Network); !ok {
		deny("network %s is not in the charter", i.Network)
	} else if network.ChainID != i.ChainID || network.Kind != i.Scheme.Kind() {
		deny("network %s is kind %s with chain id %d, the intent says %s with chain id %d", network.Name, network.Kind, network.ChainID, i.Scheme.Kind(), i.ChainID)
	}
	switch life := i.ExpiresAt.Sub(i.NotBefore); {
	case j.Now.Before(i.NotBefore):
		deny("the intent holds from %s on, it is %s", utc(i.NotBefore), utc(j.Now))
	case !j.Now.Before(i.ExpiresAt):
		deny("the intent expired at %s, it is %s", utc(i.ExpiresAt), utc(j.Now))
	case life > c.MaxIntentLifetime():
		deny("the intent lives for %s, the charter allows %s", life, c.MaxIntentLifetime())
	}
	if j.Frozen {
		deny("token %s is frozen", i.Token.ID)
	}
	// Only an ADMIN can revoke ADMIN: as long as none revokes his own, one is left.
	if s := i.Params.Subject; i.OperationType == OpRevokeRole && i.Params.Role == qrc20.Admin && s != nil && *s == i.Performer.Address {
		deny("%s would revoke its own ADMIN; another holder of ADMIN has to", i.Performer.Address)
	}
	for _, p := range j.Policies {
		if p != nil && p.Policy != nil && p.Policy.Scope.TokenID != "" && p.Policy.Scope.TokenID != i.Token.ID {
			deny("policy %s is of token %s", p.Policy.ID, p.Policy.Scope.TokenID)
		}
	}
	return append(why, j.bindingMisfits()...)
}

func (j *judgement) bindingMisfits() []string {
	i, b := j.Intent, j.Binding
	if i.OperationType == OpDeployToken || i.OperationType == OpCancel {
		if b != nil {
			return []string{fmt.Sprintf("%s is judged without a binding", i.OperationType)}
		}
		return nil
	}
	if b == nil {
		return []string{fmt.Sprintf("token %s has no binding", i.Token.ID)}
	}
	var why []string
	why = differ(why, "instance", i.Instance, b.Instance)
	why = differ(why, "token", i.Token.ID, b.TokenID)
	why = differ(why, "network", i.Network, b.Network)
	why = differ(why, "chain id", i.ChainID, b.ChainID)
	if contract := i.Token.ContractAddress; contract == nil || *contract != b.ContractAddress {
		why = differ(why, "contract", fmt.Sprint(contract), b.ContractAddress.String())
	}
	why = differ(why, "template", i.Token.TemplateID, b.TemplateID)
	why = differ(why, "symbol", i.Token.Symbol, b.Symbol)
	why = differ(why, "decimals", i.Token.Decimals, b.Decimals)
	if !slices.Contains(b.Performers, i.Performer.WalletID) && !i.ownTransfer() {
		why = append(why, fmt.Sprintf("wallet %s is no performer of token %s", i.Performer.WalletID, b.TokenID))
	}
	return why
}

// differ adds what the intent says otherwise than the binding; what agrees costs nothing.
func differ[T comparable](why []string, name string, intent, binding T) []string {
	if intent == binding {
		return why
	}
	return append(why, fmt.Sprintf("the intent says %s %s, the token's binding %s", name, Printable(fmt.Sprint(intent)), Printable(fmt.Sprint(binding))))
}

// ownTransfer is true of a transfer of what the performing wallet itself holds: that needs no role.
func (i *Intent) ownTransfer() bool {
	return i.OperationType == OpTransfer && i.Params.Source != nil && *i.Params.Source == i.Performer.Address
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }
