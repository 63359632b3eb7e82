"""Asking a node for what a question takes, and checking each piece as it comes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import msgspec

from consensus.catchup import RANGE_PATH_BYTES_MAX
from consensus.context import EpochContext
from sequencer.anchor import Anchor
from sequencer.api_client import ApiProblem
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
from sequencer.schema.namespaces import NamespaceJson, TransactionProofJson

FINALITY_BYTES_MAX: Final = 3 * RANGE_PATH_BYTES_MAX
"""A path as long as nodes serve each other, with the leaf below and the FC above it, and room."""

PAYLOAD_JSON_BYTES_MAX: Final = 6 * PAYLOAD_BYTES_LIMIT
"""A payload of one namespace stands there twice as hexadecimal digits, and the rest is small."""

Shape = TypeVar("Shape", bound=msgspec.Struct)


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
            encoded = source.get_raw(f"/v1/blocks/{block_id}/finality", FINALITY_BYTES_MAX)
        finality = decode_finality(encoded)
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
        named = source.get_json("/v1/status").get("network_id")
    if named != "0x" + network.network_id.hex():
        raise ProofError("P1", "wrong_network", f"{source.url} is a node of the network {named}, not of this one")


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
            shown = _ask(source, f"/v1/transactions/{hash_.hex()}/proof", TransactionProofJson)
            yield (
                str(shown.height),
                parse_proof(shown.proof),
                TransactionPlace(shown.namespace, shown.position_in_namespace),
            )
        case NamespaceRange(namespace=namespace, first=first, last=last):
            for number in range(first, last + 1):
                answer = _ask(source, f"/v1/blocks/{number}/namespaces/{namespace}", NamespaceJson)
                yield str(number), parse_proof(answer.proof), None


def _ask(source: NodeSource, path: str, shape: type[Shape]) -> Shape:
    with _inconclusive():
        body = source.get_json_bytes(path, PAYLOAD_JSON_BYTES_MAX)
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProofError("P4", "malformed", f"the answer at {path} cannot be read: {error}") from error


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
