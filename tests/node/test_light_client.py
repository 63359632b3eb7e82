"""A light client over real chains: what it proves with a stake table alone, and every lie that it is told."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from consensus.context import EpochContext
from consensus.leaf import EpochProof, compute_leaf_commitment
from consensus.messages import Snapshot, StatusRequest, decode, encode
from consensus.stake_table import StakeTable
from consensus.types import Epoch, ValidatorId, View
from sequencer.anchor import Anchor
from sequencer.light.errors import ProofError
from sequencer.light.finality import Finality, compute_signed, decode_finality, encode_finality, verify_finality
from sequencer.light.light_client import SNAPSHOT_ENCODED_BYTES_MAX, LightClient
from tests.node.signed_chain import EPOCH_BLOCKS, STAKE, SignedChain

NEWCOMER = 40
EPOCHS = 5


@pytest.fixture(scope="module")
def chain() -> SignedChain:
    """Five epochs. m4 bonds in the first and votes from the third on, n0 takes its stake out and votes until then.

    The second epoch ends by a closing leaf.
    """
    chain = SignedChain()
    chain.extend(b"one", operations=[chain.bond(4, NEWCOMER), chain.unbond(0)])
    chain.extend(*[b"more"] * (EPOCH_BLOCKS - 1))
    chain.extend(*[b"more"] * EPOCH_BLOCKS, closing=2)
    chain.extend(*[b"more"] * (EPOCH_BLOCKS * (EPOCHS - 3) + 1), closing=0)
    return chain


def follow(chain: SignedChain, epochs: int) -> LightClient:
    """From genesis on."""
    client = LightClient(chain.network.context())
    for snapshot in chain.snapshots[:epochs]:
        client.follow(snapshot)
    return client


def test_t3_it_follows_stake_tables_that_change(chain: SignedChain) -> None:
    client = follow(chain, 2)
    assert client.context.stake_table == chain.contexts[2].stake_table
    assert client.context.stake_table.stakes == {1: STAKE, 2: STAKE, 3: STAKE, 4: NEWCOMER}
    assert client.context.genesis_qc == chain.contexts[2].genesis_qc
    client.follow(chain.snapshots[2])
    assert (client.context.epoch, client.epochs_followed) == (3, 3)
    assert client.checkpoint == Anchor(Epoch(2), chain.blocks[3 * EPOCH_BLOCKS].commitment)


def test_t5_from_a_checkpoint_it_gets_to_the_same_place(chain: SignedChain) -> None:
    whole = follow(chain, 3)
    client = LightClient(chain.network.context())
    assert client.checkpoint is None
    checkpoint = follow(chain, 2).checkpoint
    assert checkpoint is not None
    client.begin(checkpoint, chain.snapshots[1])
    client.follow(chain.snapshots[2])
    assert client.context.stake_table == whole.context.stake_table
    assert client.checkpoint == whole.checkpoint


def test_r6_a_block_is_final_by_its_own_certificate_or_by_that_of_a_descendant(chain: SignedChain) -> None:
    client = follow(chain, 2)
    first = 2 * EPOCH_BLOCKS + 1
    for height in range(first, first + EPOCH_BLOCKS):
        for up_to in range(height, first + EPOCH_BLOCKS):
            finality = chain.finality(height, up_to=up_to)
            assert verify_finality(client.context, decode_finality(encode_finality(finality))).height == height
    signed = compute_signed(client.context, chain.finality(first, voters=(1, 4)).fc)
    assert (signed.stake, signed.threshold, signed.total) == (NEWCOMER + STAKE, 47, 70)


def test_t2_the_last_block_of_an_epoch_is_final_by_the_certificate_of_a_closing_leaf(chain: SignedChain) -> None:
    snapshot = decode(chain.snapshots[1])
    assert isinstance(snapshot, Snapshot)
    assert len(snapshot.proof.path) == 2
    last = chain.blocks[2 * EPOCH_BLOCKS]
    finality = Finality((last.leaf, *snapshot.proof.path), snapshot.proof.fc)
    assert follow(chain, 1).verify(finality) == last.leaf


Bend = Callable[[SignedChain], Finality]
HEIGHT = 2 * EPOCH_BLOCKS + 2


def closing_leaf(chain: SignedChain) -> Finality:
    """A quorum has signed it, and yet it is no block: closing leaves are never decided."""
    snapshot = decode(chain.snapshots[1])
    assert isinstance(snapshot, Snapshot)
    return Finality(snapshot.proof.path[-1:], snapshot.proof.fc)


def swap_leaf(chain: SignedChain, index: int, **fields: object) -> Finality:
    finality = chain.finality(HEIGHT, up_to=HEIGHT + 2)
    leaves = list(finality.leaves)
    leaves[index] = msgspec.structs.replace(leaves[index], **fields)
    return Finality(tuple(leaves), finality.fc)


def forge(chain: SignedChain) -> Finality:
    """Signed by the right number of people who have no stake here."""
    stranger = SignedChain(seed=7)
    stranger.extend(*[b"more"] * HEIGHT)
    return stranger.finality(HEIGHT)


def without_qc(chain: SignedChain) -> Finality:
    finality = chain.finality(HEIGHT)
    other = chain.make_qc(chain.blocks[HEIGHT + 1])
    return Finality(finality.leaves, msgspec.structs.replace(finality.fc, qc=other))


def twice_the_same(chain: SignedChain) -> Finality:
    finality = chain.finality(HEIGHT, voters=(1, 2, 3))
    signature = finality.fc.proof[:64]
    return Finality(finality.leaves, msgspec.structs.replace(finality.fc, signers=b"\x0f", proof=signature * 4))


LIES: dict[str, tuple[Bend, str, str]] = {
    "the certificate of an earlier epoch": (lambda chain: chain.finality(EPOCH_BLOCKS + 1), "T1", "wrong_epoch"),
    "a replayed certificate over a leaf of this epoch": (
        lambda chain: Finality(chain.finality(HEIGHT).leaves, chain.finality(EPOCH_BLOCKS + 2).fc),
        "R6",
        "bad_path",
    ),
    "a quorum minus one": (lambda chain: chain.finality(HEIGHT, voters=(4,)), "P2", "no_quorum"),
    "three of four, who weigh too little": (lambda chain: chain.finality(HEIGHT, voters=(1, 2, 3)), "P2", "no_quorum"),
    "one signature four times": (twice_the_same, "P2", "bad_signature"),
    "strangers": (forge, "P2", "bad_signature"),
    "a path with a leaf cut out": (
        lambda chain: Finality(
            (chain.blocks[HEIGHT].leaf, chain.blocks[HEIGHT + 2].leaf), chain.make_fc(chain.blocks[HEIGHT + 2])
        ),
        "R6",
        "bad_path",
    ),
    "a path that ends too early": (
        lambda chain: Finality((chain.blocks[HEIGHT].leaf,), chain.make_fc(chain.blocks[HEIGHT + 1])),
        "R6",
        "bad_path",
    ),
    "another payload in the leaf": (lambda chain: swap_leaf(chain, 0, payload=bytes(32)), "R6", "bad_path"),
    "another leaf at the end": (lambda chain: swap_leaf(chain, -1, timestamp_ms=1), "R6", "bad_path"),
    "another height": (lambda chain: swap_leaf(chain, 0, height=HEIGHT - 1), "R6", "bad_path"),
    "a leaf of a later version": (lambda chain: swap_leaf(chain, 0, version=99), "P3", "bad_leaf"),
    "an FC with the QC of another leaf": (without_qc, "P2", "bad_certificate"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_does_not_follow_from_the_stake_table_is_refused_by_the_right_rule(chain: SignedChain, lie: str) -> None:
    bend, rule, reason = LIES[lie]
    with pytest.raises(ProofError) as caught:
        verify_finality(chain.contexts[2], bend(chain))
    assert (caught.value.rule, caught.value.reason) == (rule, reason)


def test_t2_a_closing_leaf_is_no_final_block_although_a_quorum_signed_it(chain: SignedChain) -> None:
    with pytest.raises(ProofError) as caught:
        verify_finality(chain.contexts[1], closing_leaf(chain))
    assert (caught.value.rule, caught.value.reason) == ("T2", "not_decided")


def test_p1_the_same_certificate_proves_nothing_on_another_network(chain: SignedChain) -> None:
    context = replace(chain.contexts[2], network_id=SignedChain(seed=1, name="other").context.network_id)
    with pytest.raises(ProofError, match="bad_signature"):
        verify_finality(context, chain.finality(HEIGHT))


def test_only_the_stake_table_is_believed(chain: SignedChain) -> None:
    """The same certificate under another table, even one that only weighs differently, is none."""
    context = chain.contexts[2]
    heavier = [replace(each, stake=1000 if each.id == ValidatorId(3) else each.stake) for each in context.stake_table]
    with pytest.raises(ProofError, match="no_quorum"):
        verify_finality(replace(context, stake_table=StakeTable.of(heavier)), chain.finality(HEIGHT, voters=(1, 2, 4)))
    strangers = SignedChain(seed=9).contexts[0].stake_table
    with pytest.raises(ProofError, match="P2"):
        verify_finality(replace(context, stake_table=strangers), chain.finality(HEIGHT))


def bend_snapshot(encoded: bytes, **fields: object) -> bytes:
    snapshot = decode(encoded)
    assert isinstance(snapshot, Snapshot)
    return encode(msgspec.structs.replace(snapshot, **fields))


def open_proof(encoded: bytes) -> Snapshot:
    snapshot = decode(encoded)
    assert isinstance(snapshot, Snapshot)
    return snapshot


def richer(chain: SignedChain, epoch: int) -> bytes:
    """The table of somebody's dreams, under the true proof."""
    state = chain._ledgers[(epoch + 1) * EPOCH_BLOCKS - 1].state
    return bend_snapshot(chain.snapshots[epoch], ledger=msgspec.msgpack.encode(msgspec.structs.replace(state, pool=9)))


