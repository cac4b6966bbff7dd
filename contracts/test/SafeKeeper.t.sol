// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPortfolio} from "../src/interfaces/IPortfolio.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {Batch, Call, Settlement, Signature} from "../src/interfaces/Types.sol";
import {KeeperQuorum} from "../src/KeeperQuorum.sol";
import {Holdings} from "./fixtures/Holdings.sol";
import {VaultFixture} from "./fixtures/VaultFixture.sol";
import {Devnet} from "./Devnet.sol";

/// @dev What this test calls of Safe 1.5.0.
interface ISafe {
    function setup(
        address[] calldata owners,
        uint256 threshold,
        address to,
        bytes calldata data,
        address fallbackHandler,
        address paymentToken,
        uint256 payment,
        address payable paymentReceiver
    ) external;

    function execTransaction(
        address to,
        uint256 value,
        bytes calldata data,
        uint8 operation,
        uint256 safeTxGas,
        uint256 baseGas,
        uint256 gasPrice,
        address gasToken,
        address payable refundReceiver,
        bytes memory signatures
    ) external payable returns (bool);

    function getTransactionHash(
        address to,
        uint256 value,
        bytes calldata data,
        uint8 operation,
        uint256 safeTxGas,
        uint256 baseGas,
        uint256 gasPrice,
        address gasToken,
        address refundReceiver,
        uint256 nonce
    ) external view returns (bytes32);

    function nonce() external view returns (uint256);
    function getThreshold() external view returns (uint256);
    function VERSION() external view returns (string memory);
}

interface ISafeProxyFactory {
    function createProxyWithNonce(address singleton, bytes calldata initializer, uint256 salt)
        external
        returns (address);
}

interface IMultiSend {
    function multiSend(bytes calldata transactions) external payable;
}

