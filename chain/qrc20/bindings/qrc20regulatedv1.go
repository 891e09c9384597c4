// Code generated via abigen V2 - DO NOT EDIT.
// This file is a generated binding and any manual changes will be lost.

package bindings

import (
	"bytes"
	"errors"
	"math/big"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/accounts/abi/bind/v2"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Reference imports to suppress errors if they are not otherwise used.
var (
	_ = bytes.Equal
	_ = errors.New
	_ = big.NewInt
	_ = common.Big1
	_ = types.BloomLookup
	_ = abi.ConvertType
)

// QRC20RegulatedV1MetaData contains all meta data concerning the QRC20RegulatedV1 contract.
var QRC20RegulatedV1MetaData = bind.MetaData{
	ABI: "[{\"inputs\":[{\"internalType\":\"string\",\"name\":\"name_\",\"type\":\"string\"},{\"internalType\":\"string\",\"name\":\"symbol_\",\"type\":\"string\"},{\"internalType\":\"uint8\",\"name\":\"decimals_\",\"type\":\"uint8\"},{\"internalType\":\"uint256\",\"name\":\"cap_\",\"type\":\"uint256\"},{\"internalType\":\"bool\",\"name\":\"mintable_\",\"type\":\"bool\"},{\"internalType\":\"bool\",\"name\":\"burnable_\",\"type\":\"bool\"},{\"internalType\":\"uint256\",\"name\":\"initialSupply\",\"type\":\"uint256\"},{\"internalType\":\"address\",\"name\":\"admin\",\"type\":\"address\"}],\"stateMutability\":\"nonpayable\",\"type\":\"constructor\"},{\"inputs\":[],\"name\":\"AccessControlBadConfirmation\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"},{\"internalType\":\"bytes32\",\"name\":\"neededRole\",\"type\":\"bytes32\"}],\"name\":\"AccessControlUnauthorizedAccount\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint256\",\"name\":\"increasedSupply\",\"type\":\"uint256\"},{\"internalType\":\"uint256\",\"name\":\"cap\",\"type\":\"uint256\"}],\"name\":\"ERC20ExceededCap\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"spender\",\"type\":\"address\"},{\"internalType\":\"uint256\",\"name\":\"allowance\",\"type\":\"uint256\"},{\"internalType\":\"uint256\",\"name\":\"needed\",\"type\":\"uint256\"}],\"name\":\"ERC20InsufficientAllowance\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"sender\",\"type\":\"address\"},{\"internalType\":\"uint256\",\"name\":\"balance\",\"type\":\"uint256\"},{\"internalType\":\"uint256\",\"name\":\"needed\",\"type\":\"uint256\"}],\"name\":\"ERC20InsufficientBalance\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"approver\",\"type\":\"address\"}],\"name\":\"ERC20InvalidApprover\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"uint256\",\"name\":\"cap\",\"type\":\"uint256\"}],\"name\":\"ERC20InvalidCap\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"receiver\",\"type\":\"address\"}],\"name\":\"ERC20InvalidReceiver\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"sender\",\"type\":\"address\"}],\"name\":\"ERC20InvalidSender\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"spender\",\"type\":\"address\"}],\"name\":\"ERC20InvalidSpender\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"EnforcedPause\",\"type\":\"error\"},{\"inputs\":[],\"name\":\"ExpectedPause\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"QRC20AccountFrozen\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"QRC20AccountNotAllowed\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"admin\",\"type\":\"address\"}],\"name\":\"QRC20InvalidAdmin\",\"type\":\"error\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"role\",\"type\":\"bytes32\"}],\"name\":\"QRC20RoleNotAvailable\",\"type\":\"error\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"operator\",\"type\":\"address\"}],\"name\":\"Allowed\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"address\",\"name\":\"owner\",\"type\":\"address\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"spender\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"uint256\",\"name\":\"value\",\"type\":\"uint256\"}],\"name\":\"Approval\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"operator\",\"type\":\"address\"}],\"name\":\"Disallowed\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"operator\",\"type\":\"address\"}],\"name\":\"Frozen\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":false,\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"Paused\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"role\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"previousAdminRole\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"newAdminRole\",\"type\":\"bytes32\"}],\"name\":\"RoleAdminChanged\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"role\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"sender\",\"type\":\"address\"}],\"name\":\"RoleGranted\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"bytes32\",\"name\":\"role\",\"type\":\"bytes32\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"sender\",\"type\":\"address\"}],\"name\":\"RoleRevoked\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"address\",\"name\":\"from\",\"type\":\"address\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"to\",\"type\":\"address\"},{\"indexed\":false,\"internalType\":\"uint256\",\"name\":\"value\",\"type\":\"uint256\"}],\"name\":\"Transfer\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":true,\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"},{\"indexed\":true,\"internalType\":\"address\",\"name\":\"operator\",\"type\":\"address\"}],\"name\":\"Unfrozen\",\"type\":\"event\"},{\"anonymous\":false,\"inputs\":[{\"indexed\":false,\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"Unpaused\",\"type\":\"event\"},{\"inputs\":[],\"name\":\"BURNER_ROLE\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"COMPLIANCE_OPERATOR_ROLE\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"DEFAULT_ADMIN_ROLE\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"FREEZER_ROLE\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"MINTER_ROLE\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"PAUSER_ROLE\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"allow\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"owner\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"spender\",\"type\":\"address\"}],\"name\":\"allowance\",\"outputs\":[{\"internalType\":\"uint256\",\"name\":\"\",\"type\":\"uint256\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"allowed\",\"outputs\":[{\"internalType\":\"bool\",\"name\":\"\",\"type\":\"bool\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"spender\",\"type\":\"address\"},{\"internalType\":\"uint256\",\"name\":\"value\",\"type\":\"uint256\"}],\"name\":\"approve\",\"outputs\":[{\"internalType\":\"bool\",\"name\":\"\",\"type\":\"bool\"}],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"balanceOf\",\"outputs\":[{\"internalType\":\"uint256\",\"name\":\"\",\"type\":\"uint256\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"uint256\",\"name\":\"amount\",\"type\":\"uint256\"}],\"name\":\"burn\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"from\",\"type\":\"address\"},{\"internalType\":\"uint256\",\"name\":\"amount\",\"type\":\"uint256\"}],\"name\":\"burnFrom\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"burnable\",\"outputs\":[{\"internalType\":\"bool\",\"name\":\"\",\"type\":\"bool\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"cap\",\"outputs\":[{\"internalType\":\"uint256\",\"name\":\"\",\"type\":\"uint256\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"decimals\",\"outputs\":[{\"internalType\":\"uint8\",\"name\":\"\",\"type\":\"uint8\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"disallow\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"freeze\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"frozen\",\"outputs\":[{\"internalType\":\"bool\",\"name\":\"\",\"type\":\"bool\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"role\",\"type\":\"bytes32\"}],\"name\":\"getRoleAdmin\",\"outputs\":[{\"internalType\":\"bytes32\",\"name\":\"\",\"type\":\"bytes32\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"role\",\"type\":\"bytes32\"},{\"internalType\":\"uint256\",\"name\":\"index\",\"type\":\"uint256\"}],\"name\":\"getRoleMember\",\"outputs\":[{\"internalType\":\"address\",\"name\":\"\",\"type\":\"address\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"role\",\"type\":\"bytes32\"}],\"name\":\"getRoleMemberCount\",\"outputs\":[{\"internalType\":\"uint256\",\"name\":\"\",\"type\":\"uint256\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"role\",\"type\":\"bytes32\"}],\"name\":\"getRoleMembers\",\"outputs\":[{\"internalType\":\"address[]\",\"name\":\"\",\"type\":\"address[]\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"role\",\"type\":\"bytes32\"},{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"grantRole\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"role\",\"type\":\"bytes32\"},{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"hasRole\",\"outputs\":[{\"internalType\":\"bool\",\"name\":\"\",\"type\":\"bool\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"to\",\"type\":\"address\"},{\"internalType\":\"uint256\",\"name\":\"amount\",\"type\":\"uint256\"}],\"name\":\"mint\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"mintable\",\"outputs\":[{\"internalType\":\"bool\",\"name\":\"\",\"type\":\"bool\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"name\",\"outputs\":[{\"internalType\":\"string\",\"name\":\"\",\"type\":\"string\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"pause\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"paused\",\"outputs\":[{\"internalType\":\"bool\",\"name\":\"\",\"type\":\"bool\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"role\",\"type\":\"bytes32\"},{\"internalType\":\"address\",\"name\":\"callerConfirmation\",\"type\":\"address\"}],\"name\":\"renounceRole\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes32\",\"name\":\"role\",\"type\":\"bytes32\"},{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"revokeRole\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"bytes4\",\"name\":\"interfaceId\",\"type\":\"bytes4\"}],\"name\":\"supportsInterface\",\"outputs\":[{\"internalType\":\"bool\",\"name\":\"\",\"type\":\"bool\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"symbol\",\"outputs\":[{\"internalType\":\"string\",\"name\":\"\",\"type\":\"string\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"totalSupply\",\"outputs\":[{\"internalType\":\"uint256\",\"name\":\"\",\"type\":\"uint256\"}],\"stateMutability\":\"view\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"to\",\"type\":\"address\"},{\"internalType\":\"uint256\",\"name\":\"value\",\"type\":\"uint256\"}],\"name\":\"transfer\",\"outputs\":[{\"internalType\":\"bool\",\"name\":\"\",\"type\":\"bool\"}],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"from\",\"type\":\"address\"},{\"internalType\":\"address\",\"name\":\"to\",\"type\":\"address\"},{\"internalType\":\"uint256\",\"name\":\"value\",\"type\":\"uint256\"}],\"name\":\"transferFrom\",\"outputs\":[{\"internalType\":\"bool\",\"name\":\"\",\"type\":\"bool\"}],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[{\"internalType\":\"address\",\"name\":\"account\",\"type\":\"address\"}],\"name\":\"unfreeze\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"},{\"inputs\":[],\"name\":\"unpause\",\"outputs\":[],\"stateMutability\":\"nonpayable\",\"type\":\"function\"}]",
	ID:  "QRC20RegulatedV1",
}

// QRC20RegulatedV1 is an auto generated Go binding around an Ethereum contract.
type QRC20RegulatedV1 struct {
	abi abi.ABI
}

// GetABI returns the ABI associated with this contract binding.
func (c *QRC20RegulatedV1) GetABI() abi.ABI {
	return c.abi
}

// NewQRC20RegulatedV1 creates a new instance of QRC20RegulatedV1.
func NewQRC20RegulatedV1() *QRC20RegulatedV1 {
	parsed, err := QRC20RegulatedV1MetaData.ParseABI()
	if err != nil {
		panic(errors.New("invalid ABI: " + err.Error()))
	}
	return &QRC20RegulatedV1{abi: *parsed}
}

// Instance creates a wrapper for a deployed contract instance at the given address.
// Use this to create the instance object passed to abigen v2 library functions Call, Transact, etc.
func (c *QRC20RegulatedV1) Instance(backend bind.ContractBackend, addr common.Address) *bind.BoundContract {
	return bind.NewBoundContract(addr, c.abi, backend, backend, backend)
}

// PackConstructor is the Go binding used to pack the parameters required for
// contract deployment.
//
// Solidity: constructor(string name_, string symbol_, uint8 decimals_, uint256 cap_, bool mintable_, bool burnable_, uint256 initialSupply, address admin) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackConstructor(name_ string, symbol_ string, decimals_ uint8, cap_ *big.Int, mintable_ bool, burnable_ bool, initialSupply *big.Int, admin common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("", name_, symbol_, decimals_, cap_, mintable_, burnable_, initialSupply, admin)
	if err != nil {
		panic(err)
	}
	return enc
}

