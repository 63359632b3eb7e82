"""Section 5, L1 to L6, and the rotation of section 6."""

import msgspec
import pytest

from consensus.catchup import answer
from consensus.certificates import FinalityCertificate
from consensus.certifier import Certifier
from consensus.effects import BuildPayload, Drop, Send, SetTimer, TimedOut
from consensus.errors import InvalidMessage, InvariantViolation
from consensus.events import PeerLost, Timer, TimerFired, TransactionsWaiting
from consensus.leaf import Block, EpochProof, Leaf
from consensus.messages import (
    LeafRequest,
    LeafResponse,
    QuorumProposal,
    QuorumVote,
    RangeRequest,
    RangeResponse,
    Snapshot,
    StatusRequest,
    StatusResponse,
    TimeoutVote,
    encode,
)
from consensus.pacemaker import Pacemaker
from consensus.parameters import ConsensusParameters
from consensus.rotation import compute_rotation
from consensus.types import Commitment, Epoch, Height, Microseconds, ValidatorId, View
from tests.lab import START, Lab, get_messages, select

SUBJECT = 3
PARAMETERS = ConsensusParameters()


# L1


def make_pacemaker(view: int = 1) -> Pacemaker:
    return Pacemaker(PARAMETERS, View(view))


def pass_views(pacemaker: Pacemaker, durations: list[int]) -> None:
    now = 0
    for duration in durations:
        pacemaker.on_proposal(Microseconds(now))
        now += duration
        pacemaker.enter(View(pacemaker.view + 1), Microseconds(now), timed_out=False)


def test_l1_the_timer_follows_the_recent_view_duration_between_floor_and_ceiling() -> None:
    fast, slow, slowest = make_pacemaker(), make_pacemaker(), make_pacemaker()
    pass_views(fast, [2_000] * 20)
    pass_views(slow, [400_000] * 20)
    pass_views(slowest, [60_000_000] * 20)
    assert fast.compute_timeout() == PARAMETERS.timeout_floor
    assert slow.compute_timeout() == pytest.approx(PARAMETERS.timeout_multiple * 400_000, rel=0.01)
    assert slowest.compute_timeout() == PARAMETERS.timeout_ceiling


def test_l1_it_backs_off_with_each_timeout_up_to_the_ceiling_and_a_decide_resets_it() -> None:
    pacemaker = make_pacemaker()
    lengths = []
    for _ in range(40):
        lengths.append(pacemaker.compute_timeout())
        pacemaker.on_timeout()
    assert lengths[:3] == [300_000, 450_000, 675_000]
    assert lengths == sorted(lengths)
    assert lengths[-1] == PARAMETERS.timeout_ceiling
    pacemaker.on_decide()
    assert pacemaker.compute_timeout() == PARAMETERS.timeout_floor


def test_l1_a_leader_that_is_late_with_its_proposal_does_not_stretch_the_timer() -> None:
    pacemaker = make_pacemaker()
    pacemaker.on_proposal(Microseconds(50_000_000))
    pacemaker.enter(View(2), Microseconds(50_002_000), timed_out=False)
    assert pacemaker.compute_timeout() == PARAMETERS.timeout_floor


# L2


