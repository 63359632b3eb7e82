"""T1, T2 and T4 on one member: what belongs to which epoch, what an epoch ends with, and the beacon."""

from dataclasses import dataclass, replace

import msgspec
import pytest

from consensus.beacon import compute_beacon
from consensus.certificates import FinalityCertificate
from consensus.docket import Docket
from consensus.effects import BeginEpoch, Broadcast, Decide, Drop, Effect, Persist, Send, SendEpochEnd, batch
from consensus.epochs import EpochStart
from consensus.errors import InvalidMessage, Unsafe
from consensus.events import BeaconComputed, Received, Started, Timer, TimerFired
from consensus.leaf import BeaconResult, Block, EpochProof
from consensus.ledger import EpochParameters, LeadershipParameters, Ledger, LedgerParameters, apply_leaf, begin_epoch
from consensus.member import Credentials, Member
from consensus.messages import (
    EpochEnd,
    FinalizeVote,
    LeafResponse,
    QuorumProposal,
    QuorumVote,
    RangeRequest,
    RangeResponse,
    ReplicaMessage,
    StatusRequest,
    StatusResponse,
)
from consensus.safety import SafetyRecord, SafetyRules
from consensus.types import Epoch, Microseconds, ValidatorId, View
from tests.lab import START, Lab, get_messages, select

BLOCKS = 4
PARAMETERS = LedgerParameters(
    LeadershipParameters(primary_size=4),
    epochs=EpochParameters(epoch_blocks=BLOCKS, beacon_difficulty=8, beacon_checkpoints=2),
)
ME = ValidatorId(0)


@pytest.fixture
def lab() -> Lab:
    return Lab(ledger=PARAMETERS)


@dataclass(frozen=True)
class Fresh:
    """A disk on which nothing has happened."""

    record: SafetyRecord
    tip: Block
    tip_fc: FinalityCertificate | None = None
    undecided: tuple[Block, ...] = ()
    ledger: Ledger | None = None
    epoch: EpochStart | None = None