// PackBURNERROLE is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x282c51f3.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function BURNER_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackBURNERROLE() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("BURNER_ROLE")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackBURNERROLE is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x282c51f3.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function BURNER_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackBURNERROLE() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("BURNER_ROLE")
}

// UnpackBURNERROLE is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x282c51f3.
//
// Solidity: function BURNER_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackBURNERROLE(data []byte) ([32]byte, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("BURNER_ROLE", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackCOMPLIANCEOPERATORROLE is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd16c91d2.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function COMPLIANCE_OPERATOR_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackCOMPLIANCEOPERATORROLE() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("COMPLIANCE_OPERATOR_ROLE")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackCOMPLIANCEOPERATORROLE is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd16c91d2.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function COMPLIANCE_OPERATOR_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackCOMPLIANCEOPERATORROLE() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("COMPLIANCE_OPERATOR_ROLE")
}

// UnpackCOMPLIANCEOPERATORROLE is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xd16c91d2.
//
// Solidity: function COMPLIANCE_OPERATOR_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackCOMPLIANCEOPERATORROLE(data []byte) ([32]byte, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("COMPLIANCE_OPERATOR_ROLE", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackDEFAULTADMINROLE is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xa217fddf.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function DEFAULT_ADMIN_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackDEFAULTADMINROLE() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("DEFAULT_ADMIN_ROLE")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackDEFAULTADMINROLE is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xa217fddf.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function DEFAULT_ADMIN_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackDEFAULTADMINROLE() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("DEFAULT_ADMIN_ROLE")
}

// UnpackDEFAULTADMINROLE is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xa217fddf.
//
// Solidity: function DEFAULT_ADMIN_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackDEFAULTADMINROLE(data []byte) ([32]byte, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("DEFAULT_ADMIN_ROLE", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackFREEZERROLE is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x06a85f0f.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function FREEZER_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackFREEZERROLE() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("FREEZER_ROLE")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackFREEZERROLE is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x06a85f0f.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function FREEZER_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackFREEZERROLE() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("FREEZER_ROLE")
}

