"""Addresses, and who holds a port that should have been free."""

import errno
import os
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>[0-9]{1,5})")
_PORT_MAX = 65_535
_LISTENING = "0A"
"""TCP_LISTEN in the kernel's table of sockets."""


class Address(NamedTuple):
    """A host name or numeric address, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`host:port`, with a numeric IPv6 host in brackets. Raises `ValueError` that says what is expected."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > _PORT_MAX:
        raise ValueError(f'expected "host:port" such as "127.0.0.1:27600" or "[::1]:27600", got "{text}"')
    return Address(match["v6"] or match["host"], int(match["port"]))


@dataclass(frozen=True, slots=True)
class PortOwner:
    """A process that listens on a port. `command` is its name as the kernel shows it."""

    pid: int
    command: str


class PortUnavailableError(Exception):
    """An address cannot be listened on. The text names the reason, the owner when it can be known, and a way out."""

    def __init__(self, address: Address, error: OSError, owner: PortOwner | None) -> None:
        self.address = address
        self.owner = owner
        super().__init__(f"cannot listen on {address}: {_explain(address, error, owner)}")


def explain_bind_error(address: Address, error: OSError) -> PortUnavailableError:
    """What the operating system said about a failed bind, in words that help."""
    owner = find_port_owner(address.port) if error.errno == errno.EADDRINUSE else None
    return PortUnavailableError(address, error, owner)


def check_ports_free(addresses: Iterable[Address]) -> None:
    """Raises `PortUnavailableError` for the first address that cannot be listened on at this moment."""
    for address in addresses:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
                # A bound socket that does not listen shares its address; only listening finds a listener.
                probe.listen(1)
            except OSError as error:
                raise explain_bind_error(address, error) from error


def find_port_owner(port: int) -> PortOwner | None:
    """The process that listens on a TCP port of this machine. None when nobody does, or it cannot be seen."""
    inodes = set(_read_listening_inodes(port))
    if not inodes:
        return None
    links = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and _holds_any(process, links):
            return PortOwner(int(process.name), _read_command(process))
    return None


def _read_listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _holds_any(process: Path, links: set[str]) -> bool:
    # Processes end, and those of other users cannot be looked into: neither is an error here.
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            if str(descriptor.readlink()) in links:
                return True
        except OSError:
            continue
    return False


def _read_command(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "unknown"


def _explain(address: Address, error: OSError, owner: PortOwner | None) -> str:
    match error.errno:
        case errno.EADDRINUSE if owner is not None:
            return (
                f"port {address.port} is held by {owner.command} (pid {owner.pid}). "
                f"Stop it with `kill {owner.pid}`, or choose another port"
            )
        case errno.EADDRINUSE:
            return (
                f"port {address.port} is held by another process, perhaps of another user. "
                f"`sudo ss -ltnp 'sport = :{address.port}'` names it; stop it, or choose another port"
            )
        case errno.EACCES:
            return (
                f"port {address.port} is below 1024 and needs a privilege that this process lacks; choose a higher one"
            )
        case errno.EADDRNOTAVAIL:
            return f'no interface of this machine has the address {address.host}; use one that it has, or "0.0.0.0"'
        case code:
            return os.strerror(code) if code else str(error)