def strangers_epoch(_chain: SignedChain) -> bytes:
    stranger = SignedChain(seed=7)
    stranger.extend(*[b"more"] * 2 * EPOCH_BLOCKS)
    return stranger.snapshots[1]


def impostors(chain: SignedChain) -> SignedChain:
    """A chain that is right in itself and signed for this network, by people who have no stake in it."""
    stranger = SignedChain(seed=7, network_id=chain.context.network_id)
    stranger.extend(*[b"more"] * 2 * EPOCH_BLOCKS)
    return stranger


def too_few(chain: SignedChain) -> bytes:
    last = chain.blocks[2 * EPOCH_BLOCKS]
    return bend_snapshot(chain.snapshots[1], proof=EpochProof(chain.make_fc(last, voters=(0, 1)), ()))


def cut_closing_path(chain: SignedChain) -> bytes:
    proof = open_proof(chain.snapshots[1]).proof
    return bend_snapshot(chain.snapshots[1], proof=EpochProof(proof.fc, proof.path[1:]))


EPOCH_LIES: dict[str, tuple[Callable[[SignedChain], bytes], str, str]] = {
    "an epoch that was proven before": (lambda chain: chain.snapshots[0], "T1", "wrong_epoch"),
    "an epoch that is to come": (lambda chain: chain.snapshots[2], "T1", "wrong_epoch"),
    "another table": (lambda chain: richer(chain, 1), "T5", "bad_snapshot"),
    "strangers": (strangers_epoch, "P2", "bad_signature"),
    "impostors with a stake table of their own": (lambda chain: impostors(chain).snapshots[1], "P2", "bad_signature"),
    "a quorum minus one": (too_few, "P2", "no_quorum"),
    "a cut path of closing leaves": (cut_closing_path, "T5", "bad_snapshot"),
    "another last leaf": (
        lambda chain: bend_snapshot(
            chain.snapshots[1], last=msgspec.structs.replace(open_proof(chain.snapshots[1]).last, view=View(99))
        ),
        "T5",
        "bad_snapshot",
    ),
    "a leaf in the middle of the epoch": (
        lambda chain: bend_snapshot(
            chain.snapshots[1],
            proof=EpochProof(chain.make_fc(chain.blocks[EPOCH_BLOCKS + 2]), ()),
            last=chain.blocks[EPOCH_BLOCKS + 2].leaf,
            parent=chain.blocks[EPOCH_BLOCKS + 1].leaf,
        ),
        "T5",
        "bad_snapshot",
    ),
    "no message at all": (lambda _chain: b"\xc1", "P4", "malformed"),
    "another message": (lambda _chain: encode(StatusRequest(Epoch(1), View(1))), "P4", "malformed"),
    "a byte too many": (lambda chain: chain.snapshots[1] + b"\0", "P4", "malformed"),
    "more than anybody needs": (lambda _chain: bytes(SNAPSHOT_ENCODED_BYTES_MAX + 1), "P4", "malformed"),
}


