"""A home: the folder that holds a network file and one folder per node.

```
HOME/network.toml
HOME/treasury.key
HOME/n0/{node.toml, validator.key, node.db}
HOME/n1/…
```

A home is made once. Its network file is written last, so a folder without one is no home, whatever else is in it.
"""

import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from consensus.signatures import Signer
from consensus.stake_table import MAX_TOTAL_STAKE
from consensus.types import ValidatorId
from sequencer.config import NODE_FILE, ConfigError, LoadedNode, NodeConfig, load_node, render_toml
from sequencer.folders import sync_folder
from sequencer.keys import generate_key, write_key
from sequencer.network_config import (
    NAME_PATTERN,
    NETWORK_FILE,
    AccountConfig,
    ConsensusSection,
    EpochsSection,
    LeadershipSection,
    NetworkConfig,
    SlashingSection,
    TransactionsSection,
    ValidatorConfig,
    load_network,
)
from sequencer.ports import Address, parse_address

NODES_MAX = 100
"""Nodes of one home: as many as there are ports between those for peers and those for the API."""
API_PORT_OFFSET = NODES_MAX
"""The API of a node listens this far above the port for its peers."""
BASE_PORT = 27_600
"""Below the range from which systems take ports for outgoing connections, and in no common use."""
TREASURY = "treasury"
"""Account of the tokens that no stake holds yet."""
TREASURY_KEY_FILE = f"{TREASURY}.key"
DEFAULT_STAKE = 1_000_000
"""So much that the smallest fraction of a slash, 0.01 %, is not rounded down to nothing."""
DEFAULT_TREASURY = 1000 * DEFAULT_STAKE
"""In the default plan: as much as a thousand nodes have at stake, so there is always something to bond."""
NODES_DEFAULT = 4
"""The least number that outlives one dead node."""

_PORT_MAX = 65_535
_FOLDER_MODE = 0o700

CreateDatabase = Callable[[LoadedNode], None]
"""Makes a node's database with the record of a key that has never signed. Called once per key, ever (R8)."""


@dataclass(frozen=True, kw_only=True)
class HomePlan:
    """What to make. One node per stake, named n0, n1, …; node i listens on `base_port + i`, its API 100 above that."""

    stakes: tuple[int, ...] = (DEFAULT_STAKE,) * NODES_DEFAULT
    name: str = "local"
    host: str = "127.0.0.1"
    base_port: int = BASE_PORT
    treasury: int = DEFAULT_TREASURY
    """Free balance of the account whose key lies in the home; 0 makes neither."""
    consensus: ConsensusSection = field(default_factory=ConsensusSection)
    leadership: LeadershipSection = field(default_factory=LeadershipSection)
    slashing: SlashingSection = field(default_factory=SlashingSection)
    epochs: EpochsSection = field(default_factory=EpochsSection)
    transactions: TransactionsSection = field(default_factory=TransactionsSection)
    genesis_time_ms: int = field(default_factory=lambda: int(time.time() * 1000))

    def __post_init__(self) -> None:
        if not 1 <= len(self.stakes) <= NODES_MAX:
            raise ValueError(f"a home has 1 to {NODES_MAX} nodes, not {len(self.stakes)}")
        if min(self.stakes) < 1 or sum(self.stakes) > MAX_TOTAL_STAKE:
            raise ValueError(f"stakes are 1 or more, and {MAX_TOTAL_STAKE} or less together, not {self.stakes}")
        if not 0 <= self.treasury <= MAX_TOTAL_STAKE - sum(self.stakes):
            raise ValueError(f"stakes and treasury are at most {MAX_TOTAL_STAKE} together, not {self.treasury} more")
        if not re.fullmatch(NAME_PATTERN, self.name):
            raise ValueError(f'a name is made of a-z, 0-9, _ and -, at most 32 of them, not "{self.name}"')
        highest = self.base_port + API_PORT_OFFSET + len(self.stakes) - 1
        if self.base_port < 1 or highest > _PORT_MAX:
            raise ValueError(f"base port {self.base_port} needs ports up to {highest}; there are 1 to {_PORT_MAX}")
        parse_address(str(Address(self.host, self.base_port)))


def parse_stakes(nodes: int | None, stakes: str | None) -> tuple[int, ...]:
    """What --nodes and --stakes say together. Raises `ValueError`."""
    if stakes is None:
        return (DEFAULT_STAKE,) * (NODES_DEFAULT if nodes is None else nodes)
    try:
        parsed = tuple(map(int, stakes.split(",")))
    except ValueError as error:
        raise ValueError(f'--stakes takes whole numbers with commas between them, not "{stakes}"') from error
    if nodes is not None and nodes != len(parsed):
        raise ValueError(f"--nodes {nodes} and the {len(parsed)} entries of --stakes contradict each other; give one")
    return parsed


@dataclass(frozen=True)
class Home:
    """A network and the nodes of it that live here, in the order of the network file."""

    path: Path
    network: NetworkConfig
    nodes: tuple[LoadedNode, ...]

    @property
    def treasury_path(self) -> Path:
        """Key of the account with the tokens that are not staked. Not there in a home that was made without."""
        return self.path / TREASURY_KEY_FILE


