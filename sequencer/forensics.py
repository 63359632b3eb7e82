"""Whether the databases of some nodes hold one chain, and who broke the rules if they do not."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from consensus.evidence import Evidence, compute_evidence_id, get_rule
from consensus.forensics import compute_offending_stake, examine
from consensus.signatures.ed25519 import Ed25519
from consensus.stake_table import StakeTable
from consensus.types import Commitment, Epoch, Height, ValidatorId
from consensus.watch import get_view
from sequencer.config import NODE_FILE, load_network, load_node
from sequencer.directory import Directory
from sequencer.failures import CommandError
from sequencer.home import load_home
from sequencer.network_config import NETWORK_FILE, NetworkConfig
from sequencer.storage.archive import Archive

HEIGHTS_DEFAULT: Final = 10_000
"""How far below the fork, or below the end of the shortest chain, to look unless told: a few seconds' work."""

_MEANINGS: Final = {
    "E1": "two proposals in one view",
    "E2": "two votes in one view",
    "E3": "two finalize votes in one view",
    "E4": "timed out as if it had not finalized",
    "E5": "voted for a leaf that undoes a certified one",
}


@dataclass(frozen=True, slots=True)
class Fork:
    """At `height` these databases hold different decided leaves. Below it they agree."""

    height: Height
    sides: dict[Commitment, tuple[Archive, ...]]
    """By the leaf."""


@dataclass(frozen=True, slots=True)
class Investigation:
    """What came out. `tables` holds the stake tables of every epoch that was looked at."""

    archives: tuple[Archive, ...]
    directory: Directory
    tables: tuple[tuple[Epoch, StakeTable], ...]
    from_height: Height
    fork: Fork | None
    found: tuple[Evidence, ...]

    def describe(self) -> dict[str, Any]:
        """As `sequencer forensics -o json` prints it."""
        return {
            "databases": [
                {
                    "path": str(archive.path),
                    "validator": self.directory.name_of(archive.validator_id),
                    "height": archive.height,
                }
                for archive in self.archives
            ],
            "from_height": self.from_height,
            "fork": None if self.fork is None else _describe_fork(self.fork),
            "offences": [self._describe_offence(evidence) for evidence in self.found],
            "epochs": [self._describe_epoch(epoch) for epoch in sorted({evidence.epoch for evidence in self.found})],
        }

    def _describe_offence(self, evidence: Evidence) -> dict[str, Any]:
        offender, rule = evidence.offender, get_rule(evidence)
        return {
            "validator": self.directory.name_of(offender),
            "rule": rule,
            "epoch": evidence.epoch,
            "view": get_view(evidence),
            "stake": self._get_table(evidence.epoch, offender).get_stake(offender),
            "offence": _MEANINGS[rule],
            "proof": compute_evidence_id(evidence).hex(),
        }

    def _describe_epoch(self, epoch: Epoch) -> dict[str, Any]:
        offender = next(evidence.offender for evidence in self.found if evidence.epoch == epoch)
        table = self._get_table(epoch, offender)
        return {
            "epoch": epoch,
            "offending_stake": compute_offending_stake(self.found, epoch, table),
            "one_honest_threshold": table.one_honest_threshold,
            "total_stake": table.total,
        }

    def _get_table(self, epoch: Epoch, member: ValidatorId) -> StakeTable:
        return next(table for known, table in self.tables if known == epoch and member in table)


def investigate(archives: Sequence[Archive], network: NetworkConfig, from_height: int | None) -> Investigation:
    """Compare the chains, then examine everything from `from_height` on; None is some way below the fork.

    Raises `CommandError` for a database of another network, `StorageError` for one that is damaged.
    """
    for archive in archives:
        if archive.network_id != network.network_id:
            raise CommandError(
                f"{archive.path}: it belongs to network {archive.network_id.hex()[:16]}, the network file says "
                f"{network.network_id.hex()[:16]}. Leave it out, or name its network file with --network."
            )
    fork = find_fork(archives)
    end = fork.height if fork is not None else min(archive.height for archive in archives)
    first = Height(max(1, end - HEIGHTS_DEFAULT if from_height is None else from_height))
    tables = tuple(dict.fromkeys(_iterate_tables(archives, network, first)))
    exhibits = (exhibit for archive in archives for exhibit in archive.iterate_exhibits(first))
    found = examine(exhibits, tables, Ed25519(), network.network_id)
    directory = Directory(network)
    for archive in archives:
        if archive.ledger is not None:
            directory.update(archive.ledger)
    return Investigation(tuple(archives), directory, tables, first, fork, tuple(found))


def find_databases(places: Iterable[Path], network: Path | None) -> tuple[NetworkConfig, list[Path]]:
    """The network and the databases meant by homes, folders of nodes, and files.

    Raises `CommandError` when there is no network file, or a place is nothing of the kind; `ConfigError` when a file of
    settings is wrong.
    """
    config = None if network is None else load_network(network)
    paths: list[Path] = []
    for place in places:
        if (place / NETWORK_FILE).exists():
            home = load_home(place)
            config = config or home.network
            paths += [node.database_path for node in home.nodes]
        elif (place / NODE_FILE).exists():
            node = load_node(place, environ={})
            config = config or node.network
            paths.append(node.database_path)
        elif place.is_file():
            config = config or _load_network_beside(place)
            paths.append(place)
        else:
            raise CommandError(f"{place}: neither a home, nor the folder of a node, nor a database. Name one of these.")
    if config is None:
        raise CommandError("There is no network file beside these databases. Name it with --network FILE.")
    return config, list(dict.fromkeys(paths))


def find_fork(archives: Sequence[Archive]) -> Fork | None:
    """The lowest height at which two chains differ; None when, of any two, one continues the other."""
    partings = [_find_parting(one, other) for one, other in combinations(archives, 2)]
    heights = [height for height in partings if height is not None]
    if not heights:
        return None
    sides: dict[Commitment, tuple[Archive, ...]] = {}
    for archive in archives:
        leaf = archive.find_decided(min(heights))
        if leaf is not None:
            sides[leaf] = (*sides.get(leaf, ()), archive)
    return Fork(min(heights), sides)


def _find_parting(one: Archive, other: Archive) -> Height | None:
    """Leaves name their parents, so two chains that agree at a height agree below it: a search by halves."""

    def agree(height: int) -> bool:
        return one.find_decided(Height(height)) == other.find_decided(Height(height))

    low, high = max(one.first_height, other.first_height), min(one.height, other.height)
    if low > high or agree(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (Height(middle + 1), high) if agree(middle) else (low, Height(middle))
    return high


def _load_network_beside(database: Path) -> NetworkConfig | None:
    """In its folder or the one above, as in a home."""
    files = [folder / NETWORK_FILE for folder in database.resolve().parents[:2]]
    return next((load_network(file) for file in files if file.exists()), None)


def _iterate_tables(
    archives: Iterable[Archive], network: NetworkConfig, first: Height
) -> Iterator[tuple[Epoch, StakeTable]]:
    """The network file's for the first two epochs (T3), then what the ledgers say."""
    for epoch in (0, 1):
        yield Epoch(epoch), network.stake_table()
    for archive in archives:
        yield from archive.iterate_tables(first)


def _describe_fork(fork: Fork) -> dict[str, Any]:
    return {
        "height": fork.height,
        "sides": [
            {"leaf": leaf.hex(), "databases": [str(archive.path) for archive in side]}
            for leaf, side in fork.sides.items()
        ],
    }
