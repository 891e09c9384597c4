package qrc20

import "github.com/ethereum/go-ethereum/crypto"

// Role is a role on a token contract; the zero value is none.
type Role string

// The roles that templates may have (spec api.md, “Roles and templates”).
const (
	Owner              Role = "OWNER"
	Admin              Role = "ADMIN"
	Minter             Role = "MINTER"
	Burner             Role = "BURNER"
	Pauser             Role = "PAUSER"
	Freezer            Role = "FREEZER"
	ComplianceOperator Role = "COMPLIANCE_OPERATOR"
	TransferAgent      Role = "TRANSFER_AGENT"
)

var roles = []Role{Owner, Admin, Minter, Burner, Pauser, Freezer, ComplianceOperator, TransferAgent}

// Valid is true of the eight roles, whatever a template has.
func (r Role) Valid() bool {
	for _, known := range roles {
		if r == known {
			return true
		}
	}
	return false
}

// RoleID is what the contract calls the role: 32 zero bytes for ADMIN (OpenZeppelin's
// DEFAULT_ADMIN_ROLE), else Keccak-256 of "<NAME>_ROLE".
func RoleID(r Role) [32]byte {
	if r == Admin {
		return [32]byte{}
	}
	return crypto.Keccak256Hash([]byte(r + "_ROLE"))
}

// RoleByID is the inverse of RoleID over the valid roles.
func RoleByID(id [32]byte) (Role, bool) {
	for _, r := range roles {
		if RoleID(r) == id {
			return r, true
		}
	}
	return "", false
}
