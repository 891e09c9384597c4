package qrc20

import (
	"bytes"
	"embed"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/crypto"
)

// artifact holds what contracts/build.mjs made of contracts/src; `make contracts` compares.
//
//go:embed artifact/*.json
var artifact embed.FS

// StandardQRC20 is the one token standard that has templates.
const StandardQRC20 = "QRC-20"

// Template is a sort of token contract that the appliance can deploy. Its fields are read-only.
type Template struct {
	ID          string
	Standard    string
	Name        string
	Description string
	// Roles and Methods are in the order in which they are listed to people.
	Roles   []Role
	Methods []Method
	// ABI is the contract's, as JSON.
	ABI []byte
	// Bytecode is the creation code, without constructor arguments.
	Bytecode []byte
	// BytecodeHash is Keccak-256 of the runtime code with every immutable zeroed.
	BytecodeHash [32]byte
	// Compiler is the exact version of the compiler that made the code.
	Compiler string

	runtime    []byte           // immutables zeroed
	immutables map[string][]int // by name: where its 32-byte words start in the runtime
	parsed     abi.ABI
	gas        gasBounds // of a deployment
}

// HasRole is true if the template's contract has the role.
func (t *Template) HasRole(r Role) bool { return slices.Contains(t.Roles, r) }

// HasMethod is true if the template's contract has the method.
func (t *Template) HasMethod(m Method) bool { return slices.Contains(t.Methods, m) }

var templates = sync.OnceValue(func() []*Template {
	return []*Template{
		load(&Template{
			ID:       "tpl_qrc20_v1",
			Standard: StandardQRC20,
			Name:     "QRC-20 token",
			Description: "A fungible token: minted and burned by role holders, capped, pausable; " +
				"a supply policy that is not mintable or burnable has no holder of that role, ever.",
			Roles:   []Role{Admin, Minter, Burner, Pauser},
			Methods: []Method{Mint, Burn, BurnFrom, Transfer, TransferFrom, GrantRole, RevokeRole, Pause, Unpause},
			gas:     deployV1,
		}),
		load(&Template{
			ID:       "tpl_qrc20_regulated_v1",
			Standard: StandardQRC20,
			Name:     "Regulated QRC-20 token",
			Description: "A QRC-20 token that moves between accounts on its allowlist only, and neither from, nor to, " +
				"nor by a frozen one; the admin's wallet is the first on the list.",
			Roles: []Role{Admin, Minter, Burner, Pauser, Freezer, ComplianceOperator},
			Methods: []Method{Mint, Burn, BurnFrom, Transfer, TransferFrom, GrantRole, RevokeRole, Pause, Unpause,
				Freeze, Unfreeze, Allow, Disallow},
			gas: deployRegulatedV1,
		}),
	}
})

// Templates are all templates, in a fixed order. The caller does not change them.
func Templates() []*Template { return slices.Clone(templates()) }

// TemplateByID finds a template by its id, such as "tpl_qrc20_v1".
func TemplateByID(id string) (*Template, bool) {
	for _, t := range templates() {
		if t.ID == id {
			return t, true
		}
	}
	return nil, false
}

// load fills in what the compiler made. The artifacts are part of the binary and tested, so one
// that does not fit is a fault of the build, hence a panic.
func load(t *Template) *Template {
	var code struct {
		Template     string           `json:"template"`
		Contract     string           `json:"contract"`
		Compiler     string           `json:"compiler"`
		OpenZeppelin string           `json:"openzeppelin"`
		Settings     map[string]any   `json:"settings"`
		Immutables   map[string][]int `json:"immutables"`
		Creation     string           `json:"creation"`
		Runtime      string           `json:"runtime"`
	}
	if err := json.Unmarshal(mustRead(t.ID+".code.json"), &code, json.RejectUnknownMembers(true)); err != nil {
		panic(fmt.Sprintf("qrc20: %s: %v", t.ID, err))
	}
	t.ABI = mustRead(t.ID + ".abi.json")
	parsed, err := abi.JSON(bytes.NewReader(t.ABI))
	if err != nil {
		panic(fmt.Sprintf("qrc20: %s: ABI: %v", t.ID, err))
	}
	t.parsed = parsed
	t.Compiler = code.Compiler
	t.Bytecode = mustHex(code.Creation)
	t.runtime = mustHex(code.Runtime)
	t.immutables = code.Immutables
	t.BytecodeHash = crypto.Keccak256Hash(t.runtime)
	return t
}

func mustRead(name string) []byte {
	b, err := artifact.ReadFile("artifact/" + name)
	if err != nil {
		panic("qrc20: " + err.Error())
	}
	return b
}

func mustHex(s string) []byte {
	digits, ok := strings.CutPrefix(s, "0x")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil {
		panic("qrc20: artifact holds no hex code")
	}
	return b
}
