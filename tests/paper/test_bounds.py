"""L1, L3, L4: what a replica keeps, repeats and answers stays within its bounds, and what it fetches is compared."""

import pytest
from msgspec.structs import replace

from consensus.certifier import Certifier
from consensus.effects import Decide, SetTimer
from consensus.errors import InvalidMessage
from consensus.events import Timer
from consensus.fetch import WANTED_MAX
from consensus.messages import LeafResponse, StatusResponse
from consensus.parameters import ConsensusParameters
from consensus.types import ValidatorId, View
from tests.lab import Bench, Lab, get_messages, select

SUBJECT = 3
PARAMETERS = ConsensusParameters()


def read_timer(bench: Bench) -> int:
    """How long the view timer that was set last takes."""
    return [effect.deadline - bench.now for effect in select(bench.effects, SetTimer) if effect.timer is Timer.VIEW][-1]


def test_l1_repetitions_of_one_timeout_do_not_make_the_timer_longer(lab: Lab) -> None:
    """Views that ended by timeout do; a replica that waits long for the others must not wait ever longer."""
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.expire_view()
    once = read_timer(bench)
    for _ in range(5):
        bench.expire_view()
    assert read_timer(bench) == once


def test_l3_whoever_votes_in_a_view_that_is_over_is_told_the_highest_certificates(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    blocks = lab.chain(5)
    bench.receive(0, StatusResponse(lab.qc(blocks[4]), None, None))
    bench.wait(PARAMETERS.fetch_interval)
    effects = bench.receive(1, lab.vote(1, blocks[0]))
    assert [status.high_qc.view for status in get_messages(effects, StatusResponse)] == [5]


def test_l3_a_fetched_leaf_with_another_payload_is_refused(lab: Lab) -> None:
    block = lab.block(lab.genesis, 1, payload=b"payload")
    response = LeafResponse(block.leaf, block.payload)
    lab.validator.validate(ValidatorId(0), response)
    for payload in (b"another", b"", b"payload!"):
        with pytest.raises(InvalidMessage, match="bad_payload"):
            lab.validator.validate(ValidatorId(0), replace(response, payload=payload))


def test_l4_votes_of_views_that_are_over_are_forgotten(lab: Lab) -> None:
    """No view is decided for ever so long; each brings votes."""
    bench = lab.bench(SUBJECT)
    bench.start()
    for view in range(1, 3 * PARAMETERS.view_window):
        tc = None if view == 1 else lab.tc(view - 1, lab.genesis_qc)
        bench.receive(0, StatusResponse(lab.genesis_qc, None, tc))
        bench.receive(0, lab.vote(0, lab.block(lab.genesis, view, tc=tc)))
    kept = sum(len(tally) for tally in (bench.replica._certifier._votes, bench.replica._certifier._finalizes))
    assert kept <= 2 * PARAMETERS.view_window + 2


def test_l4_finality_certificates_from_below_the_window_are_not_kept_after_a_restart(lab: Lab) -> None:
    """A peer sends one of each block that was ever decided, while this replica's views pass without a decide."""
    blocks = lab.chain(20)
    tip = blocks[-1]
    first = lab.bench(SUBJECT, ledger=lab.get_ledger(tip), tip=tip)
    first.start()
    first.receive(0, StatusResponse(lab.qc(tip), None, None))
    bench = lab.bench(SUBJECT, first.record, ledger=lab.get_ledger(tip), tip=tip)
    bench.start()
    for block in blocks[:-1]:
        bench.receive(0, StatusResponse(lab.qc(tip), lab.fc(block), None))
    bench.receive(0, StatusResponse(lab.qc(tip), None, lab.tc(21, lab.qc(tip))))
    assert bench.replica.view == 22
    assert not [view for view in bench.replica._certifier._fcs if view < tip.leaf.view]


@pytest.mark.parametrize("kind", ["qc", "quorum vote", "finalize vote"])
def test_l4_what_comes_late_is_forgotten_with_the_next_look_although_the_window_stands_still(
    lab: Lab, kind: str
) -> None:
    """Certificates and votes from below the window are of use at once or never, whether or not the window moves."""
    certifier = Certifier(lab.context, lab.validator)
    blocks = lab.chain(12)
    certifier.forget_below(View(10))
    certifier.note_qc(lab.qc(blocks[10]))
    for block in blocks[:9]:
        match kind:
            case "qc":
                assert certifier.note_qc(lab.qc(block))
            case "quorum vote":
                certifier.add_quorum_vote(lab.vote(0, block), genuine=True)
            case _:
                certifier.add_finalize_vote(lab.finalize(0, block), genuine=True)
    certifier.forget_below(View(10))
    assert sorted(certifier._qcs) == [11]
    assert len(certifier._votes) == len(certifier._finalizes) == 0


def test_l4_a_bounded_number_of_leaves_is_wanted(lab: Lab) -> None:
    """Certificates of more leaves than that come, and none of the leaves."""
    bench = lab.bench(SUBJECT)
    bench.start()
    for view in range(1, WANTED_MAX + 20):
        tc = None if view == 1 else lab.tc(view - 1, lab.genesis_qc)
        bench.receive(0, StatusResponse(lab.qc(lab.block(lab.genesis, view, tc=tc)), None, None))
    assert len(bench.replica._fetcher._wanted) == WANTED_MAX


def test_r6_an_fc_that_comes_again_decides_nothing(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    (block,) = lab.chain(1)
    bench.propose(block)
    status = StatusResponse(lab.genesis_qc, lab.fc(block), None)
    assert select(bench.receive(0, status), Decide)
    assert not select(bench.receive(1, status), Decide)


def test_r6_a_block_that_is_decided_already_is_neither_kept_nor_traced_back(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    first, second = lab.chain(2)
    for block in (first, second):
        bench.propose(block)
    bench.receive(0, StatusResponse(lab.genesis_qc, lab.fc(second), None))
    fetcher = bench.replica._fetcher
    fetcher.want(first.commitment, View(1), (ValidatorId(0),), bench.now)
    fetcher.want(lab.block(second, 3).commitment, View(3), (ValidatorId(0),), bench.now)
    assert fetcher.is_busy
    assert fetcher.accept(ValidatorId(0), first, bench.now) == []
    fetcher.accept(ValidatorId(0), lab.block(second, 3), bench.now)
    assert not fetcher.is_busy
    assert not fetcher._orphans
