"""What a network agrees on, and what one node decides for itself: two files, two types.

`network.toml` is identical on all nodes; its hash is the network's identity and stands under every signature.
`node.toml` belongs to one node. Its settings may be overridden: flag > environment (SEQUENCER_…) > file > default, and
where each value came from is kept.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_type_hints

import msgspec
from msgspec import Meta

from consensus.types import ValidatorId
from sequencer.network_config import (
    NETWORK_FILE,
    Bytes,
    ConsensusSection,
    LeadershipSection,
    Name,
    NetworkConfig,
    Section,
    TransactionsSection,
    ValidatorConfig,
    load_network,
)
from sequencer.ports import Address, parse_address
from sequencer.toml_file import ConfigError, convert_table, describe_fields, describe_problem, read_table, render_toml

__all__ = [
    "NETWORK_FILE",
    "NODE_FILE",
    "Address",
    "ConfigError",
    "ConsensusSection",
    "LeadershipSection",
    "LoadedNode",
    "NetworkConfig",
    "NodeConfig",
    "Origin",
    "TransactionsSection",
    "ValidatorConfig",
    "describe_fields",
    "load_network",
    "load_node",
    "render_toml",
]

NODE_FILE = "node.toml"
ENVIRONMENT_PREFIX = "SEQUENCER_"


class NodeConfig(Section, frozen=True, kw_only=True):
    """node.toml. Relative paths start at the folder of the file; in a flag or variable, at the working directory."""

    validator: Annotated[Name, Meta(description="Which validator of the network this node is.")]
    validator_id: Annotated[
        int,
        Meta(
            ge=0,
            le=2**16 - 1,
            description="Its number, for one that joined later, as `sequencer stake show` tells it once its bond is "
            "included; 0 for a validator of the network file.",
        ),
    ] = 0
    network: Annotated[str, Meta(min_length=1, description="Path of the network file.")] = f"../{NETWORK_FILE}"
    key: Annotated[
        str, Meta(min_length=1, description="Path of the secret key: 64 hex digits, readable by its owner only.")
    ] = "validator.key"
    trusted: Annotated[
        str,
        Meta(
            description="Where a node without a chain begins: EPOCH:COMMITMENT of an epoch's last leaf that you trust, "
            "as another node's GET /v1/ledger tells it. Empty: at genesis, and all blocks since then are fetched."
        ),
    ] = ""
    database: Annotated[
        str, Meta(min_length=1, description="Path of the database. Never copy it between nodes, never delete it alone.")
    ] = "node.db"
    journal: Annotated[
        str,
        Meta(
            description="Folder for the node's journal: what it signs and decides, for `sequencer check trace`. "
            "A few KB a view; nothing is ever deleted from it. Empty: none is kept."
        ),
    ] = ""
    faults: Annotated[
        str,
        Meta(
            description="Path of the file with the faults that this cluster was given on purpose, JSON lines: the node "
            "shows them at GET /v1/faults. A devnet sets it. Empty: there is none."
        ),
    ] = ""
    listen: Annotated[str, Meta(description="Where peers reach this node, host:port.")] = "127.0.0.1:27600"
    api: Annotated[str, Meta(description="Where HTTP clients reach this node, host:port.")] = "127.0.0.1:27700"
    durability: Annotated[
        Literal["fsync", "os"],
        Meta(
            description='"fsync": a vote is on disk before it leaves, so it survives loss of power. "os": it is with '
            "the operating system; it survives a crash of the process but not of the machine, so only for trials."
        ),
    ] = "fsync"
    mempool_bytes_max: Annotated[
        Bytes,
        Meta(description="Pending transactions that are kept, in bytes; beyond it submissions are refused (429)."),
    ] = 128 * 1024 * 1024
    mempool_expiry_ms: Annotated[
        int,
        Meta(ge=1000, le=2**40, description="How long a transaction may stay pending, in ms; then it is forgotten."),
    ] = 300_000
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least severity that is written to stderr.")
    ] = "info"
    peers: Annotated[
        dict[str, str],
        Meta(description="Where each other validator listens, name = host:port. An entry for this node is ignored."),
    ] = {}  # noqa: RUF012 - msgspec copies it


Origin: TypeAlias = str
"""Where a value came from: "flag --listen", "environment SEQUENCER_LISTEN", the path of the file, or "default"."""


@dataclass(frozen=True)
class LoadedNode:
    """A node's settings with everything that they point at. `folder` is where node.toml lies."""

    config: NodeConfig
    network: NetworkConfig
    folder: Path
    origins: Mapping[str, Origin]

    @property
    def validator_id(self) -> ValidatorId:
        """As the network file says, or the ledger for one that joined later."""
        number = self.config.validator_id
        return ValidatorId(number) if number else self.network.id_of(self.config.validator)

    @property
    def is_newcomer(self) -> bool:
        """Whether it joined by an operation (J5) and does not stand in the network file."""
        return self.config.validator_id > 0

    @property
    def network_path(self) -> Path:
        return self._resolve("network")

    @property
    def key_path(self) -> Path:
        return self._resolve("key")

    @property
    def database_path(self) -> Path:
        return self._resolve("database")

    @property
    def journal_path(self) -> Path | None:
        return self._resolve("journal") if self.config.journal else None

    @property
    def faults_path(self) -> Path | None:
        return self._resolve("faults") if self.config.faults else None

    @property
    def listen(self) -> Address:
        return parse_address(self.config.listen)

    @property
    def api(self) -> Address:
        return parse_address(self.config.api)

    @property
    def peers(self) -> dict[ValidatorId, Address]:
        """Everyone else of the network."""
        return {
            self.network.id_of(name): parse_address(address)
            for name, address in self.config.peers.items()
            if name != self.config.validator
        }

    def _resolve(self, key: str) -> Path:
        return _resolve(getattr(self.config, key), self.folder, self.origins[key])


