"""Asking a node for what a question takes, and checking each piece as it comes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from consensus.catchup import RANGE_PATH_BYTES_MAX
from consensus.context import EpochContext
from sequencer.anchor import Anchor
from sequencer.api_client import ApiProblem
from sequencer.failures import CommandError, ExitCode
from sequencer.light.bundle import BlockProof, Bundle, make_checkpoint
from sequencer.light.errors import ProofError
from sequencer.light.examination import Examination, Proven
from sequencer.light.finality import Finality, decode_finality
from sequencer.light.light_client import SNAPSHOT_ENCODED_BYTES_MAX
from sequencer.light.questions import BlockAt, BlockNamed, LatestBlock, Question
from sequencer.light.source import NodeSource

FINALITY_BYTES_MAX: Final = 3 * RANGE_PATH_BYTES_MAX
"""A path as long as nodes serve each other, with the leaf below and the FC above it, and room."""


def collect(
    source: NodeSource, network: EpochContext, trusted: Anchor | None, question: Question
) -> tuple[Bundle, Proven]:
    """The proof and what it proves. Raises `ProofError` for the first piece that does not follow, and `CommandError`
    with `INCONCLUSIVE` for what this node does not have, or not yet.
    """
    _check_network(source, network)
    examination = Examination(network, trusted, question)
    snapshots: list[bytes] = []
    blocks: list[BlockProof] = []
    for block_id in _find_blocks(source, question):
        with _inconclusive():
            encoded = source.get_raw(f"/v1/blocks/{block_id}/finality", FINALITY_BYTES_MAX)
        finality = decode_finality(encoded)
        _follow(source, examination, finality, snapshots)
        examination.take_block(finality)
        blocks.append(BlockProof(finality))
    bundle = Bundle(
        "sequencer-proof/1",
        examination.network.network_id,
        make_checkpoint(trusted),
        question,
        tuple(snapshots),
        tuple(blocks),
    )
    return bundle, examination.conclude()


def _check_network(source: NodeSource, network: EpochContext) -> None:
    """To say so in plain words: the signatures would not be valid anyway."""
    with _inconclusive():
        named = source.get_json("/v1/status").get("network_id")
    if named != "0x" + network.network_id.hex():
        raise ProofError("P1", "wrong_network", f"{source.url} is a node of the network {named}, not of this one")


def _find_blocks(source: NodeSource, question: Question) -> Iterator[str]:
    """As they stand in an address, in order of height."""
    match question:
        case LatestBlock():
            yield "latest"
        case BlockAt(height=height):
            yield str(height)
        case BlockNamed(hash=hash_):
            yield hash_.hex()


def _follow(source: NodeSource, examination: Examination, finality: Finality, snapshots: list[bytes]) -> None:
    """Up to the epoch of which the block is said to be."""
    epoch = finality.leaves[0].epoch
    while not examination.has_begun or examination.epoch < epoch:
        with _inconclusive():
            path = f"/v1/epochs/{examination.needed_snapshot}/snapshot"
            encoded = source.get_raw(path, SNAPSHOT_ENCODED_BYTES_MAX)
        examination.take_snapshot(encoded)
        snapshots.append(encoded)
    if epoch < examination.epoch:
        raise CommandError(
            f"the block is of epoch {epoch}, and the checkpoint comes after it. Begin with an earlier checkpoint, or "
            "with genesis: leave out --checkpoint",
            ExitCode.INCONCLUSIVE,
        )


@contextmanager
def _inconclusive() -> Iterator[None]:
    """What a node says it does not have refutes nothing."""
    try:
        yield
    except ApiProblem as problem:
        raise CommandError(str(problem), ExitCode.INCONCLUSIVE) from problem
