"""Soft confirmations between whole nodes: given at once, kept through a crash, and paid for when broken."""

from itertools import count
from pathlib import Path

import pytest
from trio.testing import MockClock

from consensus.evidence import BrokenPromise
from consensus.ledger import Status
from consensus.promises import is_promise_genuine
from consensus.types import ValidatorId
from sequencer.node import Node
from sequencer.payload import Hash, Transaction, compute_hashes
from sequencer.promises import PromiseRefusedError
from tests.node.fleet import Fleet, open_fleet

PROMISED = b"promised"
BENEFICIARY = b"\x07" * 32


def get_hash(transaction: bytes) -> Hash:
    return compute_hashes([transaction])[0]


def find_status(node: Node, validator: int) -> Status:
    return node.status().ledger.validators[ValidatorId(validator)].status


async def test_the_next_leader_promises_and_keeps_it(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        asker = fleet.nodes[0]
        for number in range(8):
            transaction = b"promised %d" % number
            fleet.submit(0, transaction)
            promise = await asker.promise(transaction, get_hash(transaction), BENEFICIARY)
            context = fleet.keyring.context
            key = context.stake_table.get_validator(promise.promiser).public_key
            assert is_promise_genuine(promise, key, context.scheme, context.network_id)
            assert (promise.transaction, promise.beneficiary) == (get_hash(transaction), BENEFICIARY)
            await fleet.wait_decided(transaction)
            location = asker.storage.find_transaction(get_hash(transaction))
            assert location is not None
            for block in fleet.applications[0].blocks:
                is_bound = promise.first_view <= block.leaf.view <= promise.last_view
                if is_bound and block.leaf.proposer == promise.promiser:
                    assert location.height <= block.leaf.height
        await fleet.wait_height(fleet.get_height(0) + 5)
        assert not asker.pending_evidence()
        assert all(find_status(asker, validator) is Status.ACTIVE for validator in range(4))


async def test_a_promise_outlives_the_crash_of_its_promiser(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The promiser dies with the answer still on the wire; nobody else has the transaction."""
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        promiser = fleet.get_leader()
        node = fleet.nodes[promiser]
        await node._promises.give(PROMISED, get_hash(PROMISED), BENEFICIARY)
        await fleet.stop(promiser)
        await fleet.wait_height(fleet.get_height(next(iter(fleet.nodes))) + 3)
        await fleet.start(promiser)
        await fleet.wait_decided(PROMISED)
        await fleet.wait_height(fleet.get_height(0) + 5)
        assert all(find_status(each, promiser) is Status.ACTIVE for each in fleet.nodes.values())


async def test_what_is_promised_again_is_the_same_promise_and_too_much_is_refused(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        promises = fleet.nodes[fleet.get_leader()]._promises
        first = await promises.give(PROMISED, get_hash(PROMISED), b"")
        assert await promises.give(PROMISED, get_hash(PROMISED), b"") == first
        large = bytes(fleet.keyring.network.consensus.payload_bytes_max // 4)
        with pytest.raises(PromiseRefusedError, match="as much as a block may hold"):
            await promises.give(large, get_hash(large), b"")


async def test_a_broken_promise_is_a_safety_offence_and_the_beneficiary_is_paid(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path, stake=1_000_000) as fleet:
        await fleet.wait_height(3)
        forget(fleet)
        fleet.submit(0, PROMISED)
        asker = fleet.nodes[0]
        promise = await asker.promise(PROMISED, get_hash(PROMISED), BENEFICIARY)
        while promise.promiser == asker.validator_id:
            await fleet.wait_height(fleet.get_height(0) + 1)
            promise = await asker.promise(b"another", get_hash(b"another"), BENEFICIARY)
        await fleet.wait_until(
            lambda: all(find_status(node, promise.promiser) is Status.TOMBSTONED for node in fleet.nodes.values())
        )
        accounts = asker.status().ledger.accounts
        assert accounts[BENEFICIARY].balance == fleet.keyring.network.slashing.promise_compensation
        rules = [entry.fields["rule"] for entry in asker.recent_changes() if entry.kind == "tombstoned"]
        assert rules == ["promise"]
        await fleet.wait_height(fleet.get_height(0) + 5)


def forget(fleet: Fleet) -> None:
    """Everybody proposes other things than what was handed in, whatever was promised."""
    numbers = count()

    def take_others(bytes_max: int, ancestors: object, first: object = ()) -> list[Transaction]:
        return [b"other %d" % next(numbers)]

    for node in fleet.nodes.values():
        node._transactions.take = take_others  # type: ignore[method-assign]


async def test_a_claim_that_is_not_true_is_believed_by_nobody(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_fleet(tmp_path) as fleet:
        await fleet.wait_height(3)
        fleet.submit(0, PROMISED)
        asker = fleet.nodes[0]
        promise = await asker.promise(PROMISED, get_hash(PROMISED), b"")
        await fleet.wait_decided(PROMISED)
        await fleet.wait_height(fleet.get_height(0) + 8)
        for block in fleet.applications[0].blocks:
            claim = BrokenPromise(promise, block.leaf.height)
            assert not any(node._promises.confirms(claim) for node in fleet.nodes.values())