def load_node(
    path: Path, *, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] = os.environ
) -> LoadedNode:
    """Read a node's folder (or its node.toml) and the network file that it names.

    `flags` maps keys of `NodeConfig` to what was given on the command line; None means not given. Raises `ConfigError`.
    """
    file = path / NODE_FILE if path.is_dir() else path
    table = read_table(file, action=_say_where_nodes_are(path))
    origins: dict[str, Origin] = {
        name: str(file) if name in table else "default" for name in NodeConfig.__struct_fields__
    }
    for name, value, origin in _read_overrides(flags or {}, environ):
        table[name], origins[name] = value, origin
    config = convert_table(table, NodeConfig, file)
    network = load_network(_resolve(config.network, file.parent, origins["network"]))
    _check_node(config, network, origins)
    return LoadedNode(config, network, file.parent, origins)


def _read_overrides(flags: Mapping[str, object], environ: Mapping[str, str]) -> Iterable[tuple[str, Any, Origin]]:
    hints = get_type_hints(NodeConfig, include_extras=True)
    for name, hint in hints.items():
        variable = f"{ENVIRONMENT_PREFIX}{name.upper()}"
        if flags.get(name) is not None:
            flag = "--" + name.replace("_", "-")
            yield name, _convert_override(flags[name], hint, flag), f"flag {flag}"
        elif variable in environ:
            yield name, _convert_override(environ[variable], hint, variable), f"environment {variable}"


def _convert_override(value: object, hint: Any, source: str) -> Any:
    if isinstance(value, str) and hint == get_type_hints(NodeConfig, include_extras=True)["peers"]:
        value = _parse_peers(value, source)
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(source, None, describe_problem(str(error), hint, value)) from error


def _parse_peers(text: str, source: str) -> dict[str, str]:
    peers: dict[str, str] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        name, found, address = entry.partition("=")
        if not found:
            raise ConfigError(source, None, f'expected "n1=host:port,n2=host:port", got "{entry}"')
        peers[name.strip()] = address.strip()
    return peers


def _check_node(config: NodeConfig, network: NetworkConfig, origins: Mapping[str, Origin]) -> None:
    """What no type can say: names that exist, addresses that parse, a way to every peer."""
    names = [entry.name for entry in network.validators]
    _check_identity(config, network, origins)
    if config.trusted:
        _check_anchor(origins["trusted"], config.trusted)
    for key in ("listen", "api"):
        _check_address(origins[key], key, getattr(config, key))
    for name, address in config.peers.items():
        if name not in names:
            raise ConfigError(
                origins["peers"],
                f"peers.{name}",
                f'the network "{network.name}" has no such validator',
                f"It has {', '.join(names)}",
            )
        _check_address(origins["peers"], f"peers.{name}", address)
    for name in names:
        if name != config.validator and name not in config.peers:
            raise ConfigError(
                origins["peers"],
                f"peers.{name}",
                "is missing, and every node connects to every other",
                f'Add {name} = "host:port" under [peers]',
            )


def _check_identity(config: NodeConfig, network: NetworkConfig, origins: Mapping[str, Origin]) -> None:
    """A validator of the network file goes by its name there; one that joined later has a name and a number else."""
    known = {entry.name: entry.id for entry in network.validators}
    if not config.validator_id and config.validator not in known:
        raise ConfigError(
            origins["validator"],
            "validator",
            f'the network "{network.name}" has no "{config.validator}"',
            f"It has {', '.join(known)}. For a validator that joined later set validator_id as well",
        )
    if config.validator_id and (config.validator in known or config.validator_id in known.values()):
        raise ConfigError(
            origins["validator_id"],
            "validator_id",
            "is for validators that joined later: this name or number stands in the network file",
            "Leave it out, or correct `validator`",
        )


def _check_anchor(source: Origin, text: str) -> None:
    from sequencer.anchor import parse_anchor

    try:
        parse_anchor(text)
    except ValueError as error:
        raise ConfigError(source, None if _is_from_command(source) else "trusted", str(error)) from error


def _check_address(source: Origin, key: str, text: str) -> None:
    try:
        parse_address(text)
    except ValueError as error:
        # The flag or variable of a key names it already.
        is_named = _is_from_command(source) and key in NodeConfig.__struct_fields__
        raise ConfigError(source, None if is_named else key, str(error)) from error


def _resolve(text: str, folder: Path, origin: Origin) -> Path:
    return Path(text) if _is_from_command(origin) else folder / text


def _is_from_command(origin: Origin) -> bool:
    return origin.startswith(("flag ", "environment "))


def _say_where_nodes_are(path: Path) -> str:
    """What to do about a folder without node.toml."""
    nodes = sorted(file.parent for file in path.glob(f"*/{NODE_FILE}"))
    if nodes:
        return f"This folder holds {len(nodes)} nodes: give one of theirs, such as {nodes[0]}"
    return "`sequencer init` writes one per node; give its folder"
