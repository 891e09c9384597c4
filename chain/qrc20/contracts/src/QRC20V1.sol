// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {AccessControlEnumerable} from "@openzeppelin/contracts/access/extensions/AccessControlEnumerable.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Pausable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Pausable.sol";

/// @title Template tpl_qrc20_v1
/// @notice A fungible token whose supply is changed by MINTER and BURNER alone, never above its cap,
/// stopped and started by PAUSER, with roles given and taken by ADMIN (DEFAULT_ADMIN_ROLE).
/// @dev Supply policy, cap and decimals are immutables: they stand in the runtime code, so that
/// anyone can read off a deployed contract what it was promised to be.
contract QRC20V1 is ERC20Capped, ERC20Burnable, ERC20Pausable, AccessControlEnumerable {
    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");
    bytes32 public constant BURNER_ROLE = keccak256("BURNER_ROLE");
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");

    /// @notice Whether anyone can ever hold MINTER_ROLE.
    bool public immutable mintable;
    /// @notice Whether anyone can ever hold BURNER_ROLE.
    bool public immutable burnable;
    uint8 private immutable _decimals;

    /// @notice The admin of a token may not be the zero address: nobody could ever administer it.
    error QRC20InvalidAdmin(address admin);
    /// @notice The token's supply policy has no holder of this role, now or later.
    error QRC20RoleNotAvailable(bytes32 role);

    /// @param cap_ highest total supply in base units; 2^256 - 1 where there is none, never 0
    /// @param admin holder of every role that the supply policy has, and of the initial supply
    constructor(
        string memory name_,
        string memory symbol_,
        uint8 decimals_,
        uint256 cap_,
        bool mintable_,
        bool burnable_,
        uint256 initialSupply,
        address admin
    ) ERC20(name_, symbol_) ERC20Capped(cap_) {
        if (admin == address(0)) revert QRC20InvalidAdmin(admin);
        _decimals = decimals_;
        mintable = mintable_;
        burnable = burnable_;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(PAUSER_ROLE, admin);
        if (mintable_) _grantRole(MINTER_ROLE, admin);
        if (burnable_) _grantRole(BURNER_ROLE, admin);
        if (initialSupply > 0) _mint(admin, initialSupply);
    }

    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    function mint(address to, uint256 amount) external onlyRole(MINTER_ROLE) {
        _mint(to, amount);
    }

    function burn(uint256 amount) public override onlyRole(BURNER_ROLE) {
        super.burn(amount);
    }

    /// @notice Burns of `from`, which must have given the caller that allowance.
    function burnFrom(address from, uint256 amount) public override onlyRole(BURNER_ROLE) {
        super.burnFrom(from, amount);
    }

    function pause() external onlyRole(PAUSER_ROLE) {
        _pause();
    }

    function unpause() external onlyRole(PAUSER_ROLE) {
        _unpause();
    }

    function _update(address from, address to, uint256 value)
        internal
        virtual
        override(ERC20, ERC20Capped, ERC20Pausable)
    {
        super._update(from, to, value);
    }

    function _grantRole(bytes32 role, address account) internal virtual override returns (bool) {
        if ((role == MINTER_ROLE && !mintable) || (role == BURNER_ROLE && !burnable)) {
            revert QRC20RoleNotAvailable(role);
        }
        return super._grantRole(role, account);
    }
}