// UnpackFREEZERROLE is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x06a85f0f.
//
// Solidity: function FREEZER_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackFREEZERROLE(data []byte) ([32]byte, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("FREEZER_ROLE", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackMINTERROLE is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd5391393.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function MINTER_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackMINTERROLE() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("MINTER_ROLE")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackMINTERROLE is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd5391393.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function MINTER_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackMINTERROLE() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("MINTER_ROLE")
}

// UnpackMINTERROLE is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xd5391393.
//
// Solidity: function MINTER_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackMINTERROLE(data []byte) ([32]byte, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("MINTER_ROLE", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackPAUSERROLE is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xe63ab1e9.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function PAUSER_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackPAUSERROLE() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("PAUSER_ROLE")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackPAUSERROLE is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xe63ab1e9.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function PAUSER_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackPAUSERROLE() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("PAUSER_ROLE")
}

// UnpackPAUSERROLE is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xe63ab1e9.
//
// Solidity: function PAUSER_ROLE() view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackPAUSERROLE(data []byte) ([32]byte, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("PAUSER_ROLE", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackAllow is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xff9913e8.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function allow(address account) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackAllow(account common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("allow", account)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackAllow is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xff9913e8.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function allow(address account) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackAllow(account common.Address) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("allow", account)
}

// PackAllowance is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xdd62ed3e.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function allowance(address owner, address spender) view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackAllowance(owner common.Address, spender common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("allowance", owner, spender)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackAllowance is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xdd62ed3e.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function allowance(address owner, address spender) view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackAllowance(owner common.Address, spender common.Address) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("allowance", owner, spender)
}

// UnpackAllowance is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xdd62ed3e.
//
// Solidity: function allowance(address owner, address spender) view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackAllowance(data []byte) (*big.Int, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("allowance", data)
	if err != nil {
		return new(big.Int), err
	}
	out0 := abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	return out0, nil
}

// PackAllowed is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd63a8e11.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function allowed(address account) view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackAllowed(account common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("allowed", account)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackAllowed is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd63a8e11.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function allowed(address account) view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackAllowed(account common.Address) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("allowed", account)
}

// UnpackAllowed is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xd63a8e11.
//
// Solidity: function allowed(address account) view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackAllowed(data []byte) (bool, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("allowed", data)
	if err != nil {
		return *new(bool), err
	}
	out0 := *abi.ConvertType(out[0], new(bool)).(*bool)
	return out0, nil
}

// PackApprove is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x095ea7b3.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function approve(address spender, uint256 value) returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackApprove(spender common.Address, value *big.Int) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("approve", spender, value)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackApprove is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x095ea7b3.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function approve(address spender, uint256 value) returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackApprove(spender common.Address, value *big.Int) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("approve", spender, value)
}

// UnpackApprove is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x095ea7b3.
//
// Solidity: function approve(address spender, uint256 value) returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackApprove(data []byte) (bool, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("approve", data)
	if err != nil {
		return *new(bool), err
	}
	out0 := *abi.ConvertType(out[0], new(bool)).(*bool)
	return out0, nil
}

// PackBalanceOf is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x70a08231.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function balanceOf(address account) view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackBalanceOf(account common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("balanceOf", account)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackBalanceOf is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x70a08231.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function balanceOf(address account) view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackBalanceOf(account common.Address) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("balanceOf", account)
}

// UnpackBalanceOf is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x70a08231.
//
// Solidity: function balanceOf(address account) view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackBalanceOf(data []byte) (*big.Int, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("balanceOf", data)
	if err != nil {
		return new(big.Int), err
	}
	out0 := abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	return out0, nil
}

// PackBurn is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x42966c68.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function burn(uint256 amount) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackBurn(amount *big.Int) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("burn", amount)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackBurn is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x42966c68.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function burn(uint256 amount) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackBurn(amount *big.Int) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("burn", amount)
}

// PackBurnFrom is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x79cc6790.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function burnFrom(address from, uint256 amount) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackBurnFrom(from common.Address, amount *big.Int) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("burnFrom", from, amount)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackBurnFrom is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x79cc6790.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function burnFrom(address from, uint256 amount) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackBurnFrom(from common.Address, amount *big.Int) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("burnFrom", from, amount)
}

// PackBurnable is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xa07c7ce4.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function burnable() view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackBurnable() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("burnable")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackBurnable is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xa07c7ce4.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function burnable() view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackBurnable() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("burnable")
}

// UnpackBurnable is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xa07c7ce4.
//
// Solidity: function burnable() view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackBurnable(data []byte) (bool, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("burnable", data)
	if err != nil {
		return *new(bool), err
	}
	out0 := *abi.ConvertType(out[0], new(bool)).(*bool)
	return out0, nil
}

// PackCap is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x355274ea.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function cap() view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackCap() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("cap")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackCap is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x355274ea.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function cap() view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackCap() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("cap")
}

// UnpackCap is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x355274ea.
//
// Solidity: function cap() view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackCap(data []byte) (*big.Int, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("cap", data)
	if err != nil {
		return new(big.Int), err
	}
	out0 := abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	return out0, nil
}

// PackDecimals is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x313ce567.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function decimals() view returns(uint8)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackDecimals() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("decimals")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackDecimals is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x313ce567.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function decimals() view returns(uint8)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackDecimals() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("decimals")
}

// UnpackDecimals is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x313ce567.
//
// Solidity: function decimals() view returns(uint8)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackDecimals(data []byte) (uint8, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("decimals", data)
	if err != nil {
		return *new(uint8), err
	}
	out0 := *abi.ConvertType(out[0], new(uint8)).(*uint8)
	return out0, nil
}

// PackDisallow is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xa9ed9cb8.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function disallow(address account) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackDisallow(account common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("disallow", account)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackDisallow is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xa9ed9cb8.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function disallow(address account) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackDisallow(account common.Address) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("disallow", account)
}

// PackFreeze is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x8d1fdf2f.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function freeze(address account) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackFreeze(account common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("freeze", account)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackFreeze is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x8d1fdf2f.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function freeze(address account) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackFreeze(account common.Address) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("freeze", account)
}

// PackFrozen is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd0516650.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function frozen(address account) view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackFrozen(account common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("frozen", account)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackFrozen is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd0516650.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function frozen(address account) view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackFrozen(account common.Address) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("frozen", account)
}

// UnpackFrozen is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xd0516650.
//
// Solidity: function frozen(address account) view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackFrozen(data []byte) (bool, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("frozen", data)
	if err != nil {
		return *new(bool), err
	}
	out0 := *abi.ConvertType(out[0], new(bool)).(*bool)
	return out0, nil
}

// PackGetRoleAdmin is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x248a9ca3.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function getRoleAdmin(bytes32 role) view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackGetRoleAdmin(role [32]byte) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("getRoleAdmin", role)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackGetRoleAdmin is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x248a9ca3.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function getRoleAdmin(bytes32 role) view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackGetRoleAdmin(role [32]byte) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("getRoleAdmin", role)
}

