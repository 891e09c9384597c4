package operationtest

import (
	"testing"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Tenant and Instance are whose appliance it is.
const (
	Tenant   = "acme"
	Instance = "unit"
)

// Custodians are those of charter 1, who decide together; Approvers are the persons of its group “approvers”.
var (
	Custodians = []string{"custodian-1", "custodian-2"}
	Approvers  = []string{"approver-1", "approver-2", "approver-3"}
)

// People are those who sign: custodians and approvers by name, each with one Ed25519 key.
type People struct {
	signers map[string]*policy.Signer
	users   map[string]string
}

// NewPeople makes everybody a key, and approvers a user.
func NewPeople(tb testing.TB) *People {
	tb.Helper()
	p := &People{signers: map[string]*policy.Signer{}, users: map[string]string{}}
	for _, names := range [][]string{Custodians, Approvers} {
		for _, name := range names {
			key, _, err := policy.GenerateKeyPEM(policy.Ed25519)
			if err != nil {
				tb.Fatal(err)
			}
			if p.signers[name], err = policy.LoadSignerPEM(key); err != nil {
				tb.Fatal(err)
			}
		}
	}
	for _, name := range Approvers {
		p.users[name] = store.NewID("user_")
	}
	return p
}

// User is an approver's user id.
func (p *People) User(name string) string { return p.users[name] }

// Sign signs a document.
func (p *People) Sign(tb testing.TB, document string, body []byte, who ...string) *policy.Envelope {
	tb.Helper()
	var signers []*policy.Signer
	for _, name := range who {
		signers = append(signers, p.signers[name])
	}
	e, err := policy.Sign(policy.PayloadType(document), body, signers...)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// charter is charter 1 of an appliance with these keys in front of that chain.
func (p *People) charter(keys *seal.InitResult, c *Chain) (*policy.Charter, error) {
	day, err := policy.ParseAmount("1000000000000000000000")
	if err != nil {
		return nil, err
	}
	charter := &policy.Charter{Format: policy.Format, Instance: Instance, Version: 1, Environment: policy.Dev, TenantID: Tenant,
		Networks: []policy.Network{{Name: Network, Kind: c.Kind, ChainID: c.ID, Scheme: c.Scheme,
			Currency: "QC", DefaultMaxFee: policy.AmountOf(1e18), DailyFee: day}},
		Custodians: policy.Custodians{Threshold: 2}, Groups: map[string][]string{"approvers": Approvers},
		Appliances: []policy.Appliance{{ID: Appliance, LedgerKey: keys.LedgerKey, UnsealKey: keys.UnsealKey,
			Token: policy.SecurityToken{Serial: keys.Token.Serial, CheckValues: keys.Token.CheckValues}}}}
	for _, name := range Custodians {
		charter.Custodians.Members = append(charter.Custodians.Members, policy.Custodian{Name: name, Keys: []policy.PublicKey{p.signers[name].Public()}})
	}
	for _, name := range Approvers {
		charter.Persons = append(charter.Persons, policy.Person{Name: name, Keys: []policy.PublicKey{p.signers[name].Public()}, Users: []string{p.users[name]}})
	}
	return charter, nil
}