/// @title A Safe in the keeper role
/// @notice The Safe, its factory and MultiSend are the published 1.5.0 contracts of the local chain. The same
/// three keys first act through a `KeeperQuorum`, then the timelock gives the role to their Safe.
contract SafeKeeperTest is VaultFixture, Devnet {
    uint8 private constant CALL = 0;
    uint8 private constant DELEGATECALL = 1;

    uint256[3] private keys;
    address[] private owners;
    KeeperQuorum private quorum;
    ISafe private safe;
    address private relayer = makeAddr("relayer");

    function setUp() public override {
        _load();
        super.setUp();
        _makeOwners();
        quorum = new KeeperQuorum(registry, address(vault), owners, 2);
        bytes memory initializer = abi.encodeCall(
            ISafe.setup,
            (owners, 2, address(0), "", _address(".safe.fallback_handler"), address(0), 0, payable(0))
        );
        safe = ISafe(
            ISafeProxyFactory(_address(".safe.proxy_factory"))
                .createProxyWithNonce(_address(".safe.singleton"), initializer, 0)
        );
        depositFor(alice, 100 * UNIT);
        _setKeeper(address(quorum));
        _executeThroughQuorum();
        _setKeeper(address(safe));
    }

    // WHAT THE SAFE DOES

    function test_the_safe_is_the_published_version() public view {
        assertEq(safe.VERSION(), "1.5.0");
        assertEq(safe.getThreshold(), 2);
        assertEq(registry.keeper(address(vault)), address(safe));
    }

    function test_two_owners_settle_an_epoch() public {
        requestDeposit(bob, 50 * UNIT);
        closeEpoch();
        bytes memory data = abi.encodeCall(IVault.settle, (settlement()));
        _exec(address(vault), data, CALL, _sign(address(vault), data, CALL, 0, 2));
        assertEq(vault.maxDeposit(bob), 50 * UNIT);
        assertEq(vault.accounting().settledEpoch, 2);
    }

    function test_two_owners_execute_a_batch() public {
        bytes memory data = abi.encodeCall(IPortfolio.execute, (_supplyBatch(60 * UNIT)));
        _exec(address(portfolio), data, CALL, _sign(address(portfolio), data, CALL, 1, 2));
        assertEq(connector.held(A), 60 * UNIT);
        assertEq(portfolio.idle(), 40 * UNIT);
    }

    function test_two_owners_cancel_a_nonce() public {
        uint256 next = portfolio.nextNonce(3);
        bytes memory data = abi.encodeCall(IPortfolio.cancelNonce, (3));
        _exec(address(portfolio), data, CALL, _sign(address(portfolio), data, CALL, 0, 1));
        assertEq(portfolio.nextNonce(3), next + 1);
    }

    function test_the_post_conditions_hold_for_a_safe_too() public {
        Batch memory b =
            batch(oneCall(50 * UNIT, abi.encodeCall(Holdings.supplyAtLoss, (A, 50 * UNIT, 2 * UNIT))));
        b.maxLoss = type(uint256).max;
        bytes memory data = abi.encodeCall(IPortfolio.execute, (b));
        bytes memory signatures = _sign(address(portfolio), data, CALL, 0, 1);
        vm.expectPartialRevert(IPortfolio.LossBudgetExceeded.selector);
        _exec(address(portfolio), data, CALL, signatures);
        assertEq(safe.nonce(), 0, "the Safe's nonce is not spent on what reverted");
    }

    // MULTISEND

    function test_close_and_settle_in_one_MultiSend_is_refused() public {
        // Whatever a price rests on has to be read after the close, so the two never share a block.
        requestDeposit(bob, 50 * UNIT);
        skip(1 hours);
        Settlement memory s = settlement();
        bytes memory data = _multiSend(
            _packed(address(vault), abi.encodeCall(IVault.closeEpoch, ())),
            _packed(address(vault), abi.encodeCall(IVault.settle, (s)))
        );
        address to = _address(".safe.multi_send");
        bytes memory signatures = _sign(to, data, DELEGATECALL, 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IVault.EpochNotClosed.selector, 2, 2));
        _exec(to, data, DELEGATECALL, signatures);
        assertEq(vault.accounting().currentEpoch, 2, "and the close is undone with it");
    }

    function test_MultiSend_settles_and_invests_what_was_accepted() public {
        requestDeposit(bob, 50 * UNIT);
        closeEpoch();
        bytes memory data = _multiSend(
            _packed(address(vault), abi.encodeCall(IVault.settle, (settlement()))),
            _packed(address(portfolio), abi.encodeCall(IPortfolio.execute, (_supplyBatch(150 * UNIT))))
        );
        address to = _address(".safe.multi_send");
        _exec(to, data, DELEGATECALL, _sign(to, data, DELEGATECALL, 0, 1));
        assertEq(connector.held(A), 150 * UNIT);
        assertEq(vault.maxDeposit(bob), 50 * UNIT);
    }

    function test_class_Q_settle_and_close_in_one_MultiSend_is_refused() public {
        // Deposits that roll may leave before the next close, so no close follows a settlement at once.
        requestDeposit(bob, 50 * UNIT);
        closeEpoch();
        skip(1 hours);
        bytes memory data = _multiSend(
            _packed(address(vault), abi.encodeCall(IVault.settle, (settlement()))),
            _packed(address(vault), abi.encodeCall(IVault.closeEpoch, ()))
        );
        address to = _address(".safe.multi_send");
        bytes memory signatures = _sign(to, data, DELEGATECALL, 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IVault.EpochNotOver.selector, block.timestamp + 1 hours));
        _exec(to, data, DELEGATECALL, signatures);
        assertEq(vault.accounting().settledEpoch, 1, "and the settlement is undone with it");
    }

    // WHAT IS REFUSED

    function test_class_G_one_owner_is_too_few() public {
        bytes memory data = abi.encodeCall(IPortfolio.execute, (_supplyBatch(UNIT)));
        bytes memory one = _signature(keys[0], _hash(address(portfolio), data, CALL));
        vm.expectRevert("GS020");
        _exec(address(portfolio), data, CALL, one);
        vm.expectRevert("GS026");
        _exec(address(portfolio), data, CALL, bytes.concat(one, one));
    }

    function test_class_G_a_stranger_does_not_count() public {
        bytes memory data = abi.encodeCall(IPortfolio.execute, (_supplyBatch(UNIT)));
        bytes32 hash = _hash(address(portfolio), data, CALL);
        uint256 stranger = uint256(keccak256("stranger"));
        bytes memory mine = _signature(keys[0], hash);
        bytes memory theirs = _signature(stranger, hash);
        bool first = vm.addr(stranger) < owners[0];
        vm.expectRevert("GS026");
        _exec(address(portfolio), data, CALL, first ? bytes.concat(theirs, mine) : bytes.concat(mine, theirs));
    }

    function test_class_G_signatures_of_another_batch_do_not_count() public {
        bytes memory signed = abi.encodeCall(IPortfolio.execute, (_supplyBatch(UNIT)));
        bytes memory sent = abi.encodeCall(IPortfolio.execute, (_supplyBatch(2 * UNIT)));
        bytes memory signatures = _sign(address(portfolio), signed, CALL, 0, 1);
        vm.expectRevert("GS026");
        _exec(address(portfolio), sent, CALL, signatures);
    }

    function test_class_G_a_safe_transaction_is_not_replayed() public {
        bytes memory data = abi.encodeCall(IPortfolio.execute, (_supplyBatch(UNIT)));
        bytes memory signatures = _sign(address(portfolio), data, CALL, 0, 1);
        _exec(address(portfolio), data, CALL, signatures);
        vm.expectRevert("GS026");
        _exec(address(portfolio), data, CALL, signatures);
        // Signed afresh under the Safe's next nonce, the batch still has its own nonce against it.
        signatures = _sign(address(portfolio), data, CALL, 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NonceUsed.selector, 0, 2, 1));
        _exec(address(portfolio), data, CALL, signatures);
    }

    function test_class_G_a_settlement_is_not_replayed() public {
        requestDeposit(bob, 50 * UNIT);
        closeEpoch();
        bytes memory data = abi.encodeCall(IVault.settle, (settlement()));
        _exec(address(vault), data, CALL, _sign(address(vault), data, CALL, 0, 2));
        bytes memory signatures = _sign(address(vault), data, CALL, 0, 2);
        vm.expectRevert(abi.encodeWithSelector(IVault.EpochNotClosed.selector, 3, 2));
        _exec(address(vault), data, CALL, signatures);
    }

    function test_class_G_an_owner_alone_is_nobody() public {
        closeEpoch();
        Batch memory b = _supplyBatch(UNIT);
        Settlement memory s = settlement();
        for (uint256 i; i < 3; ++i) {
            vm.startPrank(owners[i]);
            vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotKeeper.selector, owners[i]));
            portfolio.execute(b);
            vm.expectRevert(abi.encodeWithSelector(IVault.NotKeeper.selector, owners[i]));
            vault.settle(s);
            vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotAuthorised.selector, owners[i]));
            portfolio.cancelNonce(0);
            vm.stopPrank();
        }
    }

    // THE OLD KEEPER

    function test_class_G_the_old_quorum_can_do_nothing_with_its_full_set_of_signatures() public {
        requestDeposit(bob, 50 * UNIT);
        closeEpoch();
        Batch memory b = _supplyBatch(UNIT);
        Signature[] memory signatures = _quorumSigns(quorum.batchDigest(b));
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotKeeper.selector, address(quorum)));
        quorum.execute(b, signatures);
        Settlement memory s = settlement();
        signatures = _quorumSigns(quorum.settlementDigest(s));
        vm.expectRevert(abi.encodeWithSelector(IVault.NotKeeper.selector, address(quorum)));
        quorum.settle(s, signatures);
        signatures = _quorumSigns(quorum.cancelDigest(9, 0));
        vm.expectRevert(abi.encodeWithSelector(IPortfolio.NotAuthorised.selector, address(quorum)));
        quorum.cancel(9, 0, signatures);
    }

    function test_class_G_the_role_changes_hands_only_through_the_timelock() public {
        bytes memory data = abi.encodeCall(registry.setKeeper, (address(vault), alice));
        bytes32 id = registry.changeId(address(registry), data);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.ChangeUnknown.selector, id));
        registry.setKeeper(address(vault), alice);
        bytes memory signatures = _sign(address(registry), data, CALL, 0, 1);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NotGovernor.selector, address(safe)));
        _exec(address(registry), data, CALL, signatures);
    }

    // INTERNAL

    function _makeOwners() private {
        for (uint256 i; i < 3; ++i) {
            uint256 key = uint256(keccak256(abi.encode("owner", i)));
            uint256 j = i;
            for (; j > 0 && vm.addr(keys[j - 1]) > vm.addr(key); --j) {
                keys[j] = keys[j - 1];
            }
            keys[j] = key;
        }
        for (uint256 i; i < 3; ++i) {
            owners.push(vm.addr(keys[i]));
        }
    }

    function _setKeeper(address keeper) private {
        bytes memory data = abi.encodeCall(registry.setKeeper, (address(vault), keeper));
        registry.submit(address(vault), address(registry), data);
        skip(3 days);
        registry.setKeeper(address(vault), keeper);
    }

    /// @dev Shows that the quorum held the role before the Safe did.
    function _executeThroughQuorum() private {
        Batch memory b = batch(new Call[](0));
        quorum.execute(b, _quorumSigns(quorum.batchDigest(b)));
        assertEq(portfolio.nextNonce(0), 1);
    }

    function _supplyBatch(uint256 assets) private view returns (Batch memory) {
        return batch(oneCall(assets, abi.encodeCall(Holdings.supply, (A, assets))));
    }

    function _quorumSigns(bytes32 digest) private view returns (Signature[] memory signatures) {
        signatures = new Signature[](3);
        for (uint256 i; i < 3; ++i) {
            signatures[i] = Signature(owners[i], _signature(keys[i], digest));
        }
    }

    function _packed(address to, bytes memory data) private pure returns (bytes memory) {
        return abi.encodePacked(CALL, to, uint256(0), data.length, data);
    }

    function _multiSend(bytes memory first, bytes memory second) private pure returns (bytes memory) {
        return abi.encodeCall(IMultiSend.multiSend, (bytes.concat(first, second)));
    }

    function _hash(address to, bytes memory data, uint8 operation) private view returns (bytes32) {
        return safe.getTransactionHash(to, 0, data, operation, 0, 0, 0, address(0), address(0), safe.nonce());
    }

    function _signature(uint256 key, bytes32 digest) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _sign(address to, bytes memory data, uint8 operation, uint256 i, uint256 j)
        private
        view
        returns (bytes memory)
    {
        bytes32 hash = _hash(to, data, operation);
        return bytes.concat(_signature(keys[i], hash), _signature(keys[j], hash));
    }

    function _exec(address to, bytes memory data, uint8 operation, bytes memory signatures) private {
        vm.prank(relayer);
        safe.execTransaction(to, 0, data, operation, 0, 0, 0, address(0), payable(0), signatures);
    }
}
