"""The home of a devnet: made when missing, resumed when there, deleted only on request and only when it is one."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from sequencer.config import NETWORK_FILE
from sequencer.failures import CommandError
from sequencer.home import API_PORT_OFFSET, Home, HomePlan, create_home, load_home, remove_home
from sequencer.ports import Address, PortUnavailableError, check_ports_free

DEVNET_NAME: Final = "devnet"
"""Name of every network that is made here. What has another name is somebody's network and never deleted."""
CHAOS_SOCKET: Final = "chaos.sock"
"""In the home of a devnet that runs with --chaos: where orders to break its links arrive."""
FAULTS_FILE: Final = "faults.jsonl"
"""In the home of a devnet: what was done to it (`sequencer.fault_log`)."""
TARGETS_FILE: Final = Path("prometheus") / "targets.json"
"""In the home of a devnet: where Prometheus finds its nodes (`sequencer.local_cluster.targets`)."""
_FREE_PORTS_FROM: Final = 10_000
_FREE_PORTS_TO: Final = 27_000
"""Below what systems give to outgoing connections: those could take a dead node's port before it is back."""


def open_devnet(path: Path, plan: HomePlan, *, reset: bool = False) -> tuple[Home, bool]:
    """The home at `path`, and whether it is new. With `reset` an old one is deleted first."""
    if reset and path.exists():
        remove_devnet(path)
    if (path / NETWORK_FILE).exists():
        return load_home(path), False
    from sequencer.databases import create_database

    return create_home(path, plan, create_database), True


def remove_devnet(path: Path) -> None:
    """Delete a devnet's home.

    Raises `CommandError` for any other folder and while the devnet runs, `StorageError` while one of its nodes does.
    """
    from sequencer.storage.lock import DatabaseLock

    if not (path / NETWORK_FILE).exists():
        if not path.is_dir() or any(path.iterdir()):
            raise CommandError(
                f"--reset refuses to delete {path}: it is no devnet's home (it has no {NETWORK_FILE}). "
                "Name another folder with --home, or remove it yourself."
            )
        return
    with ExitStack() as locks:
        locks.enter_context(lock_home(path))
        home = load_home(path)
        if home.network.name != DEVNET_NAME:
            raise CommandError(
                f'--reset refuses to delete {path}: it is the home of the network "{home.network.name}", '
                "not of a devnet, and its keys could not be made again. Name another folder with --home."
            )
        for node in home.nodes:
            # A single node may run from here too (`sequencer start`): it would go on in files that are gone.
            if node.folder.is_dir():
                locks.enter_context(DatabaseLock(node.database_path))
        for name in (CHAOS_SOCKET, FAULTS_FILE, TARGETS_FILE):
            (path / name).unlink(missing_ok=True)
        with suppress(OSError):  # not there, or somebody has put something else into it
            (path / TARGETS_FILE.parent).rmdir()
        remove_home(path)


@contextmanager
def lock_home(path: Path) -> Iterator[None]:
    """Only one devnet at a time runs from a home: two processes with one key would sign different votes."""
    descriptor = os.open(path / NETWORK_FILE, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise CommandError(
            f"another devnet runs from {path} at this moment. Stop it with Ctrl-C there, or start this one with --home "
            "and --base-port elsewhere."
        ) from error
    finally:
        os.close(descriptor)


def compute_port_settings(home: Home, base_port: int) -> dict[str, dict[str, str]]:
    """Settings that move a home to other ports for one run: node i to `base_port + i`, its API 100 above."""
    hosts = {node.config.validator: node.listen.host for node in home.nodes}
    listen = {name: f"{host}:{base_port + index}" for index, (name, host) in enumerate(hosts.items())}
    return {
        name: {
            "listen": address,
            "api": f"{hosts[name]}:{base_port + API_PORT_OFFSET + index}",
            "peers": ",".join(f"{peer}={other}" for peer, other in listen.items() if peer != name),
        }
        for index, (name, address) in enumerate(listen.items())
    }


def compute_journal_settings(home: Home) -> dict[str, dict[str, str]]:
    """Settings that let every node keep a journal in its folder, for one run."""
    return {node.config.validator: {"journal": str((node.folder / "journal").absolute())} for node in home.nodes}


def compute_fault_settings(home: Home) -> dict[str, dict[str, str]]:
    """Settings that let every node tell what is done to this devnet."""
    return {node.config.validator: {"faults": str((home.path / FAULTS_FILE).absolute())} for node in home.nodes}


def merge_settings(*parts: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """By node name; later parts win."""
    merged: dict[str, dict[str, str]] = {}
    for part in parts:
        for name, values in part.items():
            merged.setdefault(name, {}).update(values)
    return merged


def find_base_port(nodes: int, *, first: int | None = None) -> int:
    """A base port with all ports of `nodes` free above it: `first` if they are free there.

    Different processes begin to look at different places.
    """
    places = range(_FREE_PORTS_FROM, _FREE_PORTS_TO, 2 * API_PORT_OFFSET)
    start = os.getpid() * 7 % len(places)
    candidates: list[int] = [*([] if first is None else [first]), *places[start:], *places[:start]]
    for base_port in candidates:
        ports = [base + index for base in (base_port, base_port + API_PORT_OFFSET) for index in range(nodes)]
        try:
            check_ports_free(Address("127.0.0.1", port) for port in ports)
        except PortUnavailableError:
            continue
        return base_port
    raise CommandError(f"all ports from {_FREE_PORTS_FROM} to {_FREE_PORTS_TO} are in use; stop some programs")