def create_home(
    path: Path,
    plan: HomePlan,
    create_database: CreateDatabase,
) -> Home:
    """Make keys, files and databases.

    Raises `ConfigError` when there is anything at `path` already, and leaves nothing behind when it fails.
    """
    _check_vacant(path)
    existed = path.exists()
    signers = {f"n{index}": generate_key() for index in range(len(plan.stakes))}
    treasury = generate_key() if plan.treasury else None
    network = _make_network(plan, signers, treasury)
    path.mkdir(parents=True, exist_ok=True)
    try:
        nodes = []
        for index, (name, signer) in enumerate(signers.items()):
            node = LoadedNode(
                _make_node_config(plan, index),
                network,
                path / name,
                dict.fromkeys(NodeConfig.__struct_fields__, "default"),
            )
            _create_node(node, signer, create_database)
            nodes.append(node)
        if treasury is not None:
            write_key(path / TREASURY_KEY_FILE, treasury)
        (path / NETWORK_FILE).write_text(render_toml(network), encoding="utf-8")
    except BaseException:
        # No key of a half-made home has signed anything, so nothing is lost with it.
        for name in signers:
            shutil.rmtree(path / name, ignore_errors=True)
        (path / TREASURY_KEY_FILE).unlink(missing_ok=True)
        if not existed:
            shutil.rmtree(path, ignore_errors=True)
        raise
    return Home(path, network, tuple(nodes))


def load_home(path: Path, flags: Mapping[str, object] | None = None) -> Home:
    """The home at `path` with its nodes. `flags` apply to every node, and environment variables, which are for one,
    to none.

    Raises `ConfigError`.
    """
    network_path = path / NETWORK_FILE
    if not network_path.exists():
        raise ConfigError(path, None, f"this is no home: it has no {NETWORK_FILE}", "Make one with `sequencer init`")
    network = load_network(network_path)
    folders = [path / entry.name for entry in network.validators if (path / entry.name / NODE_FILE).exists()]
    joined = find_joined(path, network)
    nodes = [load_node(folder, flags=flags, environ={}) for folder in [*folders, *joined]]
    return Home(path, network, tuple(sorted(nodes, key=lambda node: node.validator_id)))


def find_joined(path: Path, network: NetworkConfig) -> list[Path]:
    """Folders of the nodes that were added to this home later."""
    names = {entry.name for entry in network.validators}
    return sorted(file.parent for file in path.glob(f"*/{NODE_FILE}") if file.parent.name not in names)


def add_node(home: Home, config: NodeConfig, signer: Signer, create_database: CreateDatabase) -> LoadedNode:
    """The folder of a validator that has bonded (J5); it appears as a whole, so whoever looks for it finds all of it.

    Raises `ConfigError` when there is one already.
    """
    folder = home.path / config.validator
    if folder.exists():
        raise ConfigError(folder, None, "there is a node already", "Choose another name")
    making = home.path / f".{config.validator}.new"
    shutil.rmtree(making, ignore_errors=True)
    origins = dict.fromkeys(NodeConfig.__struct_fields__, "default")
    _create_node(LoadedNode(config, home.network, making, origins), signer, create_database)
    making.rename(folder)
    sync_folder(home.path)
    return load_node(folder, environ={})


def remove_home(path: Path) -> None:
    """Delete a home, keys and chain included: the network file, the treasury's key, the folders of its nodes, and
    nothing else.

    Does nothing when there is no such folder. Raises `ConfigError` when the folder is no home.
    """
    if not path.exists():
        return
    home = load_home(path)
    for node in home.nodes:
        shutil.rmtree(node.folder)
    home.treasury_path.unlink(missing_ok=True)
    (path / NETWORK_FILE).unlink()
    if not any(path.iterdir()):
        path.rmdir()


def _check_vacant(path: Path) -> None:
    if (path / NETWORK_FILE).exists():
        action = "Start it, choose another folder with --home, or move this one away: its keys cannot be made again"
        raise ConfigError(path, None, "there is a home already", action)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(path, None, "is not an empty folder", "Choose another one with --home, or empty it")


def _make_network(plan: HomePlan, signers: Mapping[str, Signer], treasury: Signer | None) -> NetworkConfig:
    accounts = (
        (AccountConfig(name=TREASURY, public_key=treasury.public_key.hex(), balance=plan.treasury),) if treasury else ()
    )
    validators = tuple(
        ValidatorConfig(id=ValidatorId(index), name=name, public_key=signer.public_key.hex(), stake=stake)
        for index, ((name, signer), stake) in enumerate(zip(signers.items(), plan.stakes, strict=True))
    )
    return NetworkConfig(
        name=plan.name,
        genesis_time_ms=plan.genesis_time_ms,
        consensus=plan.consensus,
        leadership=plan.leadership,
        slashing=plan.slashing,
        epochs=plan.epochs,
        transactions=plan.transactions,
        accounts=accounts,
        validators=validators,
    )


def _make_node_config(plan: HomePlan, index: int) -> NodeConfig:
    port = plan.base_port + index
    return NodeConfig(
        validator=f"n{index}",
        listen=str(Address(plan.host, port)),
        api=str(Address(plan.host, port + API_PORT_OFFSET)),
        peers={
            f"n{peer}": str(Address(plan.host, plan.base_port + peer))
            for peer in range(len(plan.stakes))
            if peer != index
        },
    )


def _create_node(node: LoadedNode, signer: Signer, create_database: CreateDatabase) -> None:
    node.folder.mkdir(mode=_FOLDER_MODE)
    write_key(node.key_path, signer)
    (node.folder / NODE_FILE).write_text(render_toml(node.config), encoding="utf-8")
    create_database(node)
    sync_folder(node.folder)