// UnpackGetRoleAdmin is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x248a9ca3.
//
// Solidity: function getRoleAdmin(bytes32 role) view returns(bytes32)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackGetRoleAdmin(data []byte) ([32]byte, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("getRoleAdmin", data)
	if err != nil {
		return *new([32]byte), err
	}
	out0 := *abi.ConvertType(out[0], new([32]byte)).(*[32]byte)
	return out0, nil
}

// PackGetRoleMember is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x9010d07c.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function getRoleMember(bytes32 role, uint256 index) view returns(address)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackGetRoleMember(role [32]byte, index *big.Int) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("getRoleMember", role, index)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackGetRoleMember is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x9010d07c.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function getRoleMember(bytes32 role, uint256 index) view returns(address)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackGetRoleMember(role [32]byte, index *big.Int) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("getRoleMember", role, index)
}

// UnpackGetRoleMember is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x9010d07c.
//
// Solidity: function getRoleMember(bytes32 role, uint256 index) view returns(address)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackGetRoleMember(data []byte) (common.Address, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("getRoleMember", data)
	if err != nil {
		return *new(common.Address), err
	}
	out0 := *abi.ConvertType(out[0], new(common.Address)).(*common.Address)
	return out0, nil
}

// PackGetRoleMemberCount is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xca15c873.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function getRoleMemberCount(bytes32 role) view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackGetRoleMemberCount(role [32]byte) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("getRoleMemberCount", role)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackGetRoleMemberCount is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xca15c873.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function getRoleMemberCount(bytes32 role) view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackGetRoleMemberCount(role [32]byte) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("getRoleMemberCount", role)
}

// UnpackGetRoleMemberCount is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xca15c873.
//
// Solidity: function getRoleMemberCount(bytes32 role) view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackGetRoleMemberCount(data []byte) (*big.Int, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("getRoleMemberCount", data)
	if err != nil {
		return new(big.Int), err
	}
	out0 := abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	return out0, nil
}

// PackGetRoleMembers is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xa3246ad3.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function getRoleMembers(bytes32 role) view returns(address[])
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackGetRoleMembers(role [32]byte) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("getRoleMembers", role)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackGetRoleMembers is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xa3246ad3.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function getRoleMembers(bytes32 role) view returns(address[])
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackGetRoleMembers(role [32]byte) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("getRoleMembers", role)
}

// UnpackGetRoleMembers is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xa3246ad3.
//
// Solidity: function getRoleMembers(bytes32 role) view returns(address[])
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackGetRoleMembers(data []byte) ([]common.Address, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("getRoleMembers", data)
	if err != nil {
		return *new([]common.Address), err
	}
	out0 := *abi.ConvertType(out[0], new([]common.Address)).(*[]common.Address)
	return out0, nil
}

// PackGrantRole is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x2f2ff15d.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function grantRole(bytes32 role, address account) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackGrantRole(role [32]byte, account common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("grantRole", role, account)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackGrantRole is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x2f2ff15d.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function grantRole(bytes32 role, address account) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackGrantRole(role [32]byte, account common.Address) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("grantRole", role, account)
}

// PackHasRole is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x91d14854.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function hasRole(bytes32 role, address account) view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackHasRole(role [32]byte, account common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("hasRole", role, account)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackHasRole is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x91d14854.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function hasRole(bytes32 role, address account) view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackHasRole(role [32]byte, account common.Address) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("hasRole", role, account)
}

// UnpackHasRole is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x91d14854.
//
// Solidity: function hasRole(bytes32 role, address account) view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackHasRole(data []byte) (bool, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("hasRole", data)
	if err != nil {
		return *new(bool), err
	}
	out0 := *abi.ConvertType(out[0], new(bool)).(*bool)
	return out0, nil
}

// PackMint is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x40c10f19.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function mint(address to, uint256 amount) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackMint(to common.Address, amount *big.Int) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("mint", to, amount)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackMint is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x40c10f19.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function mint(address to, uint256 amount) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackMint(to common.Address, amount *big.Int) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("mint", to, amount)
}

// PackMintable is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x4bf365df.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function mintable() view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackMintable() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("mintable")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackMintable is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x4bf365df.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function mintable() view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackMintable() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("mintable")
}

// UnpackMintable is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x4bf365df.
//
// Solidity: function mintable() view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackMintable(data []byte) (bool, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("mintable", data)
	if err != nil {
		return *new(bool), err
	}
	out0 := *abi.ConvertType(out[0], new(bool)).(*bool)
	return out0, nil
}

// PackName is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x06fdde03.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function name() view returns(string)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackName() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("name")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackName is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x06fdde03.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function name() view returns(string)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackName() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("name")
}

// UnpackName is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x06fdde03.
//
// Solidity: function name() view returns(string)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackName(data []byte) (string, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("name", data)
	if err != nil {
		return *new(string), err
	}
	out0 := *abi.ConvertType(out[0], new(string)).(*string)
	return out0, nil
}

// PackPause is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x8456cb59.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function pause() returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackPause() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("pause")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackPause is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x8456cb59.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function pause() returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackPause() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("pause")
}

// PackPaused is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x5c975abb.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function paused() view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackPaused() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("paused")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackPaused is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x5c975abb.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function paused() view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackPaused() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("paused")
}

// UnpackPaused is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x5c975abb.
//
// Solidity: function paused() view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackPaused(data []byte) (bool, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("paused", data)
	if err != nil {
		return *new(bool), err
	}
	out0 := *abi.ConvertType(out[0], new(bool)).(*bool)
	return out0, nil
}

// PackRenounceRole is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x36568abe.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function renounceRole(bytes32 role, address callerConfirmation) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackRenounceRole(role [32]byte, callerConfirmation common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("renounceRole", role, callerConfirmation)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRenounceRole is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x36568abe.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function renounceRole(bytes32 role, address callerConfirmation) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackRenounceRole(role [32]byte, callerConfirmation common.Address) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("renounceRole", role, callerConfirmation)
}

// PackRevokeRole is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd547741f.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function revokeRole(bytes32 role, address account) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackRevokeRole(role [32]byte, account common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("revokeRole", role, account)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackRevokeRole is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xd547741f.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function revokeRole(bytes32 role, address account) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackRevokeRole(role [32]byte, account common.Address) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("revokeRole", role, account)
}

// PackSupportsInterface is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x01ffc9a7.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function supportsInterface(bytes4 interfaceId) view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackSupportsInterface(interfaceId [4]byte) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("supportsInterface", interfaceId)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackSupportsInterface is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x01ffc9a7.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function supportsInterface(bytes4 interfaceId) view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackSupportsInterface(interfaceId [4]byte) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("supportsInterface", interfaceId)
}

