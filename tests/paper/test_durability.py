"""Section 3, rule R8: durable before visible, and what a restart may say again."""

import msgspec

from consensus.effects import Persist, batch
from consensus.leaf import Block
from consensus.messages import (
    FinalizeVote,
    QuorumProposal,
    QuorumVote,
    TimeoutVote,
)
from consensus.safety import SafetyRecord
from tests.lab import Lab, get_messages, select

SUBJECT = 3


def test_r8_every_signature_leaves_inside_the_persist_that_remembers_it(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    for block in lab.chain(2):
        bench.propose(block)
        bench.certify(block)
    bench.expire_view()
    signed = (QuorumProposal, QuorumVote, FinalizeVote, TimeoutVote)
    bare = [effect for effect in bench.effects if not isinstance(effect, Persist)]
    assert not any(get_messages(bare, kind) for kind in signed)
    for effect in select(bench.effects, Persist):
        for vote in get_messages([effect], QuorumVote):
            assert effect.record.last_vote == vote
            assert vote.leaf in {block.commitment for block in effect.blocks}
        for finalize in get_messages([effect], FinalizeVote):
            assert effect.record.last_finalize == finalize
            assert effect.record.high_qc.view >= finalize.view
        for timeout in get_messages([effect], TimeoutVote):
            assert effect.record.last_timeout == timeout
        for proposal in get_messages([effect], QuorumProposal):
            assert effect.record.proposed_view == proposal.leaf.view


def test_r8_one_turn_is_one_write_with_the_last_record_and_nothing_before_it(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    first, second = lab.chain(2)
    effects = [*bench.propose(first), *bench.propose(second)]
    turn = batch(effects)
    assert turn.must_sync
    assert turn.record == bench.record
    assert {block.commitment for block in turn.blocks} == {first.commitment, second.commitment}
    sent = get_messages(turn.release, QuorumVote)
    assert [vote.view for vote in sent] == [1, 2]


def test_r8_after_a_restart_it_sends_the_identical_votes(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    block = lab.chain(1)[0]
    bench.propose(block)
    bench.expire_view()
    before = get_messages(bench.effects, QuorumVote), get_messages(bench.effects, TimeoutVote)
    again = lab.bench(SUBJECT, bench.record, undecided=(block,))
    again.start()
    assert get_messages(again.effects, QuorumVote) == before[0]
    assert get_messages(again.effects, TimeoutVote) == before[1]


def test_r8_after_a_restart_it_never_signs_a_different_one(lab: Lab) -> None:
    bench = lab.bench(SUBJECT)
    bench.start()
    bench.propose(lab.block(lab.genesis, 1, payload=b"one"))
    record: SafetyRecord = msgspec.msgpack.decode(msgspec.msgpack.encode(bench.record), type=SafetyRecord)
    again = lab.bench(SUBJECT, record)
    again.start()
    other: Block = lab.block(lab.genesis, 1, payload=b"two")
    assert other.commitment not in {vote.leaf for vote in get_messages(again.propose(other), QuorumVote)}
