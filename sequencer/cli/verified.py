"""What `sequencer verify` has proven, for people and for programs."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sequencer.cli.output import talk
from sequencer.light.questions import NamespaceRange, TransactionIn, describe_question

if TYPE_CHECKING:
    from sequencer.light.examination import Proven, ProvenBlock
    from sequencer.network_config import NetworkConfig

BLOCKS_SHOWN_MAX: Final = 20
"""Rows of a table; the JSON has all."""


def describe_proven(proven: "Proven", config: "NetworkConfig") -> dict[str, Any]:
    return {
        "outcome": "proven",
        "proven": describe_question(proven.question),
        "network": config.name,
        "network_id": "0x" + proven.network_id.hex(),
        "trusted": "genesis" if proven.trusted is None else str(proven.trusted),
        "epochs_followed": proven.epochs_followed,
        "certificates_verified": proven.epochs_followed + len(proven.blocks),
        "blocks": list(map(_describe_block, proven.blocks)),
        "checkpoint": None if proven.checkpoint is None else str(proven.checkpoint),
    }


def _describe_block(block: "ProvenBlock") -> dict[str, Any]:
    leaf = block.leaf
    return {
        "height": leaf.height,
        "hash": "0x" + block.hash.hex(),
        "epoch": leaf.epoch,
        "view": leaf.view,
        "timestamp_ms": leaf.timestamp_ms,
        "certified_height": block.certified.height,
        "stake": block.signed.stake,
        "threshold": block.signed.threshold,
        "total_stake": block.signed.total,
    } | _describe_transactions(block)


def _describe_transactions(block: "ProvenBlock") -> dict[str, Any]:
    if block.namespace is None:
        return {}
    return {
        "namespace": block.namespace,
        "transactions": ["0x" + transaction.hex() for transaction in block.transactions],
    }


def show_proven(proven: "Proven", config: "NetworkConfig") -> None:
    anchor, epochs = proven.trusted, proven.epochs_followed
    trusted = "the network file alone" if anchor is None else f"that 0x{anchor.leaf.hex()} ended epoch {anchor.epoch}"
    rows: list[tuple[str, str]] = [
        ("proven", describe_question(proven.question)),
        ("network", f"{config.name}, 0x{proven.network_id.hex()}"),
        ("trusted", trusted),
        ("epochs", f"{epochs} followed, each ended by a quorum of its own stake table" if epochs else "none to follow"),
    ]
    for block in proven.blocks[:BLOCKS_SHOWN_MAX]:
        rows += [(f"block {block.leaf.height}", f"0x{block.hash.hex()}"), ("", _tell(block))]
    if len(proven.blocks) > BLOCKS_SHOWN_MAX:
        rows.append(("blocks", f"{len(proven.blocks) - BLOCKS_SHOWN_MAX} more: -o json has all"))
    rows += _tell_transactions(proven)
    if proven.checkpoint is not None:
        rows.append(("checkpoint", str(proven.checkpoint)))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {value}")
    if proven.checkpoint is not None:
        talk(f"go on from here the next time with: --checkpoint {proven.checkpoint}")


def _tell(block: "ProvenBlock") -> str:
    leaf, signed = block.leaf, block.signed
    proposed = datetime.fromtimestamp(leaf.timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    via = "" if block.certified is leaf else f" for the block at height {block.certified.height}"
    stake = f"{signed.stake} of {signed.total} stake signed, {signed.threshold} needed"
    return f"epoch {leaf.epoch}, view {leaf.view}, proposed {proposed}; {stake}{via}"


def _tell_transactions(proven: "Proven") -> list[tuple[str, str]]:
    found = [(block, transaction) for block in proven.blocks for transaction in block.transactions]
    match proven.question:
        case TransactionIn():
            ((block, transaction),) = found
            where = f"in block {block.leaf.height}, {len(transaction)} bytes of namespace {block.namespace}"
            return [("transaction", where)]
        case NamespaceRange(namespace=namespace):
            size = sum(len(transaction) for _, transaction in found)
            return [("transactions", f"{len(found)} of namespace {namespace}, {size} bytes; -o json has them")]
        case _:
            return []