// UnpackSupportsInterface is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x01ffc9a7.
//
// Solidity: function supportsInterface(bytes4 interfaceId) view returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackSupportsInterface(data []byte) (bool, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("supportsInterface", data)
	if err != nil {
		return *new(bool), err
	}
	out0 := *abi.ConvertType(out[0], new(bool)).(*bool)
	return out0, nil
}

// PackSymbol is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x95d89b41.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function symbol() view returns(string)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackSymbol() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("symbol")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackSymbol is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x95d89b41.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function symbol() view returns(string)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackSymbol() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("symbol")
}

// UnpackSymbol is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x95d89b41.
//
// Solidity: function symbol() view returns(string)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackSymbol(data []byte) (string, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("symbol", data)
	if err != nil {
		return *new(string), err
	}
	out0 := *abi.ConvertType(out[0], new(string)).(*string)
	return out0, nil
}

// PackTotalSupply is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x18160ddd.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function totalSupply() view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackTotalSupply() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("totalSupply")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackTotalSupply is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x18160ddd.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function totalSupply() view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackTotalSupply() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("totalSupply")
}

// UnpackTotalSupply is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x18160ddd.
//
// Solidity: function totalSupply() view returns(uint256)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackTotalSupply(data []byte) (*big.Int, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("totalSupply", data)
	if err != nil {
		return new(big.Int), err
	}
	out0 := abi.ConvertType(out[0], new(big.Int)).(*big.Int)
	return out0, nil
}

// PackTransfer is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xa9059cbb.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function transfer(address to, uint256 value) returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackTransfer(to common.Address, value *big.Int) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("transfer", to, value)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackTransfer is the Go binding used to pack the parameters required for calling
// the contract method with ID 0xa9059cbb.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function transfer(address to, uint256 value) returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackTransfer(to common.Address, value *big.Int) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("transfer", to, value)
}

// UnpackTransfer is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0xa9059cbb.
//
// Solidity: function transfer(address to, uint256 value) returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackTransfer(data []byte) (bool, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("transfer", data)
	if err != nil {
		return *new(bool), err
	}
	out0 := *abi.ConvertType(out[0], new(bool)).(*bool)
	return out0, nil
}

// PackTransferFrom is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x23b872dd.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function transferFrom(address from, address to, uint256 value) returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackTransferFrom(from common.Address, to common.Address, value *big.Int) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("transferFrom", from, to, value)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackTransferFrom is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x23b872dd.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function transferFrom(address from, address to, uint256 value) returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackTransferFrom(from common.Address, to common.Address, value *big.Int) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("transferFrom", from, to, value)
}

// UnpackTransferFrom is the Go binding that unpacks the parameters returned
// from invoking the contract method with ID 0x23b872dd.
//
// Solidity: function transferFrom(address from, address to, uint256 value) returns(bool)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackTransferFrom(data []byte) (bool, error) {
	out, err := qRC20RegulatedV1.abi.Unpack("transferFrom", data)
	if err != nil {
		return *new(bool), err
	}
	out0 := *abi.ConvertType(out[0], new(bool)).(*bool)
	return out0, nil
}

// PackUnfreeze is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x45c8b1a6.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function unfreeze(address account) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackUnfreeze(account common.Address) []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("unfreeze", account)
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackUnfreeze is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x45c8b1a6.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function unfreeze(address account) returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackUnfreeze(account common.Address) ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("unfreeze", account)
}

// PackUnpause is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x3f4ba83a.  This method will panic if any
// invalid/nil inputs are passed.
//
// Solidity: function unpause() returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) PackUnpause() []byte {
	enc, err := qRC20RegulatedV1.abi.Pack("unpause")
	if err != nil {
		panic(err)
	}
	return enc
}

// TryPackUnpause is the Go binding used to pack the parameters required for calling
// the contract method with ID 0x3f4ba83a.  This method will return an error
// if any inputs are invalid/nil.
//
// Solidity: function unpause() returns()
func (qRC20RegulatedV1 *QRC20RegulatedV1) TryPackUnpause() ([]byte, error) {
	return qRC20RegulatedV1.abi.Pack("unpause")
}

// QRC20RegulatedV1Allowed represents a Allowed event raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1Allowed struct {
	Account  common.Address
	Operator common.Address
	Raw      *types.Log // Blockchain specific contextual infos
}

const QRC20RegulatedV1AllowedEventName = "Allowed"

// ContractEventName returns the user-defined event name.
func (QRC20RegulatedV1Allowed) ContractEventName() string {
	return QRC20RegulatedV1AllowedEventName
}

// UnpackAllowedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Allowed(address indexed account, address indexed operator)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackAllowedEvent(log *types.Log) (*QRC20RegulatedV1Allowed, error) {
	event := "Allowed"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != qRC20RegulatedV1.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(QRC20RegulatedV1Allowed)
	if len(log.Data) > 0 {
		if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range qRC20RegulatedV1.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// QRC20RegulatedV1Approval represents a Approval event raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1Approval struct {
	Owner   common.Address
	Spender common.Address
	Value   *big.Int
	Raw     *types.Log // Blockchain specific contextual infos
}

const QRC20RegulatedV1ApprovalEventName = "Approval"

// ContractEventName returns the user-defined event name.
func (QRC20RegulatedV1Approval) ContractEventName() string {
	return QRC20RegulatedV1ApprovalEventName
}

// UnpackApprovalEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Approval(address indexed owner, address indexed spender, uint256 value)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackApprovalEvent(log *types.Log) (*QRC20RegulatedV1Approval, error) {
	event := "Approval"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != qRC20RegulatedV1.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(QRC20RegulatedV1Approval)
	if len(log.Data) > 0 {
		if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range qRC20RegulatedV1.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// QRC20RegulatedV1Disallowed represents a Disallowed event raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1Disallowed struct {
	Account  common.Address
	Operator common.Address
	Raw      *types.Log // Blockchain specific contextual infos
}

const QRC20RegulatedV1DisallowedEventName = "Disallowed"

// ContractEventName returns the user-defined event name.
func (QRC20RegulatedV1Disallowed) ContractEventName() string {
	return QRC20RegulatedV1DisallowedEventName
}

// UnpackDisallowedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Disallowed(address indexed account, address indexed operator)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackDisallowedEvent(log *types.Log) (*QRC20RegulatedV1Disallowed, error) {
	event := "Disallowed"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != qRC20RegulatedV1.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(QRC20RegulatedV1Disallowed)
	if len(log.Data) > 0 {
		if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range qRC20RegulatedV1.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// QRC20RegulatedV1Frozen represents a Frozen event raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1Frozen struct {
	Account  common.Address
	Operator common.Address
	Raw      *types.Log // Blockchain specific contextual infos
}

const QRC20RegulatedV1FrozenEventName = "Frozen"

// ContractEventName returns the user-defined event name.
func (QRC20RegulatedV1Frozen) ContractEventName() string {
	return QRC20RegulatedV1FrozenEventName
}

// UnpackFrozenEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Frozen(address indexed account, address indexed operator)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackFrozenEvent(log *types.Log) (*QRC20RegulatedV1Frozen, error) {
	event := "Frozen"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != qRC20RegulatedV1.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(QRC20RegulatedV1Frozen)
	if len(log.Data) > 0 {
		if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range qRC20RegulatedV1.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// QRC20RegulatedV1Paused represents a Paused event raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1Paused struct {
	Account common.Address
	Raw     *types.Log // Blockchain specific contextual infos
}

const QRC20RegulatedV1PausedEventName = "Paused"

// ContractEventName returns the user-defined event name.
func (QRC20RegulatedV1Paused) ContractEventName() string {
	return QRC20RegulatedV1PausedEventName
}

// UnpackPausedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Paused(address account)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackPausedEvent(log *types.Log) (*QRC20RegulatedV1Paused, error) {
	event := "Paused"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != qRC20RegulatedV1.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(QRC20RegulatedV1Paused)
	if len(log.Data) > 0 {
		if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range qRC20RegulatedV1.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// QRC20RegulatedV1RoleAdminChanged represents a RoleAdminChanged event raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1RoleAdminChanged struct {
	Role              [32]byte
	PreviousAdminRole [32]byte
	NewAdminRole      [32]byte
	Raw               *types.Log // Blockchain specific contextual infos
}

const QRC20RegulatedV1RoleAdminChangedEventName = "RoleAdminChanged"

// ContractEventName returns the user-defined event name.
func (QRC20RegulatedV1RoleAdminChanged) ContractEventName() string {
	return QRC20RegulatedV1RoleAdminChangedEventName
}

// UnpackRoleAdminChangedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event RoleAdminChanged(bytes32 indexed role, bytes32 indexed previousAdminRole, bytes32 indexed newAdminRole)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackRoleAdminChangedEvent(log *types.Log) (*QRC20RegulatedV1RoleAdminChanged, error) {
	event := "RoleAdminChanged"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != qRC20RegulatedV1.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(QRC20RegulatedV1RoleAdminChanged)
	if len(log.Data) > 0 {
		if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range qRC20RegulatedV1.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// QRC20RegulatedV1RoleGranted represents a RoleGranted event raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1RoleGranted struct {
	Role    [32]byte
	Account common.Address
	Sender  common.Address
	Raw     *types.Log // Blockchain specific contextual infos
}

const QRC20RegulatedV1RoleGrantedEventName = "RoleGranted"

// ContractEventName returns the user-defined event name.
func (QRC20RegulatedV1RoleGranted) ContractEventName() string {
	return QRC20RegulatedV1RoleGrantedEventName
}

// UnpackRoleGrantedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event RoleGranted(bytes32 indexed role, address indexed account, address indexed sender)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackRoleGrantedEvent(log *types.Log) (*QRC20RegulatedV1RoleGranted, error) {
	event := "RoleGranted"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != qRC20RegulatedV1.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(QRC20RegulatedV1RoleGranted)
	if len(log.Data) > 0 {
		if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range qRC20RegulatedV1.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// QRC20RegulatedV1RoleRevoked represents a RoleRevoked event raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1RoleRevoked struct {
	Role    [32]byte
	Account common.Address
	Sender  common.Address
	Raw     *types.Log // Blockchain specific contextual infos
}

const QRC20RegulatedV1RoleRevokedEventName = "RoleRevoked"

// ContractEventName returns the user-defined event name.
func (QRC20RegulatedV1RoleRevoked) ContractEventName() string {
	return QRC20RegulatedV1RoleRevokedEventName
}

// UnpackRoleRevokedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event RoleRevoked(bytes32 indexed role, address indexed account, address indexed sender)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackRoleRevokedEvent(log *types.Log) (*QRC20RegulatedV1RoleRevoked, error) {
	event := "RoleRevoked"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != qRC20RegulatedV1.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(QRC20RegulatedV1RoleRevoked)
	if len(log.Data) > 0 {
		if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range qRC20RegulatedV1.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// QRC20RegulatedV1Transfer represents a Transfer event raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1Transfer struct {
	From  common.Address
	To    common.Address
	Value *big.Int
	Raw   *types.Log // Blockchain specific contextual infos
}

const QRC20RegulatedV1TransferEventName = "Transfer"

// ContractEventName returns the user-defined event name.
func (QRC20RegulatedV1Transfer) ContractEventName() string {
	return QRC20RegulatedV1TransferEventName
}

// UnpackTransferEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Transfer(address indexed from, address indexed to, uint256 value)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackTransferEvent(log *types.Log) (*QRC20RegulatedV1Transfer, error) {
	event := "Transfer"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != qRC20RegulatedV1.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(QRC20RegulatedV1Transfer)
	if len(log.Data) > 0 {
		if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range qRC20RegulatedV1.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// QRC20RegulatedV1Unfrozen represents a Unfrozen event raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1Unfrozen struct {
	Account  common.Address
	Operator common.Address
	Raw      *types.Log // Blockchain specific contextual infos
}

const QRC20RegulatedV1UnfrozenEventName = "Unfrozen"

// ContractEventName returns the user-defined event name.
func (QRC20RegulatedV1Unfrozen) ContractEventName() string {
	return QRC20RegulatedV1UnfrozenEventName
}

// UnpackUnfrozenEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Unfrozen(address indexed account, address indexed operator)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackUnfrozenEvent(log *types.Log) (*QRC20RegulatedV1Unfrozen, error) {
	event := "Unfrozen"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != qRC20RegulatedV1.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(QRC20RegulatedV1Unfrozen)
	if len(log.Data) > 0 {
		if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range qRC20RegulatedV1.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// QRC20RegulatedV1Unpaused represents a Unpaused event raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1Unpaused struct {
	Account common.Address
	Raw     *types.Log // Blockchain specific contextual infos
}

const QRC20RegulatedV1UnpausedEventName = "Unpaused"

// ContractEventName returns the user-defined event name.
func (QRC20RegulatedV1Unpaused) ContractEventName() string {
	return QRC20RegulatedV1UnpausedEventName
}

// UnpackUnpausedEvent is the Go binding that unpacks the event data emitted
// by contract.
//
// Solidity: event Unpaused(address account)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackUnpausedEvent(log *types.Log) (*QRC20RegulatedV1Unpaused, error) {
	event := "Unpaused"
	if len(log.Topics) == 0 {
		return nil, bind.ErrNoEventSignature
	}
	if log.Topics[0] != qRC20RegulatedV1.abi.Events[event].ID {
		return nil, bind.ErrEventSignatureMismatch
	}
	out := new(QRC20RegulatedV1Unpaused)
	if len(log.Data) > 0 {
		if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, event, log.Data); err != nil {
			return nil, err
		}
	}
	var indexed abi.Arguments
	for _, arg := range qRC20RegulatedV1.abi.Events[event].Inputs {
		if arg.Indexed {
			indexed = append(indexed, arg)
		}
	}
	if err := abi.ParseTopics(out, indexed, log.Topics[1:]); err != nil {
		return nil, err
	}
	out.Raw = log
	return out, nil
}

