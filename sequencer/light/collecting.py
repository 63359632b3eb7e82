"""Asking a node for what a question takes, and checking each piece as it comes."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import msgspec

from consensus.catchup import RANGE_PATH_BYTES_MAX
from consensus.context import EpochContext
from sequencer.anchor import Anchor
from sequencer.client import calls
from sequencer.client.calls import Call
from sequencer.client.errors import ApiProblem
from sequencer.failures import CommandError, ExitCode
from sequencer.light.bundle import BlockProof, Bundle, make_checkpoint
from sequencer.light.errors import ProofError
from sequencer.light.examination import Examination, Proven, TransactionPlace
from sequencer.light.finality import Finality, decode_finality
from sequencer.light.light_client import SNAPSHOT_ENCODED_BYTES_MAX
from sequencer.light.payload_proof import PayloadProof, parse_proof
from sequencer.light.questions import BlockAt, BlockNamed, LatestBlock, NamespaceRange, Question, TransactionIn
from sequencer.light.source import NodeSource
from sequencer.network_sections import PAYLOAD_BYTES_LIMIT

FINALITY_BYTES_MAX: Final = 3 * RANGE_PATH_BYTES_MAX
"""A path as long as nodes serve each other, with the leaf below and the FC above it, and room."""

PAYLOAD_JSON_BYTES_MAX: Final = 6 * PAYLOAD_BYTES_LIMIT
"""A payload of one namespace stands there twice as hexadecimal digits, and the rest is small."""

STATUS_BYTES_MAX: Final = 1024 * 1024
PROBLEM_CHARACTERS_MAX: Final = 400


class _Network(msgspec.Struct):
    """All that matters of a node's status."""

    network_id: str


_ASK_NETWORK: Final = Call("GET", "/v1/status", partial(msgspec.json.decode, type=_Network))


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
    for block_id, proof, place in _find_blocks(source, question):
        with _inconclusive():
            finality = source.send(_ask_finality(block_id), FINALITY_BYTES_MAX)
        _follow(source, examination, finality, snapshots)
        examination.take_block(finality, proof, place)
        blocks.append(BlockProof(finality, proof, place))
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
        named = source.send(_ASK_NETWORK, STATUS_BYTES_MAX).network_id
    if named != "0x" + network.network_id.hex():
        detail = f"{source.url} is a node of the network {named[:80]!r}, not of this one"
        raise ProofError("P1", "wrong_network", detail)


def _find_blocks(
    source: NodeSource, question: Question
) -> Iterator[tuple[str, PayloadProof | None, TransactionPlace | None]]:
    """As they stand in an address, in order of height, each with what its payload is said to have."""
    match question:
        case LatestBlock():
            yield "latest", None, None
        case BlockAt(height=height):
            yield str(height), None, None
        case BlockNamed(hash=hash_):
            yield hash_.hex(), None, None
        case TransactionIn(hash=hash_):
            with _inconclusive():
                shown = source.send(calls.transaction_proof(hash_.hex()), PAYLOAD_JSON_BYTES_MAX)
            yield (
                str(shown.height),
                parse_proof(shown.proof),
                TransactionPlace(shown.namespace, shown.position_in_namespace),
            )
        case NamespaceRange(namespace=namespace, first=first, last=last):
            for number in range(first, last + 1):
                with _inconclusive():
                    answer = source.send(calls.namespace(namespace, number), PAYLOAD_JSON_BYTES_MAX)
                yield str(number), parse_proof(answer.proof), None


def _ask_finality(block_id: str) -> Call[Finality]:
    """In its canonical encoding."""
    return Call("GET", f"/v1/blocks/{block_id}/finality", decode_finality, accept=calls.OCTETS)


def _follow(source: NodeSource, examination: Examination, finality: Finality, snapshots: list[bytes]) -> None:
    """Up to the epoch of which the block is said to be."""
    epoch = finality.leaves[0].epoch
    while not examination.has_begun or examination.epoch < epoch:
        with _inconclusive():
            encoded = source.send(calls.snapshot(examination.needed_snapshot), SNAPSHOT_ENCODED_BYTES_MAX)
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
        # A stranger's words on somebody's terminal: no more of them than can be read, and nothing that is not text.
        words = "".join(each if each.isprintable() else "?" for each in str(problem)[:PROBLEM_CHARACTERS_MAX])
        raise CommandError(words, ExitCode.INCONCLUSIVE) from problem