class Subject:
    """One member, fed by hand."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        found = Fresh(SafetyRecord.initial(lab.genesis_qc), lab.genesis)
        credentials = Credentials(ME, (lab.signers[ME],))
        self.member = Member(lab.context, credentials, lab.schedule, Docket(lab.admission), found)
        self.member.handle(Started(), START)

    def receive(self, sender: int, message: ReplicaMessage) -> list[Effect]:
        item = self.member.validate(ValidatorId(sender), message)
        return self.member.handle(Received(ValidatorId(sender), item), START)

    def end_epoch(self) -> list[Effect]:
        """All blocks of the epoch arrive at once, decided."""
        blocks = self.lab.chain(BLOCKS)
        responses = tuple(LeafResponse(block.leaf, block.payload) for block in blocks)
        return self.receive(1, RangeResponse(responses, (), self.lab.fc(blocks[-1])))


def test_t1_who_is_behind_is_sent_the_proof_and_who_is_ahead_is_asked_for_it(lab: Lab) -> None:
    subject = Subject(lab)
    ahead = QuorumVote(Epoch(1), View(9), lab.genesis.commitment, ValidatorId(2), bytes(64))
    (asked,) = select(subject.receive(2, ahead), Send)
    assert (asked.to, asked.message) == (2, StatusRequest(Epoch(0), View(1)))
    subject.end_epoch()
    assert subject.member.epoch == 1
    behind = lab.vote(3, lab.chain(1)[0])
    assert select(subject.receive(3, behind), SendEpochEnd) == [SendEpochEnd(ValidatorId(3), Epoch(0))]
    assert not select(subject.receive(3, behind), SendEpochEnd), "not for every message at once"


def test_t1_who_proves_an_epoch_to_be_over_is_not_told_so_in_return(lab: Lab) -> None:
    """Both sides would answer each other for ever, and whoever really is behind would find them too busy to answer."""
    subject = Subject(lab)
    (end,) = get_messages(subject.end_epoch(), EpochEnd)
    assert subject.member.epoch == 1
    assert not subject.receive(3, end)
    behind = lab.vote(3, lab.chain(1)[0])
    assert select(subject.receive(3, behind), SendEpochEnd) == [SendEpochEnd(ValidatorId(3), Epoch(0))]


def test_t1_without_its_key_in_the_stake_table_a_validator_signs_nothing(lab: Lab) -> None:
    block = lab.chain(1)[0]
    record = SafetyRecord.initial(lab.genesis_qc)
    for validator, signer in ((ME, lab.signers[1]), (ValidatorId(9), lab.signers[0])):
        rules = SafetyRules(lab.context, validator, [signer], record)
        answers = (rules.sign_proposal(block), rules.sign_vote(block), rules.sign_timeout(View(1)))
        assert all(isinstance(answer, Unsafe) and answer.rule == "T1" for answer in answers)
        assert isinstance(rules.sign_finalize(lab.qc(block)), Unsafe)
        assert rules.record == record


def test_t2_proof_ledger_and_fresh_record_are_one_write_before_anything_of_the_new_epoch_leaves(lab: Lab) -> None:
    subject = Subject(lab)
    effects = subject.end_epoch()
    turn = batch(effects)
    (begun,) = select(effects, BeginEpoch)
    last = lab.chain(BLOCKS)[-1]
    assert turn.epochs == (begun.start,)
    assert turn.ledger == begun.start.ledger
    assert begun.start.block.commitment == begun.start.proof.leaf == last.commitment
    assert begun.start.before.commitment == last.leaf.ledger
    parent = lab.chain(BLOCKS)[-2]
    assert begun.start.ledger == begin_epoch(
        apply_leaf(begun.start.before, parent.leaf, last.leaf, PARAMETERS), PARAMETERS
    )
    assert turn.record is not None
    assert (turn.record.epoch, turn.record.high_qc.view, turn.record.voted_view) == (1, last.leaf.view, last.leaf.view)
    # What is said in the new epoch, the proof first of all, stands behind that record.
    (told,) = [
        send.message
        for effect in select(effects, Persist)
        for send in effect.then
        if isinstance(send, Broadcast) and isinstance(send.message, EpochEnd)
    ]
    assert told == EpochEnd(Epoch(0), begun.start.proof)


def test_t2_nothing_is_signed_in_an_epoch_that_is_over(lab: Lab) -> None:
    subject = Subject(lab)
    former = subject.member.replica
    subject.end_epoch()
    assert former.epoch_proof is not None
    assert former.handle(Started(), START) == []
    closing = lab.block(lab.chain(BLOCKS)[-1], BLOCKS + 1)
    assert not get_messages(subject.receive(1, lab.proposal(closing)), QuorumVote)


def test_t2_whoever_holds_every_block_begins_the_next_epoch_when_told_that_this_one_is_over(lab: Lab) -> None:
    knowing, late = Subject(lab), Subject(lab)
    knowing.end_epoch()
    blocks = lab.chain(BLOCKS)
    for block in blocks:  # the late one has every block, and no FC of the last
        late.receive(block.leaf.proposer, lab.proposal(block))
        late.receive(1, LeafResponse(block.leaf, block.payload))
    assert late.member.epoch == 0
    start = knowing.member.context.start
    assert start is not None
    effects = late.receive(2, EpochEnd(Epoch(0), start.proof))
    assert late.member.epoch == 1
    assert select(effects, BeginEpoch)[0].start.ledger == start.ledger


@pytest.mark.parametrize("bend", ["another leaf", "no path", "a path that does not fit", "a forged QC"])
def test_t2_an_epoch_proof_that_proves_something_else_is_refused(lab: Lab, bend: str) -> None:
    blocks = lab.chain(BLOCKS)
    closing = lab.block(blocks[-1], BLOCKS + 1)
    qc = lab.qc(blocks[-1])
    forged = lab.block(blocks[-1], BLOCKS + 1, justify=msgspec.structs.replace(qc, proof=bytes(len(qc.proof))))
    proofs = {
        "another leaf": EpochProof(lab.fc(closing), (blocks[-1].leaf,)),
        "no path": EpochProof(lab.fc(blocks[-2], voters=(0, 1)), ()),
        "a path that does not fit": EpochProof(lab.fc(closing), (closing.leaf, closing.leaf)),
        "a forged QC": EpochProof(lab.fc(forged), (forged.leaf,)),
    }
    subject = Subject(lab)
    with pytest.raises(InvalidMessage):
        subject.receive(1, EpochEnd(Epoch(0), proofs[bend]))


def test_t2_an_fc_of_an_earlier_leaf_sold_as_epoch_proof_is_found_out_and_forgotten() -> None:
    """Only who holds the leaf sees that it is not the last one. From then on nothing is missing here any more."""
    lab = Lab(ledger=LedgerParameters(PARAMETERS.leadership, epochs=EpochParameters(epoch_blocks=64)))
    subject, blocks = Subject(lab), lab.chain(12)
    lie = EpochEnd(Epoch(0), EpochProof(lab.fc(blocks[5]), ()))
    subject.receive(3, lie)
    assert subject.member.replica.is_behind
    responses = tuple(LeafResponse(block.leaf, block.payload) for block in blocks)
    subject.receive(1, RangeResponse(responses[:8], (), lab.fc(blocks[7])))
    assert not subject.member.replica.is_behind
    for minutes in range(1, 6):
        effects = subject.member.handle(TimerFired(Timer.FETCH), Microseconds(START + minutes * 60_000_000))
        assert not get_messages(effects, RangeRequest)
    subject.receive(3, lie)
    assert not subject.member.replica.is_behind, "it comes too late to be believed"


def hold_closing(lab: Lab, subject: Subject) -> tuple[list[Block], Block]:
    """The subject holds every block of the epoch and a closing leaf, and no FC."""
    blocks = lab.chain(BLOCKS)
    closing = lab.block(blocks[-1], BLOCKS + 1)
    for block in (*blocks, closing):
        subject.receive(block.leaf.proposer, lab.proposal(block))
        subject.receive(1, LeafResponse(block.leaf, block.payload))
    assert closing.commitment in subject.member.replica.chain
    return blocks, closing


def test_t2_a_closing_leaf_sold_as_the_last_one_is_not_decided(lab: Lab) -> None:
    """Its FC is genuine, and the leaf below it would be final with it: but this one stands above the last height."""
    subject = Subject(lab)
    _, closing = hold_closing(lab, subject)
    effects = subject.receive(3, EpochEnd(Epoch(0), EpochProof(lab.fc(closing), ())))
    assert all(block.leaf.height <= BLOCKS for decide in select(effects, Decide) for block in decide.blocks)
    assert subject.member.replica.tip.leaf.height <= BLOCKS


def test_t2_what_comes_in_one_message_with_the_end_of_the_epoch_is_not_signed(lab: Lab) -> None:
    """The FC of the last leaf, and behind it a QC of a closing leaf that could have been finalized a moment before."""
    subject = Subject(lab)
    blocks, closing = hold_closing(lab, subject)
    tc = lab.tc(BLOCKS + 2, lab.qc(closing))
    effects = subject.receive(3, StatusResponse(lab.qc(blocks[-1]), lab.fc(blocks[-1]), tc))
    assert subject.member.epoch == 1
    assert not [vote for vote in get_messages(effects, FinalizeVote) if vote.view > blocks[-1].leaf.view]


def test_t2_what_is_sold_as_epoch_proof_does_not_take_the_place_of_the_true_one(lab: Lab) -> None:
    """Its FC is of a lower view than any that proves the last leaf."""
    subject, blocks = Subject(lab), lab.chain(BLOCKS)
    for proven in (blocks[-1], blocks[-2]):
        subject.receive(3, EpochEnd(Epoch(0), EpochProof(lab.fc(proven), ())))
    for block in reversed(blocks):  # each is wanted by the one above
        subject.receive(1, LeafResponse(block.leaf, block.payload))
    assert subject.member.epoch == 1


@pytest.mark.parametrize("truth", ["by its own FC", "by a closing leaf"])
def test_t2_a_closing_leaf_that_is_sold_as_the_last_one_does_not_keep_the_true_proof_out(lab: Lab, truth: str) -> None:
    """Its FC is genuine, and as high as any. Nobody serves that leaf any more once the epoch is over."""
    subject, blocks = Subject(lab), lab.chain(BLOCKS)
    closing = lab.block(blocks[-1], BLOCKS + 1)
    proofs = {
        "by its own FC": EpochProof(lab.fc(blocks[-1]), ()),
        "by a closing leaf": EpochProof(lab.fc(closing), (closing.leaf,)),
    }
    subject.receive(3, EpochEnd(Epoch(0), EpochProof(lab.fc(closing), ())))
    subject.receive(1, EpochEnd(Epoch(0), proofs[truth]))
    subject.receive(3, EpochEnd(Epoch(0), EpochProof(lab.fc(closing), ())))
    for block in reversed(blocks):  # each is wanted by the one above
        subject.receive(1, LeafResponse(block.leaf, block.payload))
    assert subject.member.epoch == 1


def test_t2_closing_leaves_below_the_end_of_the_epoch_prove_nothing() -> None:
    """Two empty leaves with an FC look like closing leaves. Their height says that they are none, at once."""
    lab = Lab(ledger=replace(PARAMETERS, epochs=replace(PARAMETERS.epochs, epoch_blocks=12)))
    subject, blocks = Subject(lab), lab.chain(3)
    subject.receive(1, EpochEnd(Epoch(0), EpochProof(lab.fc(blocks[2]), (blocks[1].leaf, blocks[2].leaf))))
    for block in reversed(blocks):
        subject.receive(1, LeafResponse(block.leaf, block.payload))
    assert subject.member.replica.tip.commitment == blocks[2].commitment, "its FC is worth as much as any other"
    assert not subject.member.replica.is_behind
    effects = subject.member.handle(TimerFired(Timer.FETCH), Microseconds(START + 60_000_000))
    assert not get_messages(effects, RangeRequest)


def test_t2_a_block_that_is_sold_as_the_last_one_and_arrives_before_it_is_decided_keeps_nobody_busy() -> None:
    """It is on the chain then, below the last height, and nothing is missing here."""
    lab = Lab(ledger=replace(PARAMETERS, epochs=replace(PARAMETERS.epochs, epoch_blocks=12)))
    subject = Subject(lab)
    block = lab.chain(1)[0]
    subject.receive(1, EpochEnd(Epoch(0), EpochProof(lab.fc(block), ())))
    assert subject.member.replica.is_behind
    subject.receive(block.leaf.proposer, lab.proposal(block))
    assert not subject.member.replica.is_behind
    assert subject.member.epoch == 0


def test_t2_an_epoch_ends_by_a_closing_leaf_when_its_own_fc_never_came(lab: Lab) -> None:
    subject = Subject(lab)
    blocks = lab.chain(BLOCKS)
    closing = lab.block(blocks[-1], BLOCKS + 1)
    for block in blocks:
        subject.receive(block.leaf.proposer, lab.proposal(block))
    effects = subject.receive(1, EpochEnd(Epoch(0), EpochProof(lab.fc(closing), (closing.leaf,))))
    assert select(effects, BeginEpoch)[0].start.block.commitment == blocks[-1].commitment
    assert subject.member.replica.tip.leaf.height == BLOCKS


def test_t2_a_closing_leaf_that_carries_something_is_refused(lab: Lab) -> None:
    last = lab.chain(BLOCKS)[-1]
    subject = Subject(lab)
    with pytest.raises(InvalidMessage, match="not empty"):
        subject.receive(1, lab.proposal(lab.block(last, BLOCKS + 1, payload=b"something")))


def test_t4_a_right_beacon_is_voted_for_and_a_wrong_one_is_not(lab: Lab) -> None:
    right = compute_beacon(lab.genesis.commitment, PARAMETERS.epochs)
    wrong = BeaconResult((right.checkpoints[0], lab.genesis.commitment))
    for result, is_welcome in ((right, True), (wrong, False)):
        bench = lab.bench(3)
        bench.start()
        effects = bench.propose(lab.block(lab.genesis, 1, bend={"beacon": result}))
        assert bool(get_messages(effects, QuorumVote)) == is_welcome
        assert bool(select(effects, Drop)) != is_welcome


def test_t4_a_leader_puts_the_result_into_a_leaf_of_the_second_half(lab: Lab) -> None:
    result = compute_beacon(lab.genesis.commitment, PARAMETERS.epochs)
    for height in (1, BLOCKS // 2 + 1):
        leader = lab.get_leader(height)
        bench = lab.bench(leader)
        bench.start()
        bench.handle(BeaconComputed(Epoch(0), result))
        bench.handle(BeaconComputed(Epoch(7), BeaconResult((lab.genesis.commitment,) * 2)))  # ignored
        blocks = lab.chain(height - 1)
        for block in blocks:
            bench.propose(block)
            bench.certify(block)
        proposed = get_messages(bench.effects, QuorumProposal)
        assert [proposal.leaf.beacon for proposal in proposed if proposal.leaf.height == height] == [
            result if height > BLOCKS // 2 else None
        ]
