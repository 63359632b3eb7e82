"""What waits for a leaf: taken once, told again when it waits too long, dropped when it is settled."""

import pytest

from consensus.docket import ACCOUNT_OPERATIONS_MAX, REPEAT_HEIGHTS, Docket
from consensus.evidence import DoubleVote, SignedLeaf, make_pair
from consensus.leaf import Leaf
from consensus.ledger import apply_leaf
from consensus.ledger.draft import Draft
from consensus.messages import EvidenceNotice, OperationNotice
from consensus.operations import Operation, Unbond, sign_operation
from consensus.types import Height, ValidatorId
from tests.lab import EPOCH, Lab


@pytest.fixture
def lab() -> Lab:
    return Lab(stakes=(1000, 1000, 1000, 1000))


@pytest.fixture
def docket(lab: Lab) -> Docket:
    return Docket(lab.admission)


def unbond(lab: Lab, nonce: int, amount: int = 1, number: int = 0) -> Operation:
    signer = lab.signers[number]
    operation = Unbond(signer.public_key, nonce, b"", ValidatorId(number), amount)
    return sign_operation(operation, signer, lab.context.network_id)


def double_vote(lab: Lab) -> DoubleVote:
    votes = [lab.vote(2, lab.block(lab.genesis, 1, payload=payload)) for payload in (b"a", b"b")]
    halves = [SignedLeaf(vote.leaf, vote.signature) for vote in votes]
    proof = make_pair(DoubleVote, ValidatorId(2), EPOCH, votes[0].view, *halves)
    assert isinstance(proof, DoubleVote)
    return proof


def carry(lab: Lab, docket: Docket) -> Leaf:
    """A leaf with everything that the docket would put into one."""
    operations, evidence = docket.select(lab.context.genesis_ledger)
    return lab.block(lab.genesis, 1, bend={"operations": operations, "evidence": evidence}).leaf


def test_operations_of_one_account_wait_in_the_order_of_their_nonces(lab: Lab, docket: Docket) -> None:
    ledger = lab.context.genesis_ledger
    assert docket.add_operation(unbond(lab, 0), ledger)
    assert not docket.add_operation(unbond(lab, 0), ledger), "the same again is not new"
    assert docket.find_operation_flaw(unbond(lab, 5), ledger) is not None
    assert docket.find_operation_flaw(unbond(lab, 0, amount=2), ledger) is not None, "the nonce is taken"
    for nonce in range(1, ACCOUNT_OPERATIONS_MAX):
        assert docket.add_operation(unbond(lab, nonce), ledger)
    assert "wait already" in (docket.find_operation_flaw(unbond(lab, ACCOUNT_OPERATIONS_MAX), ledger) or "")
    assert [operation.nonce for operation in docket.operations] == list(range(ACCOUNT_OPERATIONS_MAX))


def test_when_the_ledger_changes_each_waiting_operation_is_judged_once(
    lab: Lab, docket: Docket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full docket must not hold up the leaf that changes the ledger: anybody with some accounts can fill it."""
    ledger = lab.context.genesis_ledger
    for nonce in range(ACCOUNT_OPERATIONS_MAX):
        for number in (0, 1):
            assert docket.add_operation(unbond(lab, nonce, number=number), ledger)
    before, judged = docket.operations, list[Operation]()
    judge = lab.admission._find_operation_flaw

    def spy(draft: Draft, operation: Operation) -> str | None:
        judged.append(operation)
        return judge(draft, operation)

    monkeypatch.setattr(lab.admission, "_find_operation_flaw", spy)
    docket.on_ledger(ledger)
    assert docket.operations == before, "in the order in which they came"
    assert len(judged) == len(before)


def test_what_a_leaf_has_settled_waits_no_more(lab: Lab, docket: Docket) -> None:
    ledger = lab.context.genesis_ledger
    assert docket.add_operation(unbond(lab, 0), ledger)
    assert docket.add_evidence(double_vote(lab), ledger, Height(0))
    assert not docket.add_evidence(double_vote(lab), ledger, Height(0)), "one proof per offender"
    after = apply_leaf(ledger, lab.genesis.leaf, carry(lab, docket), lab.context.ledger_parameters)
    docket.on_ledger(after)
    assert (docket.operations, docket.evidence) == ((), ())
    assert docket.take_overdue(Height(1000)) == []


def test_what_waits_too_long_is_told_again_and_not_before(lab: Lab, docket: Docket) -> None:
    ledger = lab.context.genesis_ledger
    operation, evidence = unbond(lab, 0), double_vote(lab)
    assert docket.add_operation(operation, ledger, Height(10))
    assert docket.add_evidence(evidence, ledger, Height(10))
    assert docket.take_overdue(Height(10 + REPEAT_HEIGHTS - 1)) == []
    for height in (10 + REPEAT_HEIGHTS, 10 + 2 * REPEAT_HEIGHTS):
        assert docket.take_overdue(Height(height)) == [OperationNotice(operation), EvidenceNotice(evidence)]
        assert docket.take_overdue(Height(height)) == []


def test_an_operation_that_came_from_a_peer_is_that_peers_to_repeat(lab: Lab, docket: Docket) -> None:
    assert docket.add_operation(unbond(lab, 0), lab.context.genesis_ledger)
    assert docket.take_overdue(Height(1000)) == []