def test_l2_a_lost_leader_is_timed_out_at_once(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    effects = bench.handle(PeerLost(ValidatorId(1)))
    assert [vote.view for vote in get_messages(effects, TimeoutVote)] == [1]
    assert [effect.cause for effect in select(effects, TimedOut)] == ["leader_lost"]


def test_l2_not_when_its_proposal_is_here(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.propose(lab.chain(1)[0])
    assert not get_messages(bench.handle(PeerLost(ValidatorId(1))), TimeoutVote)


def test_l2_not_when_another_peer_is_lost_until_its_turn_comes(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    assert not get_messages(bench.handle(PeerLost(ValidatorId(2))), TimeoutVote)
    block = lab.chain(1)[0]
    bench.propose(block)
    effects = bench.certify(block, voters=(0, 1))  # view 2 begins, its leader is known to be gone
    assert [vote.view for vote in get_messages(effects, TimeoutVote)] == [2]


def test_l2_a_peer_that_speaks_again_is_trusted_again(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.handle(PeerLost(ValidatorId(2)))
    bench.receive(2, StatusRequest(lab.context.epoch, View(1)))
    block = lab.chain(1)[0]
    bench.propose(block)
    assert not get_messages(bench.certify(block, voters=(0, 1)), TimeoutVote)


# L3


def test_l3_a_peer_that_is_behind_gets_the_highest_certificates_at_a_bounded_rate(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    first, second = lab.chain(2)
    bench.propose(first)
    bench.propose(second)
    bench.receive(0, StatusResponse(lab.qc(second), lab.fc(first), None))
    old = lab.timeout(0, 1, lab.genesis_qc)
    (status,) = get_messages(bench.receive(0, old), StatusResponse)
    assert status.fc is not None
    assert (status.high_qc.view, status.fc.view) == (2, 1)
    assert not get_messages(bench.receive(0, old), StatusResponse)
    assert get_messages(bench.receive(1, lab.timeout(1, 1, lab.genesis_qc)), StatusResponse)
    bench.wait(PARAMETERS.fetch_interval)
    assert get_messages(bench.receive(0, old), StatusResponse)


def test_l3_a_missing_leaf_is_asked_for_from_the_signers_first_then_from_others(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    effects = bench.receive(0, StatusResponse(lab.qc(block, (1, 2, 3)), None, None))
    assert not select(effects, Send), "its proposal may be on its way"
    asked = []
    for _ in range(4):
        bench.wait(PARAMETERS.fetch_interval)
        sends = select(bench.handle(TimerFired(Timer.FETCH)), Send)
        assert [send.message for send in sends] == [LeafRequest(block.commitment)]
        asked.append(sends[0].to)
    assert set(asked[:2]) == {1, 2}
    assert asked[2] == 0
    bench.receive(0, LeafResponse(block.leaf, block.payload))
    bench.wait(PARAMETERS.fetch_interval)
    assert not select(bench.handle(TimerFired(Timer.FETCH)), Send)


def test_l3_a_proposal_that_waits_for_its_parent_is_kept_when_its_view_ends(lab: Lab) -> None:
    """Else a replica that lacks one block would have to ask for every later one, and lag behind for ever."""
    bench = lab.bench(SUBJECT)
    bench.start()
    blocks = lab.chain(5)
    for block in blocks[1:]:
        bench.propose(block)
        bench.certify(block)
    bench.wait(PARAMETERS.fetch_interval)
    wanted = [send.message for send in select(bench.handle(TimerFired(Timer.FETCH)), Send)]
    assert wanted == [LeafRequest(blocks[0].commitment)]
    bench.receive(0, LeafResponse(blocks[0].leaf, blocks[0].payload))
    assert bench.replica.high_block is not None
    bench.receive(0, StatusResponse(lab.genesis_qc, lab.fc(blocks[4]), None))
    assert len(bench.decided) == 5


def test_l3_a_leaf_that_nobody_asked_for_is_dropped(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    effects = bench.receive(0, LeafResponse(block.leaf, block.payload))
    assert [drop.reason for drop in select(effects, Drop)] == ["unsolicited"]


# L4


def test_l4_votes_beyond_the_window_are_dropped(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    far = lab.block(lab.genesis, 1 + PARAMETERS.view_window + 1, tc=lab.tc(PARAMETERS.view_window + 1, lab.genesis_qc))
    effects = bench.receive(0, lab.vote(0, far))
    assert [drop.reason for drop in select(effects, Drop)] == ["far_ahead"]


def test_l4_replayed_votes_change_nothing_and_are_counted(lab: Lab) -> None:
    """A vote that came before, and one of a view that was decided long ago."""
    bench = lab.bench(SUBJECT)
    bench.start()
    first, second = lab.chain(2)
    bench.propose(first)
    bench.certify(first)
    bench.propose(second)
    replayed = lab.vote(0, second)
    bench.receive(0, replayed)
    assert [drop.reason for drop in select(bench.receive(0, replayed), Drop)] == ["repeated"]
    bench.certify(second)
    for voter in range(4):
        bench.receive(voter, lab.finalize(voter, second))
    assert [drop.reason for drop in select(bench.receive(0, lab.vote(0, first)), Drop)] == ["stale"]


def test_l4_certificates_are_looked_at_first_however_far_ahead(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.receive(0, lab.timeout(0, 10_001, lab.genesis_qc, lab.tc(10_000, lab.genesis_qc)))
    assert bench.replica.view == 10_001


def test_l4_a_flood_of_votes_keeps_a_bounded_number(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    for view in range(1, 10 * PARAMETERS.view_window):
        tc = None if view == 1 else lab.tc(view - 1, lab.genesis_qc)
        for payload in (b"a", b"b"):
            bench.receive(0, lab.vote(0, lab.block(lab.genesis, view, tc=tc, payload=payload)))
    kept = sum(len(tally) for tally in (bench.replica._certifier._votes, bench.replica._certifier._finalizes))
    assert kept <= PARAMETERS.view_window + 1


def test_l4_old_finality_certificates_that_are_told_again_are_not_kept(lab: Lab) -> None:
    """Each is genuine, and a network has as many of them as it has blocks."""
    certifier = Certifier(lab.context, lab.validator)
    certifier.forget_below(View(5))
    for block in lab.chain(6):
        certifier.note_fc(lab.fc(block))
    assert [view for view in range(1, 7) if certifier.find_fc(View(view))] == [5, 6]


def test_l4_a_leader_that_goes_on_proposing_payload_without_finality_fills_nobodys_memory(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consensus.proposals.UNDECIDED_BYTES_JUDGED_MAX", 3000)
    bench = lab.bench(SUBJECT)
    bench.start()
    voted = []
    for view in range(1, 50, 4):  # validator 1 leads these views, each of which ends by timeout
        tc = None if view == 1 else lab.tc(view - 1, lab.genesis_qc)
        effects = bench.propose(lab.block(lab.genesis, view, tc=tc, payload=bytes(1000)))
        voted += [vote.view for vote in get_messages(effects, QuorumVote)]
    assert voted == [1, 5, 9]
    assert select(effects, Drop)[-1].reason == "too_much_undecided"
    empty = lab.block(lab.genesis, 53, tc=lab.tc(52, lab.genesis_qc))
    assert get_messages(bench.propose(empty), QuorumVote), "an empty leaf takes no memory, and brings the decide"


# L5


class Source:
    """A peer's storage: a decided chain of which only some heights have an FC of their own."""

    def __init__(self, lab: Lab, blocks: list[Block], proven: set[int]) -> None:
        self.lab, self.blocks, self.proven = lab, blocks, proven

    def read_block(self, commitment: Commitment) -> Block | None:
        return next((block for block in self.blocks if block.commitment == commitment), None)

    def read_decided(self, from_height: Height, *, blocks_max: int, bytes_max: int) -> list[Block]:
        del bytes_max
        return self.blocks[from_height - 1 : from_height - 1 + min(blocks_max, 4)]

    def read_finality_proof(
        self, height: Height, *, leaves_max: int
    ) -> tuple[tuple[Leaf, ...], FinalityCertificate] | None:
        for proven in sorted(self.proven):
            if height <= proven <= height + leaves_max:
                path = tuple(block.leaf for block in self.blocks[height:proven])
                return path, self.lab.fc(self.blocks[proven - 1])
        return None

    def read_epoch_proof(self, epoch: Epoch) -> EpochProof | None:
        return None

    def read_snapshot(self, epoch: Epoch) -> Snapshot | None:
        return None


def test_l5_a_node_far_behind_catches_up_by_verified_ranges(lab: Lab) -> None:
    blocks = lab.chain(11)
    source = Source(lab, blocks, proven={6, 10})
    bench = lab.bench(SUBJECT)
    bench.start()
    effects = bench.receive(0, StatusResponse(lab.qc(blocks[10]), lab.fc(blocks[9]), None))
    for _ in range(40):
        bench.wait(PARAMETERS.fetch_interval)
        requests = [
            send.message for send in select(effects, Send) if isinstance(send.message, LeafRequest | RangeRequest)
        ]
        effects = bench.handle(TimerFired(Timer.FETCH))
        for request in requests:
            response = answer(request, source)
            if response is not None:
                effects += bench.receive(0, response)
    assert [block.leaf.height for block in bench.decided] == list(range(1, 11))
    assert bench.replica.view == 12
    assert not bench.replica.is_behind


class HeavySource(Source):
    """All that is asked for is there, and every leaf carries a certificate of 100 kB, as with 1,600 validators."""

    def __init__(self, lab: Lab, length: int) -> None:
        heavy = msgspec.structs.replace(lab.genesis_qc, proof=bytes(100_000))
        super().__init__(lab, [lab.block(lab.genesis, 1, justify=heavy)] * length, set())

    def read_decided(self, from_height: Height, *, blocks_max: int, bytes_max: int) -> list[Block]:
        return self.blocks[from_height - 1 : from_height - 1 + blocks_max]

    def read_finality_proof(
        self, height: Height, *, leaves_max: int
    ) -> tuple[tuple[Leaf, ...], FinalityCertificate] | None:
        return (), self.lab.fc(self.blocks[0])


def test_l5_an_answer_fits_into_a_frame_however_large_certificates_are(lab: Lab) -> None:
    source = HeavySource(lab, 100)
    response = answer(RangeRequest(Height(1)), source)
    assert isinstance(response, RangeResponse)
    assert 25 <= len(response.blocks) <= 35
    assert len(encode(response)) < 4 * 1024 * 1024


def make_range(lab: Lab, blocks: list[Block], path: list[Block], fc: Block) -> RangeResponse:
    entries = tuple(LeafResponse(block.leaf, block.payload) for block in blocks)
    return RangeResponse(entries, tuple(block.leaf for block in path), lab.fc(fc))


def test_l5_a_range_whose_links_or_proof_do_not_hold_is_refused(lab: Lab) -> None:
    blocks = lab.chain(5)
    fork = lab.block(blocks[1], 3, payload=b"fork")
    sender = ValidatorId(0)
    lab.validator.validate(sender, make_range(lab, blocks[:3], blocks[3:5], blocks[4]))
    bad = [
        make_range(lab, blocks[:3], blocks[3:4], blocks[4]),  # the FC is for a leaf beyond the path
        make_range(lab, [blocks[0], blocks[2]], blocks[3:5], blocks[4]),  # a gap
        make_range(lab, [*blocks[:2], fork], blocks[3:5], blocks[4]),  # a block that is not an ancestor
    ]
    for response in bad:
        with pytest.raises(InvalidMessage):
            lab.validator.validate(sender, response)


def test_l5_finality_that_conflicts_with_the_own_chain_ends_the_process(lab: Lab) -> None:
    """Only possible with a third or more Byzantine stake: here everyone signed both branches."""
    bench = lab.bench(SUBJECT)
    bench.start()
    mine = lab.chain(1)[0]
    bench.propose(mine)
    bench.receive(0, StatusResponse(lab.qc(mine), lab.fc(mine), None))
    other = lab.block(lab.genesis, 1, payload=b"other")
    theirs = lab.block(other, 2)
    with pytest.raises(InvariantViolation, match="conflicting finality"):
        bench.receive(0, make_range(lab, [theirs], [], theirs))


# L6


def test_l6_a_leader_may_wait_idle_and_the_timer_knows(lab: Lab) -> None:
    leader, follower = lab.bench(SUBJECT), lab.bench(2)
    leader.start()
    first, second = lab.chain(2)
    leader.propose(first)
    leader.receive(0, StatusResponse(lab.genesis_qc, lab.fc(first), None))
    leader.propose(second)
    leader.receive(0, StatusResponse(lab.qc(second), None, None))
    (build,) = select(leader.effects, BuildPayload)
    assert build.deadline == START + PARAMETERS.idle_interval
    (timer,) = [effect for effect in select(follower.start(), SetTimer) if effect.timer is Timer.VIEW]
    assert timer.deadline >= build.deadline + PARAMETERS.timeout_floor


def test_l6_after_a_lost_view_nothing_is_held_back(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    first = lab.chain(1)[0]
    bench.propose(first)
    bench.receive(0, StatusResponse(lab.genesis_qc, lab.fc(first), lab.tc(2, lab.qc(first))))
    (build,) = select(bench.effects, BuildPayload)
    assert (build.view, build.deadline) == (3, START)


def test_l6_no_idle_time_for_a_leader_that_has_work(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.wait(10_000)
    (timer,) = select(bench.handle(TransactionsWaiting()), SetTimer)
    assert timer.deadline == bench.now + PARAMETERS.timeout_floor
    bench.wait(10_000)
    assert not bench.handle(TransactionsWaiting()), "more work later gives the leader no more time"


def test_l6_an_empty_leaf_is_proposed_then(lab: Lab) -> None:
    bench = lab.bench(1)
    bench.payload = b""
    (proposal,) = get_messages(bench.start(), QuorumProposal)
    assert (proposal.leaf.payload_bytes, proposal.leaf.height) == (0, 1)


# Section 6, the rotation


def test_s2_everyone_leads_in_proportion_to_its_stake() -> None:
    table = Lab(stakes=(1, 2, 3, 4)).table
    cycle = compute_rotation(table)
    assert [cycle.count(validator) for validator in table.ids] == [1, 2, 3, 4]


def test_s2_slots_do_not_clump() -> None:
    cycle = compute_rotation(Lab(stakes=(5, 5, 5, 5)).table)
    assert sorted(cycle) == [0, 1, 2, 3]
    heavy = compute_rotation(Lab(stakes=(6, 2, 2, 2)).table)
    doubled = heavy + heavy
    assert all(0 in doubled[at : at + 3] for at in range(len(heavy)))


def test_s2_a_huge_common_total_is_rounded_and_nobody_is_left_out() -> None:
    table = Lab(stakes=(10**15 + 7, 10**15 - 3, 1, 10**12 + 1)).table
    cycle = compute_rotation(table)
    assert set(cycle) == set(table.ids)
    assert len(cycle) <= 5000


def test_l5_a_range_is_asked_first_of_whoever_has_shown_to_be_ahead(lab: Lab) -> None:
    """Any other peer may be as far behind, and silence is found out by a timer only."""
    blocks = lab.chain(11)
    for holder in sorted({0, 1, 2, 3} - {SUBJECT}):
        bench = lab.bench(SUBJECT)
        bench.start()
        bench.receive(holder, StatusResponse(lab.qc(blocks[10]), None, None))
        bench.wait(PARAMETERS.fetch_interval)
        bench.handle(TimerFired(Timer.FETCH))
        effects = bench.receive(holder, LeafResponse(blocks[10].leaf, blocks[10].payload))
        requests = [send for send in select(effects, Send) if isinstance(send.message, RangeRequest)]
        assert [(send.to, send.message) for send in requests] == [(holder, RangeRequest(Height(1)))]