@pytest.mark.parametrize("lie", EPOCH_LIES)
def test_an_epoch_that_is_not_proven_is_not_entered(chain: SignedChain, lie: str) -> None:
    client = follow(chain, 1)
    before = client.context
    make, rule, reason = EPOCH_LIES[lie]
    with pytest.raises(ProofError) as caught:
        client.follow(make(chain))
    assert (caught.value.rule, caught.value.reason) == (rule, reason)
    assert (client.context, client.epochs_followed) == (before, 1), "what is refused changes nothing"
    client.follow(chain.snapshots[1])


def test_t5_a_checkpoint_is_believed_and_nothing_beside_it(chain: SignedChain) -> None:
    network: EpochContext = chain.network.context()
    last = chain.blocks[2 * EPOCH_BLOCKS]
    for anchor, snapshot in (
        (Anchor(Epoch(1), chain.blocks[2 * EPOCH_BLOCKS - 1].commitment), chain.snapshots[1]),
        (Anchor(Epoch(1), last.commitment), chain.snapshots[0]),
        (Anchor(Epoch(1), last.commitment), richer(chain, 1)),
        (Anchor(Epoch(2), last.commitment), chain.snapshots[1]),
    ):
        client = LightClient(network)
        with pytest.raises(ProofError):
            client.begin(anchor, snapshot)
        assert client.context is network


def test_what_a_path_may_hold_is_bounded(chain: SignedChain) -> None:
    leaf = chain.blocks[1].leaf
    encoded = msgspec.msgpack.encode(((leaf,) * 3000, chain.make_fc(chain.blocks[1])))
    with pytest.raises(ProofError, match="malformed"):
        decode_finality(encoded)
    finality = encode_finality(chain.finality(1))
    for bad in (b"", finality[:-1], finality + b"\0", finality.replace(b"\x01", b"\xcc\x01", 1)):
        with pytest.raises(ProofError, match="P4"):
            decode_finality(bad)


def test_the_chain_of_these_tests_is_what_it_says(chain: SignedChain) -> None:
    assert len(chain.snapshots) == EPOCHS - 1
    assert [compute_leaf_commitment(block.leaf) for block in chain.blocks] == [b.commitment for b in chain.blocks]
    assert len({context.stake_table for context in chain.contexts}) >= 2
