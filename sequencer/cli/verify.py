"""`sequencer verify`: what is final, proven with a network file and nothing else."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sequencer.cli.output import OutputFormat, OutputOption, print_json, print_rows, talk
from sequencer.cli.status import DEFAULT_HOME, resolve_urls
from sequencer.failures import CommandError, ExitCode

if TYPE_CHECKING:
    from sequencer.anchor import Anchor
    from sequencer.light.bundle import Bundle
    from sequencer.light.examination import Proven, ProvenBlock
    from sequencer.light.questions import Question
    from sequencer.network_config import NetworkConfig

HASH_DIGITS = 64
BLOCKS_SHOWN_MAX = 20
"""Rows of a table; the JSON has all."""


def verify(
    file: Annotated[
        Path | None, typer.Argument(help="A saved proof: check that, and ask no node.", show_default="ask a node")
    ] = None,
    network: Annotated[
        Path | None,
        typer.Option(
            help="The network file: what you trust.", envvar="SEQUENCER_NETWORK", show_default="the one in the home"
        ),
    ] = None,
    checkpoint: Annotated[
        str,
        typer.Option(
            metavar="EPOCH:HASH", help="Trust that this leaf ended this epoch, and begin there.", show_default="genesis"
        ),
    ] = "",
    block: Annotated[
        str | None,
        typer.Option(help="Prove that this block is final: height, hash or latest.", show_default="latest"),
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option(
            help="A node's API; when several are given, the first that can be reached is asked.",
            envvar="SEQUENCER_URL",
        ),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Use the network file and a node of this home.", envvar="SEQUENCER_HOME", show_default="./devnet"
        ),
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the proof to this file, to be checked anywhere.")] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds that collecting the proof may take.", min=0.1, max=3600)
    ] = 60.0,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Prove what is final, and believe no node: only the network file, or a checkpoint of its chain.

    Follows the stake tables from epoch to epoch and checks every certificate. Ends with 0 when it is proven, with 1
    when what was presented is wrong, with 3 when there is nothing (yet) to prove it with, with 4 when no node can be
    reached.
    """
    from sequencer.light.errors import ProofError

    if file is not None and block is not None:
        raise CommandError("a saved proof answers the question it was made for: leave out --block", ExitCode.USAGE)
    question, trusted = _parse_question(block), _parse_checkpoint(checkpoint)
    config = _load_network(network, home)
    try:
        if file is None:
            bundle, proven = _collect(resolve_urls(url, home), config, trusted, question, timeout)
        else:
            bundle, proven = _check(file, config, trusted)
    except ProofError as error:
        if output is OutputFormat.JSON:
            print_json({"outcome": "refuted", "rule": error.rule, "reason": error.reason, "detail": error.detail})
        raise CommandError(f"not proven. {error}. {_advise(file)}") from error
    except CommandError as error:
        if output is OutputFormat.JSON and error.exit_code is ExitCode.INCONCLUSIVE:
            print_json({"outcome": "inconclusive", "detail": str(error)})
        raise
    if save is not None:
        _save(bundle, save)
    if output is OutputFormat.JSON:
        print_json(_describe(proven, config))
    else:
        _show(proven, config)


def _load_network(network: Path | None, home: Path | None) -> "NetworkConfig":
    from sequencer.network_config import NETWORK_FILE, load_network

    if network is None and home is None and not (DEFAULT_HOME / NETWORK_FILE).exists():
        raise CommandError(
            "there is nothing to trust. Give the network file, which everybody of the network has, with --network; its "
            "network id is what every signature is checked against",
            ExitCode.USAGE,
        )
    return load_network(network or (home or DEFAULT_HOME) / NETWORK_FILE)


def _parse_checkpoint(text: str) -> "Anchor | None":
    from sequencer.anchor import parse_anchor

    if not text:
        return None
    try:
        return parse_anchor(text)
    except ValueError as error:
        raise CommandError(f"--checkpoint: {error}", ExitCode.USAGE) from error


def _parse_question(block: str | None) -> "Question":
    from consensus.types import Commitment, Height
    from sequencer.light.questions import HEIGHT_MAX, BlockAt, BlockNamed, LatestBlock

    if block is None or block == "latest":
        return LatestBlock()
    if block.isascii() and block.isdigit() and len(block) < HASH_DIGITS and 0 < int(block) <= HEIGHT_MAX:
        return BlockAt(Height(int(block)))
    if block == "0":
        raise CommandError("the block at height 0 needs no proof: it follows from the network file", ExitCode.USAGE)
    digits = block.removeprefix("0x").lower()
    if len(digits) != HASH_DIGITS or set(digits) - set("0123456789abcdef"):
        raise CommandError(f'--block: "{block}" is none of: a height, {HASH_DIGITS} hex digits, latest', ExitCode.USAGE)
    return BlockNamed(Commitment(bytes.fromhex(digits)))


