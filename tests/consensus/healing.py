"""The fair continuation: whatever has happened, from now on messages arrive and the honest take part (section 5).

The liar is silent, so the honest have a quorum only together with the replica under test: it must follow, vote, make
certificates with its own votes, lead and decide. The first leaf extends the lowest block that a justified one may: a
replica alone with a higher QC must not stand in the way (R5: no lock).
"""

from collections.abc import Callable
from functools import partial

from consensus.leaf import Block
from consensus.messages import StatusRequest, StatusResponse
from consensus.types import View
from tests.consensus.one_replica import OneReplica
from tests.consensus.others import LIAR, Others
from tests.lab import EPOCH

VIEWS_MAX = 24
"""Views to look through for four that are not the liar's to lead."""
DECIDES = 4


def heal(others: Others, replica: OneReplica) -> None:
    """Raises `AssertionError` when the replica does not do its part."""
    for number in others.numbers:  # everyone is connected
        replica.receive(number, StatusRequest(EPOCH, View(1)))
    leave_view(others, replica)  # in which votes may have been split
    decided = 0
    for _ in range(VIEWS_MAX):
        _bring_up_to_date(others, replica)
        block = _propose(others, replica, lowest=not decided)
        if block is None:
            leave_view(others, replica)
            continue
        _decide(others, replica, block)
        decided += 1
        if decided == DECIDES:
            return
    raise AssertionError(f"{decided} decides in {VIEWS_MAX} views")


def leave_view(others: Others, replica: OneReplica) -> None:
    """Everyone times out; a vote that was given there does no harm."""
    view = others.frontier
    for number in others.numbers:
        vote = others.time_out(number, view)
        if vote is not None:
            replica.receive(number, vote)
    assert others.frontier == view + 1, f"view {view} does not end"


def _bring_up_to_date(others: Others, replica: OneReplica) -> None:
    """It hears of the highest certificates, and gets the blocks that it asks for."""
    tcs = others.tcs.get(others.frontier - 1, [])
    finals = [others.final[view] for view in sorted(others.final) if view]
    fc = others.make_fc(finals[-1]) if finals else None
    replica.receive(others.honest[0], StatusResponse(others.make_qc(others.highest), fc, tcs[-1] if tcs else None))
    real = replica.bench.replica
    _fetch_until(replica, lambda: real.high_block is not None and not real.is_behind)
    assert real.view == others.frontier, "it does not follow the certificates"


def _propose(others: Others, replica: OneReplica, *, lowest: bool) -> Block | None:
    """The block of the current view; None when the liar would lead."""
    view, lab = others.frontier, others.lab
    if lab.get_leader(view, others.highest) == others.subject:
        replica.answer_all()
        block = next((one for one in others.sound.values() if one.leaf.view == view), None)
        assert block is not None, f"it does not lead view {view}"
        return block
    places = [place for place in others.list_places() if place[1] == view]
    for parent, _, tc in places[::-1] if lowest else places:
        if lab.get_leader(view, parent) not in (LIAR, others.subject):
            block = others.propose(parent, view, tc, b"")
            assert block is not None
            replica.receive(block.leaf.proposer, lab.proposal(block))
            _fetch_until(replica, partial(_has_block, replica, block))
            return block
    return None


def _decide(others: Others, replica: OneReplica, block: Block) -> None:
    """The honest vote, and each vote is needed."""
    for number in others.honest:
        vote = others.vote(number, block)
        assert vote is not None
        replica.receive(number, vote)
    assert others.has_voted(others.subject, block), f"it does not vote for {block}"
    assert replica.bench.replica.high_qc.leaf == block.commitment, "it makes no QC of its own vote and the others'"
    for number in others.honest:
        finalize = others.finalize(number, block.leaf.view)
        assert finalize is not None
        replica.receive(number, finalize)
    assert replica.bench.replica.tip.commitment == block.commitment, f"it does not decide {block}"


def _has_block(replica: OneReplica, block: Block) -> bool:
    return block.commitment in replica.bench.replica.chain


def _fetch_until(replica: OneReplica, condition: Callable[[], bool]) -> None:
    for _ in range(60):
        replica.answer_all()
        if condition():
            return
        replica.wait_for_fetch()
        while replica.serve_one():
            pass
    raise AssertionError("it does not get the blocks that it lacks")
