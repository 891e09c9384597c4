package policy

import (
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// Environment is what an instance is for, unchangeable; the zero value is none.
type Environment string

// The environments.
const (
	Dev        Environment = "dev"        // devnet chains only, keys that init or dev made
	Production Environment = "production" // custodian threshold of at least 2
)

// Charter says who is who: networks, custodians, persons, groups, appliances, and the limits that
// no policy can widen. Custodians alone change it.
type Charter struct {
	Format      int                 `json:"format"`
	Instance    string              `json:"instance"`
	Version     uint64              `json:"version"`
	Replaces    *Digest             `json:"replaces"` // null for charter 1
	Environment Environment         `json:"environment"`
	TenantID    string              `json:"tenantId"`
	Networks    []Network           `json:"networks"`
	Custodians  Custodians          `json:"custodians"`
	Persons     []Person            `json:"persons"`
	Groups      map[string][]string `json:"groups"` // names of persons
	Appliances  []Appliance         `json:"appliances"`
	Limits      Limits              `json:"limits"`
	Flags       Flags               `json:"flags"`
}

// Network is a chain that wallets of this instance send to.
type Network struct {
	Name          string    `json:"name"`
	Kind          tx.Kind   `json:"kind"`
	ChainID       uint64    `json:"chainId"`
	Scheme        tx.Scheme `json:"scheme"`        // of wallets where none is asked for
	Currency      string    `json:"currency"`      // symbol of the 18-decimal native currency
	DefaultMaxFee Amount    `json:"defaultMaxFee"` // wei an operation, where no MAX_FEE is in scope
	DailyFee      Amount    `json:"dailyFee"`      // wei a wallet and UTC day
}

// Custodians are those who change charter, policies and bindings.
type Custodians struct {
	Threshold uint32      `json:"threshold"`
	Members   []Custodian `json:"members"`
}

// Custodian is one seat, however many keys.
type Custodian struct {
	Name string      `json:"name"`
	Keys []PublicKey `json:"keys"`
}

// Person is somebody who may approve: one name, keys, and the API users that are this person.
type Person struct {
	Name  string      `json:"name"`
	Keys  []PublicKey `json:"keys"`
	Users []string    `json:"users"` // user_…
}

// Appliance is one box that may author the ledger.
type Appliance struct {
	ID        string        `json:"id"`
	LedgerKey PublicKey     `json:"ledgerKey"` // Ed25519, in its HSM
	UnsealKey []byte        `json:"unsealKey"` // HPKE public key
	Token     SecurityToken `json:"token"`
}

// SecurityToken is how an appliance's HSM token is recognized.
type SecurityToken struct {
	Serial      string            `json:"serial"`
	CheckValues map[string]string `json:"checkValues"` // by key: public key's SHA-256, or CKA_CHECK_VALUE
}

// Limits bound what policies and callers may ask for. A zero field is absent and takes the default
// that the Charter's method of its name gives.
type Limits struct {
	MaxIntentLifetime uint64 `json:"maxIntentLifetime,omitzero"` // seconds
	MaxOutstanding    uint64 `json:"maxOutstanding,omitzero"`    // unconfirmed authorizations of a wallet
	MaxClockSkew      uint64 `json:"maxClockSkew,omitzero"`      // seconds
	WalletsPerHour    uint64 `json:"walletsPerHour,omitzero"`
	WalletsTotal      uint64 `json:"walletsTotal,omitzero"`
}

// Flags are the charter's choices.
type Flags struct {
	SignedRequests        bool `json:"signedRequests"`        // requesters sign their intents too
	RequirePostQuantum    bool `json:"requirePostQuantum"`    // every person's and custodian's key is ML-DSA-65
	HostKeyAccepted       bool `json:"hostKeyAccepted"`       // a credential that no TPM seals may unseal
	SoftwareTokenAccepted bool `json:"softwareTokenAccepted"` // SoftHSM2 under a production charter
}

// ParseCharter reads a charter strictly and checks that it is consistent. Errors wrap ErrDocument.
func ParseCharter(b []byte) (*Charter, error) { return parse[Charter]("charter", b) }

// Encode checks the charter and gives its JSON. Errors wrap ErrDocument.
func (c *Charter) Encode() ([]byte, error) { return encodeDocument(c) }

// Person finds a person by name.
func (c *Charter) Person(name string) (*Person, bool) {
	for i := range c.Persons {
		if c.Persons[i].Name == name {
			return &c.Persons[i], true
		}
	}
	return nil, false
}

// PersonByUser finds the person that an API user is.
func (c *Charter) PersonByUser(userID string) (*Person, bool) {
	for i := range c.Persons {
		if slices.Contains(c.Persons[i].Users, userID) {
			return &c.Persons[i], true
		}
	}
	return nil, false
}

// PersonByKey finds the person whose key has the key id.
func (c *Charter) PersonByKey(keyid string) (*Person, PublicKey, bool) {
	for i := range c.Persons {
		for _, k := range c.Persons[i].Keys {
			if k.KeyID() == keyid {
				return &c.Persons[i], k, true
			}
		}
	}
	return nil, PublicKey{}, false
}

// Signed is true where one of the keys that signed the decision is a key of its person now. An
// approval counts only then; a rejection whatever became of its keys.
func (c *Charter) Signed(d RecordedDecision) bool { return c.owns(d.Person, d.Keys) }

// Requested is true where one of the keys that signed the request is a key of its person now.
func (c *Charter) Requested(r RecordedRequest) bool { return c.owns(r.Person, r.Keys) }

// owns is true where one of the key ids is of a key that the charter gives to the person.
func (c *Charter) owns(person string, keys []string) bool {
	p, ok := c.Person(person)
	return ok && slices.ContainsFunc(p.Keys, func(k PublicKey) bool { return slices.Contains(keys, k.KeyID()) })
}

// Custodian finds a custodian by name.
func (c *Charter) Custodian(name string) (*Custodian, bool) {
	for i := range c.Custodians.Members {
		if c.Custodians.Members[i].Name == name {
			return &c.Custodians.Members[i], true
		}
	}
	return nil, false
}

// CustodianByKey finds the custodian whose key has the key id.
func (c *Charter) CustodianByKey(keyid string) (*Custodian, PublicKey, bool) {
	for i := range c.Custodians.Members {
		for _, k := range c.Custodians.Members[i].Keys {
			if k.KeyID() == keyid {
				return &c.Custodians.Members[i], k, true
			}
		}
	}
	return nil, PublicKey{}, false
}

// CustodianKeys is every custodian's every key.
func (c *Charter) CustodianKeys() []PublicKey {
	var out []PublicKey
	for _, m := range c.Custodians.Members {
		out = append(out, m.Keys...)
	}
	return out
}

// Group is the names of a group's persons; ok is false where there is none of that name.
func (c *Charter) Group(name string) (persons []string, ok bool) {
	persons, ok = c.Groups[name]
	return persons, ok
}

// Network finds a network by name.
func (c *Charter) Network(name string) (*Network, bool) {
	for i := range c.Networks {
		if c.Networks[i].Name == name {
			return &c.Networks[i], true
		}
	}
	return nil, false
}

// Appliance finds an appliance by id.
func (c *Charter) Appliance(id string) (*Appliance, bool) {
	for i := range c.Appliances {
		if c.Appliances[i].ID == id {
			return &c.Appliances[i], true
		}
	}
	return nil, false
}

// What holds where a charter does not say.
const (
	defaultIntentLifetime = 86400 // seconds: a working day and the night after
	defaultOutstanding    = 16    // authorizations: fewer than a node queues of one sender (64)
	defaultClockSkew      = 30    // seconds: far above what NTP leaves, far below what a window needs
	defaultWalletsPerHour = 20
	defaultWalletsTotal   = 1000
)

func orDefault(n, d uint64) uint64 {
	if n == 0 {
		return d
	}
	return n
}

// MaxIntentLifetime is the longest from notBefore to expiresAt; 24 h by default.
func (c *Charter) MaxIntentLifetime() time.Duration {
	return time.Duration(orDefault(c.Limits.MaxIntentLifetime, defaultIntentLifetime)) * time.Second
}

// MaxOutstanding is how many authorizations of one wallet may wait for confirmation; 16 by default.
func (c *Charter) MaxOutstanding() int {
	return int(orDefault(c.Limits.MaxOutstanding, defaultOutstanding))
}

// MaxClockSkew is how far a clock may be off; 30 s by default.
func (c *Charter) MaxClockSkew() time.Duration {
	return time.Duration(orDefault(c.Limits.MaxClockSkew, defaultClockSkew)) * time.Second
}

// WalletsPerHour is how many wallets the seal makes in an hour; 20 by default.
func (c *Charter) WalletsPerHour() int {
	return int(orDefault(c.Limits.WalletsPerHour, defaultWalletsPerHour))
}

// WalletsTotal is how many wallets the seal makes at all; 1,000 by default.
func (c *Charter) WalletsTotal() int {
	return int(orDefault(c.Limits.WalletsTotal, defaultWalletsTotal))
}
