"""T5: a chain that begins with the end of an epoch, of which everything follows from one trusted leaf."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from consensus.context import EpochContext
from consensus.errors import InvalidMessage
from consensus.joining import open_snapshot
from consensus.leaf import Block, EpochProof
from consensus.ledger import EpochParameters, LeadershipParameters, LedgerParameters, apply_leaf, begin_epoch
from consensus.messages import Snapshot
from consensus.stake_table import StakeTable
from consensus.types import Commitment
from sequencer.anchor import parse_anchor
from tests.lab import Lab

BLOCKS = 4
PARAMETERS = LedgerParameters(
    LeadershipParameters(primary_size=4),
    epochs=EpochParameters(epoch_blocks=BLOCKS, beacon_difficulty=8, beacon_checkpoints=2),
)


@pytest.fixture
def lab() -> Lab:
    return Lab(ledger=PARAMETERS)


@pytest.fixture
def chain(lab: Lab) -> list[Block]:
    return lab.chain(BLOCKS)


@pytest.fixture
def snapshot(lab: Lab, chain: list[Block]) -> Snapshot:
    state = msgspec.msgpack.encode(lab.get_ledger(chain[-2]).state)
    return Snapshot(EpochProof(lab.fc(chain[-1]), ()), chain[-2].leaf, chain[-1].leaf, state)


def test_t5_a_snapshot_gives_what_the_next_epoch_begins_with(lab: Lab, chain: list[Block], snapshot: Snapshot) -> None:
    start = open_snapshot(snapshot, chain[-1].commitment, lab.context)
    after = apply_leaf(lab.get_ledger(chain[-2]), chain[-2].leaf, chain[-1].leaf, PARAMETERS)
    assert start.ledger == begin_epoch(after, PARAMETERS)
    assert start.block.commitment == chain[-1].commitment
    context: EpochContext = lab.context.follow(start)
    assert (context.epoch, context.genesis_qc.leaf) == (1, chain[-1].commitment)


def test_t5_its_proof_is_held_against_the_table_of_that_epoch_not_of_the_network_file(
    lab: Lab, chain: list[Block], snapshot: Snapshot
) -> None:
    """Long after the beginning none of the first validators may be left."""
    strangers = Lab([1, 1, 1, 1, 1, 1, 1]).table
    network = replace(lab.context, stake_table=StakeTable(strangers.validators[4:]))
    assert open_snapshot(snapshot, chain[-1].commitment, network).block.commitment == chain[-1].commitment


Bend = Callable[[Lab, list[Block], Snapshot], Snapshot]

LIES: dict[str, Bend] = {
    "another last leaf": lambda lab, chain, true: msgspec.structs.replace(
        true, last=lab.block(chain[-2], BLOCKS, payload=b"other").leaf
    ),
    "another parent": lambda lab, chain, true: msgspec.structs.replace(true, parent=chain[0].leaf),
    "another ledger": lambda lab, chain, true: msgspec.structs.replace(
        true, ledger=msgspec.msgpack.encode(msgspec.structs.replace(lab.context.genesis_ledger.state, pool=1))
    ),
    "a ledger in another form": lambda lab, chain, true: msgspec.structs.replace(true, ledger=true.ledger + b"\0"),
    "no ledger": lambda lab, chain, true: msgspec.structs.replace(true, ledger=b"\xc1"),
    "a proof of another leaf": lambda lab, chain, true: msgspec.structs.replace(
        true, proof=EpochProof(lab.fc(chain[-2]), ())
    ),
    "a forged proof": lambda lab, chain, true: msgspec.structs.replace(
        true, proof=EpochProof(msgspec.structs.replace(lab.fc(chain[-1]), proof=bytes(64 * 3)), ())
    ),
    "too few signatures": lambda lab, chain, true: msgspec.structs.replace(
        true, proof=EpochProof(lab.fc(chain[-1], voters=(0, 1)), ())
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_t5_what_does_not_follow_from_the_trusted_leaf_is_refused(
    lab: Lab, chain: list[Block], snapshot: Snapshot, lie: str
) -> None:
    with pytest.raises(InvalidMessage):
        open_snapshot(LIES[lie](lab, chain, snapshot), chain[-1].commitment, lab.context)


def test_t5_a_leaf_that_ends_no_epoch_is_nothing_to_begin_with(lab: Lab, chain: list[Block]) -> None:
    state = msgspec.msgpack.encode(lab.get_ledger(chain[0]).state)
    middle = Snapshot(EpochProof(lab.fc(chain[1]), ()), chain[0].leaf, chain[1].leaf, state)
    with pytest.raises(InvalidMessage, match="not the last one"):
        open_snapshot(middle, chain[1].commitment, lab.context)


def test_t5_an_anchor_reads_as_it_is_told() -> None:
    anchor = parse_anchor("7:0x" + "ab" * 32)
    assert (anchor.epoch, anchor.leaf) == (7, Commitment(b"\xab" * 32))
    assert parse_anchor(str(anchor)) == anchor


@pytest.mark.parametrize("text", ["", "7", "7:ab", "x:" + "ab" * 32, "7:" + "ab" * 33, "-1:" + "ab" * 32])
def test_t5_what_is_no_anchor_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="EPOCH:COMMITMENT"):
        parse_anchor(text)
