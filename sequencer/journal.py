"""The journal of a node: what it signed, entered, gave up and decided, on disk for `sequencer check trace`.

A turn's records are one write to the file, before anything of the turn leaves the node. The operating system has them
then: they survive the end of the process, but not of the machine. A process that starts again begins another file.
Losing the journal loses nothing else, so a disk that refuses it is told to the log, and the node goes on.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from consensus.effects import Effect
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, TimeoutVote
from consensus.trace import (
    TRACE_VERSION,
    Began,
    Heard,
    Opened,
    Record,
    describe_effect,
    describe_epoch,
    encode_record,
)
from consensus.types import Microseconds, NetworkId, ValidatorId
from sequencer.storage import Recovered

log = structlog.get_logger("journal")

SUFFIX: Final = ".trace"
FILE_BYTES_MAX: Final = 1 << 30
"""About five hours of a busy node. Then the journal of this process ends."""
HEARD_WAITING_MAX: Final = 10_000
"""Records of what was heard that wait for the turn's end; a turn takes fewer."""

_frame = msgspec.msgpack.Encoder().encode


class Journal:
    """Of one process. Raises `OSError` when its file cannot be made."""

    def __init__(self, folder: Path, network_id: NetworkId, validator_id: ValidatorId, now: Microseconds) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        number = max((int(file.stem) for file in folder.glob(f"*{SUFFIX}") if file.stem.isdigit()), default=0) + 1
        self.path = folder / f"{number:06}{SUFFIX}"
        self._descriptor: int | None = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._size = 0
        self._heard: list[Record] = []
        self._write([Opened(now, TRACE_VERSION, bytes(network_id), validator_id)])

    def begin(self, recovered: Recovered, now: Microseconds) -> None:
        """The first thing that is told of a process."""
        records: list[Record] = [] if recovered.epoch is None else [describe_epoch(recovered.epoch, now)]
        self._write([*records, Began(now, recovered.record, recovered.tip.leaf)])

    def hear(self, sender: ValidatorId, message: Message, now: Microseconds) -> None:
        """A valid message of a peer; kept until the turn is written."""
        if self._descriptor is None or len(self._heard) >= HEARD_WAITING_MAX:
            return
        if isinstance(message, QuorumVote | FinalizeVote | TimeoutVote):
            self._heard.append(Heard(now, sender, type(message).__name__, message.view))
        elif isinstance(message, QuorumProposal):
            self._heard.append(Heard(now, sender, type(message).__name__, message.leaf.view))

    def write_turn(self, release: Iterable[Effect], now: Microseconds) -> None:
        """What leaves the node now that its turn is on disk."""
        if self._descriptor is None:
            return
        records, self._heard = self._heard, []
        records += [record for record in (describe_effect(effect, now) for effect in release) if record is not None]
        if records:
            self._write(records)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, records: Iterable[Record]) -> None:
        data = b"".join(_frame(encode_record(record)) for record in records)
        if self._descriptor is None:
            return
        try:
            written = os.write(self._descriptor, data)
        except OSError as error:
            self._end(f"it cannot be written: {error.strerror}")
            return
        self._size += written
        if written < len(data):
            self._end("the disk is full")
        elif self._size > FILE_BYTES_MAX:
            self._end(f"it has reached {FILE_BYTES_MAX >> 30} GiB")

    def _end(self, reason: str) -> None:
        log.error("journal_ended", path=str(self.path), reason=reason, action="restart the node to begin another one")
        self.close()