// UnpackError attempts to decode the provided error data using user-defined
// error definitions.
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackError(raw []byte) (any, error) {
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["AccessControlBadConfirmation"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackAccessControlBadConfirmationError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["AccessControlUnauthorizedAccount"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackAccessControlUnauthorizedAccountError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["ERC20ExceededCap"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackERC20ExceededCapError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["ERC20InsufficientAllowance"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackERC20InsufficientAllowanceError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["ERC20InsufficientBalance"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackERC20InsufficientBalanceError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["ERC20InvalidApprover"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackERC20InvalidApproverError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["ERC20InvalidCap"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackERC20InvalidCapError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["ERC20InvalidReceiver"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackERC20InvalidReceiverError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["ERC20InvalidSender"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackERC20InvalidSenderError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["ERC20InvalidSpender"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackERC20InvalidSpenderError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["EnforcedPause"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackEnforcedPauseError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["ExpectedPause"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackExpectedPauseError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["QRC20AccountFrozen"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackQRC20AccountFrozenError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["QRC20AccountNotAllowed"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackQRC20AccountNotAllowedError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["QRC20InvalidAdmin"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackQRC20InvalidAdminError(raw[4:])
	}
	if bytes.Equal(raw[:4], qRC20RegulatedV1.abi.Errors["QRC20RoleNotAvailable"].ID.Bytes()[:4]) {
		return qRC20RegulatedV1.UnpackQRC20RoleNotAvailableError(raw[4:])
	}
	return nil, errors.New("Unknown error")
}

// QRC20RegulatedV1AccessControlBadConfirmation represents a AccessControlBadConfirmation error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1AccessControlBadConfirmation struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error AccessControlBadConfirmation()
func QRC20RegulatedV1AccessControlBadConfirmationErrorID() common.Hash {
	return common.HexToHash("0x6697b23232a647058342c0724fe7c415cab25915b54e5dbc03f233173d37b41c")
}

// UnpackAccessControlBadConfirmationError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error AccessControlBadConfirmation()
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackAccessControlBadConfirmationError(raw []byte) (*QRC20RegulatedV1AccessControlBadConfirmation, error) {
	out := new(QRC20RegulatedV1AccessControlBadConfirmation)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "AccessControlBadConfirmation", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1AccessControlUnauthorizedAccount represents a AccessControlUnauthorizedAccount error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1AccessControlUnauthorizedAccount struct {
	Account    common.Address
	NeededRole [32]byte
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error AccessControlUnauthorizedAccount(address account, bytes32 neededRole)
func QRC20RegulatedV1AccessControlUnauthorizedAccountErrorID() common.Hash {
	return common.HexToHash("0xe2517d3fbfae6f8515ef5ff1ccedc3933ab0cbbda0b492c06eb54ad10ef03b3e")
}

// UnpackAccessControlUnauthorizedAccountError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error AccessControlUnauthorizedAccount(address account, bytes32 neededRole)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackAccessControlUnauthorizedAccountError(raw []byte) (*QRC20RegulatedV1AccessControlUnauthorizedAccount, error) {
	out := new(QRC20RegulatedV1AccessControlUnauthorizedAccount)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "AccessControlUnauthorizedAccount", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1ERC20ExceededCap represents a ERC20ExceededCap error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1ERC20ExceededCap struct {
	IncreasedSupply *big.Int
	Cap             *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ERC20ExceededCap(uint256 increasedSupply, uint256 cap)
func QRC20RegulatedV1ERC20ExceededCapErrorID() common.Hash {
	return common.HexToHash("0x9e79f854e7e443a7e81774a004f97452fde67fc40f1ae7a0ecb8c360c4f564ac")
}

// UnpackERC20ExceededCapError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ERC20ExceededCap(uint256 increasedSupply, uint256 cap)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackERC20ExceededCapError(raw []byte) (*QRC20RegulatedV1ERC20ExceededCap, error) {
	out := new(QRC20RegulatedV1ERC20ExceededCap)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "ERC20ExceededCap", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1ERC20InsufficientAllowance represents a ERC20InsufficientAllowance error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1ERC20InsufficientAllowance struct {
	Spender   common.Address
	Allowance *big.Int
	Needed    *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed)
func QRC20RegulatedV1ERC20InsufficientAllowanceErrorID() common.Hash {
	return common.HexToHash("0xfb8f41b23e99d2101d86da76cdfa87dd51c82ed07d3cb62cbc473e469dbc75c3")
}

// UnpackERC20InsufficientAllowanceError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackERC20InsufficientAllowanceError(raw []byte) (*QRC20RegulatedV1ERC20InsufficientAllowance, error) {
	out := new(QRC20RegulatedV1ERC20InsufficientAllowance)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "ERC20InsufficientAllowance", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1ERC20InsufficientBalance represents a ERC20InsufficientBalance error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1ERC20InsufficientBalance struct {
	Sender  common.Address
	Balance *big.Int
	Needed  *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed)
func QRC20RegulatedV1ERC20InsufficientBalanceErrorID() common.Hash {
	return common.HexToHash("0xe450d38cd8d9f7d95077d567d60ed49c7254716e6ad08fc9872816c97e0ffec6")
}

// UnpackERC20InsufficientBalanceError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackERC20InsufficientBalanceError(raw []byte) (*QRC20RegulatedV1ERC20InsufficientBalance, error) {
	out := new(QRC20RegulatedV1ERC20InsufficientBalance)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "ERC20InsufficientBalance", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1ERC20InvalidApprover represents a ERC20InvalidApprover error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1ERC20InvalidApprover struct {
	Approver common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ERC20InvalidApprover(address approver)
func QRC20RegulatedV1ERC20InvalidApproverErrorID() common.Hash {
	return common.HexToHash("0xe602df05cc75712490294c6c104ab7c17f4030363910a7a2626411c6d3118847")
}

// UnpackERC20InvalidApproverError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ERC20InvalidApprover(address approver)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackERC20InvalidApproverError(raw []byte) (*QRC20RegulatedV1ERC20InvalidApprover, error) {
	out := new(QRC20RegulatedV1ERC20InvalidApprover)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "ERC20InvalidApprover", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1ERC20InvalidCap represents a ERC20InvalidCap error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1ERC20InvalidCap struct {
	Cap *big.Int
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ERC20InvalidCap(uint256 cap)
func QRC20RegulatedV1ERC20InvalidCapErrorID() common.Hash {
	return common.HexToHash("0x392e1e27cbe1cbe0653ae0435ec8f503f6a25b76c3c7164a5cacb005b0b68677")
}

// UnpackERC20InvalidCapError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ERC20InvalidCap(uint256 cap)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackERC20InvalidCapError(raw []byte) (*QRC20RegulatedV1ERC20InvalidCap, error) {
	out := new(QRC20RegulatedV1ERC20InvalidCap)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "ERC20InvalidCap", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1ERC20InvalidReceiver represents a ERC20InvalidReceiver error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1ERC20InvalidReceiver struct {
	Receiver common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ERC20InvalidReceiver(address receiver)
func QRC20RegulatedV1ERC20InvalidReceiverErrorID() common.Hash {
	return common.HexToHash("0xec442f055133b72f3b2f9f0bb351c406b178527de2040a7d1feb4e058771f613")
}

// UnpackERC20InvalidReceiverError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ERC20InvalidReceiver(address receiver)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackERC20InvalidReceiverError(raw []byte) (*QRC20RegulatedV1ERC20InvalidReceiver, error) {
	out := new(QRC20RegulatedV1ERC20InvalidReceiver)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "ERC20InvalidReceiver", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1ERC20InvalidSender represents a ERC20InvalidSender error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1ERC20InvalidSender struct {
	Sender common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ERC20InvalidSender(address sender)
func QRC20RegulatedV1ERC20InvalidSenderErrorID() common.Hash {
	return common.HexToHash("0x96c6fd1edd0cd6ef7ff0ecc0facdf53148dc0048b57fe58af65755250a7a96bd")
}

// UnpackERC20InvalidSenderError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ERC20InvalidSender(address sender)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackERC20InvalidSenderError(raw []byte) (*QRC20RegulatedV1ERC20InvalidSender, error) {
	out := new(QRC20RegulatedV1ERC20InvalidSender)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "ERC20InvalidSender", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1ERC20InvalidSpender represents a ERC20InvalidSpender error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1ERC20InvalidSpender struct {
	Spender common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ERC20InvalidSpender(address spender)
func QRC20RegulatedV1ERC20InvalidSpenderErrorID() common.Hash {
	return common.HexToHash("0x94280d62c347d8d9f4d59a76ea321452406db88df38e0c9da304f58b57b373a2")
}

// UnpackERC20InvalidSpenderError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ERC20InvalidSpender(address spender)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackERC20InvalidSpenderError(raw []byte) (*QRC20RegulatedV1ERC20InvalidSpender, error) {
	out := new(QRC20RegulatedV1ERC20InvalidSpender)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "ERC20InvalidSpender", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1EnforcedPause represents a EnforcedPause error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1EnforcedPause struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error EnforcedPause()
func QRC20RegulatedV1EnforcedPauseErrorID() common.Hash {
	return common.HexToHash("0xd93c0665d6c96d04a8f174024fc4ddd66c250604aff22bbec808de86dd3637e3")
}

// UnpackEnforcedPauseError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error EnforcedPause()
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackEnforcedPauseError(raw []byte) (*QRC20RegulatedV1EnforcedPause, error) {
	out := new(QRC20RegulatedV1EnforcedPause)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "EnforcedPause", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1ExpectedPause represents a ExpectedPause error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1ExpectedPause struct {
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error ExpectedPause()
func QRC20RegulatedV1ExpectedPauseErrorID() common.Hash {
	return common.HexToHash("0x8dfc202bcfe9a735b559bee70674422512bc5c30f687046ae8778315fb81da44")
}

// UnpackExpectedPauseError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error ExpectedPause()
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackExpectedPauseError(raw []byte) (*QRC20RegulatedV1ExpectedPause, error) {
	out := new(QRC20RegulatedV1ExpectedPause)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "ExpectedPause", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1QRC20AccountFrozen represents a QRC20AccountFrozen error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1QRC20AccountFrozen struct {
	Account common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error QRC20AccountFrozen(address account)
func QRC20RegulatedV1QRC20AccountFrozenErrorID() common.Hash {
	return common.HexToHash("0x18ecfa2665172d5e630cdd9a035923bc3c45d250fd38202c731a0c78a2f5cc6f")
}

// UnpackQRC20AccountFrozenError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error QRC20AccountFrozen(address account)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackQRC20AccountFrozenError(raw []byte) (*QRC20RegulatedV1QRC20AccountFrozen, error) {
	out := new(QRC20RegulatedV1QRC20AccountFrozen)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "QRC20AccountFrozen", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1QRC20AccountNotAllowed represents a QRC20AccountNotAllowed error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1QRC20AccountNotAllowed struct {
	Account common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error QRC20AccountNotAllowed(address account)
func QRC20RegulatedV1QRC20AccountNotAllowedErrorID() common.Hash {
	return common.HexToHash("0xc45d277825ce1d5382f36678afa292031dc4469af38ec0bfc29dc28e86d23b93")
}

// UnpackQRC20AccountNotAllowedError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error QRC20AccountNotAllowed(address account)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackQRC20AccountNotAllowedError(raw []byte) (*QRC20RegulatedV1QRC20AccountNotAllowed, error) {
	out := new(QRC20RegulatedV1QRC20AccountNotAllowed)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "QRC20AccountNotAllowed", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1QRC20InvalidAdmin represents a QRC20InvalidAdmin error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1QRC20InvalidAdmin struct {
	Admin common.Address
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error QRC20InvalidAdmin(address admin)
func QRC20RegulatedV1QRC20InvalidAdminErrorID() common.Hash {
	return common.HexToHash("0xdb6cdca896c326cfe51dd97beef4f37684e6eab9f2f40703bc245413f4db180b")
}

// UnpackQRC20InvalidAdminError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error QRC20InvalidAdmin(address admin)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackQRC20InvalidAdminError(raw []byte) (*QRC20RegulatedV1QRC20InvalidAdmin, error) {
	out := new(QRC20RegulatedV1QRC20InvalidAdmin)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "QRC20InvalidAdmin", raw); err != nil {
		return nil, err
	}
	return out, nil
}

// QRC20RegulatedV1QRC20RoleNotAvailable represents a QRC20RoleNotAvailable error raised by the QRC20RegulatedV1 contract.
type QRC20RegulatedV1QRC20RoleNotAvailable struct {
	Role [32]byte
}

// ErrorID returns the hash of canonical representation of the error's signature.
//
// Solidity: error QRC20RoleNotAvailable(bytes32 role)
func QRC20RegulatedV1QRC20RoleNotAvailableErrorID() common.Hash {
	return common.HexToHash("0x1f4f4fd48e189f05735458c6d5d8a7afb5a2e97014d09e2497a5f0e7312d641b")
}

// UnpackQRC20RoleNotAvailableError is the Go binding used to decode the provided
// error data into the corresponding Go error struct.
//
// Solidity: error QRC20RoleNotAvailable(bytes32 role)
func (qRC20RegulatedV1 *QRC20RegulatedV1) UnpackQRC20RoleNotAvailableError(raw []byte) (*QRC20RegulatedV1QRC20RoleNotAvailable, error) {
	out := new(QRC20RegulatedV1QRC20RoleNotAvailable)
	if err := qRC20RegulatedV1.abi.UnpackIntoInterface(out, "QRC20RoleNotAvailable", raw); err != nil {
		return nil, err
	}
	return out, nil
}
