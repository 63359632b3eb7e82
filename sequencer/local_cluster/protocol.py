"""What a cluster's owner and its fork server say to each other: one JSON object a line, one answer per request."""

from typing import TypeAlias

import msgspec


class StartNode(msgspec.Struct, frozen=True, tag=True):
    """Fork a process for the node in `folder`; answered by `Started`. `settings` override node.toml like flags.

    `byzantine` is how it breaks the protocol, empty for an honest node.
    """

    name: str
    folder: str
    log: str
    settings: dict[str, str]
    byzantine: str = ""


class SignalNode(msgspec.Struct, frozen=True, tag=True):
    """Send a signal to a node that has not been reaped, so never to a stranger; answered by `Signalled`."""

    name: str
    number: int


class ListNodes(msgspec.Struct, frozen=True, tag=True):
    """Answered by `Nodes`."""


Request: TypeAlias = StartNode | SignalNode | ListNodes


class Started(msgspec.Struct, frozen=True, tag=True):
    pid: int


class Signalled(msgspec.Struct, frozen=True, tag=True):
    """`monotonic_ns`: when, by the machine's monotonic clock. Not `delivered`: the process was gone already."""

    monotonic_ns: int
    delivered: bool


class NodeProcess(msgspec.Struct, frozen=True):
    """The last process of a node. `exit_code` is None while it runs, and minus the signal's number when one killed it.

    `message` is what an expected error said at the end.
    """

    name: str
    pid: int
    exit_code: int | None = None
    message: str = ""

    @property
    def is_running(self) -> bool:
        return self.exit_code is None


class Nodes(msgspec.Struct, frozen=True, tag=True):
    processes: list[NodeProcess]


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The request makes no sense now; nothing happened."""

    reason: str


Reply: TypeAlias = Started | Signalled | Nodes | Refused
