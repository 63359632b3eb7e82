"""`sequencer verify`: what is final, proven with a network file and nothing else."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sequencer.cli.output import OutputFormat, OutputOption, print_json, talk
from sequencer.cli.status import DEFAULT_HOME, resolve_urls
from sequencer.failures import CommandError, ExitCode
from sequencer.payload_format import NAMESPACE_MAX

if TYPE_CHECKING:
    from sequencer.anchor import Anchor
    from sequencer.light.bundle import Bundle
    from sequencer.light.examination import Proven
    from sequencer.light.questions import Question
    from sequencer.network_config import NetworkConfig


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
    transaction: Annotated[
        str | None, typer.Option(metavar="HASH", help="Prove that this transaction is final.", show_default="none")
    ] = None,
    namespace: Annotated[
        int | None,
        typer.Option(
            help="Prove what all transactions of this namespace are in some blocks.",
            min=0,
            max=NAMESPACE_MAX,
            show_default="none",
        ),
    ] = None,
    from_: Annotated[
        int | None, typer.Option("--from", help="Height of the first of these blocks.", min=1, show_default="none")
    ] = None,
    to: Annotated[
        int | None, typer.Option("--to", help="Height of the last of them.", min=1, show_default="the first")
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

    Follows the stake tables from epoch to epoch and checks every certificate on the way.

    Ends with 0 when it is proven, 1 when what was presented is wrong, 3 when nothing proves it (yet), 4 without a node.
    """
    from sequencer.cli.verified import describe_proven, show_proven
    from sequencer.cli.verify_question import read_question
    from sequencer.light.errors import ProofError
    from sequencer.light.questions import LatestBlock

    question, trusted = read_question(block, transaction, namespace, from_, to), _parse_checkpoint(checkpoint)
    if file is not None and question != LatestBlock():
        raise CommandError(
            "a saved proof answers the question that it was made for: leave out --block, --transaction, --namespace",
            ExitCode.USAGE,
        )
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
        print_json(describe_proven(proven, config))
    else:
        show_proven(proven, config)


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


def _collect(
    nodes: list[tuple[str, str]],
    config: "NetworkConfig",
    trusted: "Anchor | None",
    question: "Question",
    seconds: float,
) -> "tuple[Bundle, Proven]":
    from sequencer.client.errors import Unreachable
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
