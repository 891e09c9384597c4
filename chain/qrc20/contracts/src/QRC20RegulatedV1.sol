// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {QRC20V1} from "./QRC20V1.sol";

/// @title Template tpl_qrc20_regulated_v1
/// @notice A QRC20V1 that moves between accounts on its allowlist only, and neither out of, nor into,
/// nor by the hand of a frozen one. COMPLIANCE_OPERATOR keeps the allowlist, FREEZER freezes.
/// @dev Both are looked at where every balance changes (_update), so that no way of moving tokens can
/// be forgotten. Lists may change while the token is paused. Setting what is already set is no error:
/// a freeze must not fail because somebody was quicker.
contract QRC20RegulatedV1 is QRC20V1 {
    bytes32 public constant FREEZER_ROLE = keccak256("FREEZER_ROLE");
    bytes32 public constant COMPLIANCE_OPERATOR_ROLE = keccak256("COMPLIANCE_OPERATOR_ROLE");

    /// @dev One storage word, so that a transfer reads one for each of its parties.
    struct Standing {
        bool allowed;
        bool frozen;
    }

    mapping(address account => Standing) private _standing;

    event Frozen(address indexed account, address indexed operator);
    event Unfrozen(address indexed account, address indexed operator);
    event Allowed(address indexed account, address indexed operator);
    event Disallowed(address indexed account, address indexed operator);

    error QRC20AccountFrozen(address account);
    error QRC20AccountNotAllowed(address account);

    /// @param cap_ highest total supply in base units; 2^256 - 1 where there is none, never 0
    /// @param admin holder of every role that the supply policy has, and of the initial supply; the
    /// first account on the allowlist
    constructor(
        string memory name_,
        string memory symbol_,
        uint8 decimals_,
        uint256 cap_,
        bool mintable_,
        bool burnable_,
        uint256 initialSupply,
        address admin
    ) QRC20V1(name_, symbol_, decimals_, cap_, mintable_, burnable_, 0, admin) {
        _grantRole(FREEZER_ROLE, admin);
        _grantRole(COMPLIANCE_OPERATOR_ROLE, admin);
        _standing[admin].allowed = true;
        emit Allowed(admin, _msgSender());
        if (initialSupply > 0) _mint(admin, initialSupply);
    }

    /// @notice Whether the account is frozen.
    function frozen(address account) public view returns (bool) {
        return _standing[account].frozen;
    }

    /// @notice Whether the account is on the allowlist.
    function allowed(address account) public view returns (bool) {
        return _standing[account].allowed;
    }

    function freeze(address account) external onlyRole(FREEZER_ROLE) {
        _standing[account].frozen = true;
        emit Frozen(account, _msgSender());
    }

    function unfreeze(address account) external onlyRole(FREEZER_ROLE) {
        _standing[account].frozen = false;
        emit Unfrozen(account, _msgSender());
    }

    function allow(address account) external onlyRole(COMPLIANCE_OPERATOR_ROLE) {
        _standing[account].allowed = true;
        emit Allowed(account, _msgSender());
    }

    /// @notice Takes the account off the allowlist; what it holds stays where it is.
    function disallow(address account) external onlyRole(COMPLIANCE_OPERATOR_ROLE) {
        _standing[account].allowed = false;
        emit Disallowed(account, _msgSender());
    }

    /// @dev Who mints, or moves somebody else's tokens by allowance, holds none of them and needs no
    /// place on the allowlist, but must not be frozen.
    function _update(address from, address to, uint256 value) internal virtual override {
        if (frozen(_msgSender())) revert QRC20AccountFrozen(_msgSender());
        _check(from);
        _check(to);
        super._update(from, to, value);
    }

    /// @dev The zero address is where mints come from and burns go to.
    function _check(address account) private view {
        if (account == address(0)) return;
        Standing storage s = _standing[account];
        if (s.frozen) revert QRC20AccountFrozen(account);
        if (!s.allowed) revert QRC20AccountNotAllowed(account);
    }
}
