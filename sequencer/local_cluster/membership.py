"""A node joins a devnet, or leaves it, while the devnet runs (J5, T5).

Everything goes through what any staker could do: a bond or an unbond operation, handed in at a node's API. The process
that runs the devnet notices the new folder, or that one's settings are gone, and starts or ends the node.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sequencer.config import NODE_FILE, NodeConfig
from sequencer.databases import create_database
from sequencer.failures import CommandError, ExitCode
from sequencer.home import API_PORT_OFFSET, Home, add_node
from sequencer.keys import generate_key
from sequencer.local_cluster.home import FAULTS_FILE
from sequencer.ports import Address, PortUnavailableError, check_ports_free

if TYPE_CHECKING:
    from consensus.signatures import Signer

LEFT_SUFFIX: Final = ".left"
"""`node.toml.left`: the settings of a node that has left; its key and database stay."""
_NUMBERED = re.compile(r"n([0-9]+)")


@dataclass(frozen=True)
class Newcomer:
    """A node to be: its name, its addresses and its key, before the ledger knows it."""

    name: str
    listen: Address
    api: Address
    signer: "Signer"


def plan_newcomer(home: Home, name: str | None) -> Newcomer:
    """The next name and ports of this home. Raises `CommandError` when the name is taken or no port is free."""
    taken = {folder.name for folder in home.path.iterdir() if folder.is_dir()}
    taken |= {entry.name for entry in home.network.validators}
    numbers = [int(found[1]) for found in map(_NUMBERED.fullmatch, taken) if found]
    chosen = name or f"n{max(numbers, default=-1) + 1}"
    if chosen in taken:
        raise CommandError(f'{home.path} has a node "{chosen}" already; choose another --name', ExitCode.USAGE)
    host = home.nodes[0].listen.host
    used = {node.listen.port for node in home.nodes}
    for port in range(max(used) + 1, min(used) + API_PORT_OFFSET):
        listen, api = Address(host, port), Address(host, port + API_PORT_OFFSET)
        try:
            check_ports_free([listen, api])
        except PortUnavailableError:
            continue
        return Newcomer(chosen, listen, api, generate_key())
    raise CommandError(f"no port above {max(used)} is free for another node of {home.path}")


def make_node(home: Home, newcomer: Newcomer, validator_id: int, trusted: str) -> Path:
    """The newcomer's folder, once its bond is included and the ledger has given it a number.

    `trusted` is the end of an epoch with which its chain begins; empty to begin with genesis.
    """
    config = NodeConfig(
        validator=newcomer.name,
        validator_id=validator_id,
        trusted=trusted,
        faults=f"../{FAULTS_FILE}",
        listen=str(newcomer.listen),
        api=str(newcomer.api),
        peers={node.config.validator: str(node.listen) for node in home.nodes if not node.is_newcomer},
    )
    return add_node(home, config, newcomer.signer, create_database).folder


def take_out(home: Home, name: str) -> None:
    """The node has left the stake table: its process may end, and is not started again."""
    file = home.path / name / NODE_FILE
    file.rename(file.with_name(file.name + LEFT_SUFFIX))