def _collect(
    nodes: list[tuple[str, str]],
    config: "NetworkConfig",
    trusted: "Anchor | None",
    question: "Question",
    seconds: float,
) -> "tuple[Bundle, Proven]":
    from sequencer.api_client import Unreachable
    from sequencer.light.collecting import collect
    from sequencer.light.source import NodeSource

    context = config.context()
    for _, url in nodes[:-1]:
        try:
            with NodeSource(url, seconds=seconds) as source:
                return collect(source, context, trusted, question)
        except Unreachable as error:
            talk(f"{url} does not answer ({error.reason}), asking the next one")
    with NodeSource(nodes[-1][1], seconds=seconds) as source:
        return collect(source, context, trusted, question)


def _check(file: Path, config: "NetworkConfig", trusted: "Anchor | None") -> "tuple[Bundle, Proven]":
    from sequencer.anchor import Anchor
    from sequencer.light.bundle import BUNDLE_BYTES_MAX, decode_bundle, verify_bundle

    with file.open("rb") as stream:
        bundle = decode_bundle(stream.read(BUNDLE_BYTES_MAX + 1))
    if bundle.checkpoint is not None and trusted is None:
        anchor = Anchor(bundle.checkpoint.epoch, bundle.checkpoint.leaf)
        raise CommandError(
            f"{file} begins with a checkpoint and not with genesis. If you trust that {anchor} is right, say so: "
            f"--checkpoint {anchor}",
            ExitCode.INCONCLUSIVE,
        )
    return bundle, verify_bundle(bundle, config.context(), trusted)


def _save(bundle: "Bundle", path: Path) -> None:
    from sequencer.light.bundle import BUNDLE_BYTES_MAX, encode_bundle

    encoded = encode_bundle(bundle)
    if len(encoded) > BUNDLE_BYTES_MAX:
        raise CommandError(
            f"the proof has {len(encoded)} bytes, and files of more than {BUNDLE_BYTES_MAX} are not read. Begin later "
            "in the chain, with --checkpoint"
        )
    path.write_bytes(encoded)
    talk(f"the proof is in {path} ({len(encoded)} bytes); check it anywhere with: sequencer verify {path} --network …")


def _advise(file: Path | None) -> str:
    if file is not None:
        return "The file is damaged, was made for another network, or somebody lies"
    return "Either the node lies, or it is not of the network in your network file: ask another one"


def _describe(proven: "Proven", config: "NetworkConfig") -> dict[str, Any]:
    from sequencer.light.questions import describe_question

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
    }


def _show(proven: "Proven", config: "NetworkConfig") -> None:
    from sequencer.light.questions import describe_question

    anchor, epochs = proven.trusted, proven.epochs_followed
    trusted = "the network file alone" if anchor is None else f"that 0x{anchor.leaf.hex()} ended epoch {anchor.epoch}"
    rows: list[tuple[str, str]] = [
        ("proven", describe_question(proven.question)),
        ("network", f"{config.name}, 0x{proven.network_id.hex()}"),
        ("trusted", trusted),
        ("epochs", f"{epochs} followed, each ended by a quorum of its own stake table" if epochs else "none to follow"),
    ]
    rows += [(f"block {block.leaf.height}", _tell(block)) for block in proven.blocks[:BLOCKS_SHOWN_MAX]]
    if proven.checkpoint is not None:
        rows.append(("checkpoint", str(proven.checkpoint)))
    print_rows(("what", "how"), rows)
    if proven.checkpoint is not None:
        talk(f"go on from here the next time with: --checkpoint {proven.checkpoint}")


def _tell(block: "ProvenBlock") -> str:
    leaf, signed = block.leaf, block.signed
    proposed = datetime.fromtimestamp(leaf.timestamp_ms / 1000, UTC).isoformat(sep=" ", timespec="seconds")
    via = "" if block.certified is leaf else f" over the block at height {block.certified.height}"
    return (
        f"0x{block.hash.hex()}, epoch {leaf.epoch}, view {leaf.view}, proposed {proposed}; certificate of "
        f"{signed.stake} of {signed.total} stake ({signed.threshold} needed){via}"
    )
