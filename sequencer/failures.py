"""How a process of this project ends: exit codes, and errors that people are expected to meet.

An expected error is told in one paragraph (what happened, why, what to type next) and never with a traceback. Anything
else is a defect of ours and ends with `ExitCode.INTERNAL`.
"""

import errno
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from sequencer.ports import PortUnavailableError
from sequencer.toml_file import ConfigError


class ExitCode(IntEnum):
    """What scripts may rely on."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    UNREACHABLE = 4
    UNSAFE = 5
    INTERNAL = 70
    INTERRUPTED = 130


_OWN_FOLDER = "Choose another place, or give yourself the right to write there"
_FILE_ACTIONS: Final = {
    errno.EACCES: _OWN_FOLDER,
    errno.EPERM: _OWN_FOLDER,
    errno.EROFS: "Choose a place on a file system that is mounted for writing",
    errno.ENOTDIR: "A file stands where a folder is needed; choose another place",
    errno.EISDIR: "It is a folder; name a file",
    errno.ENOENT: "Make its folder first, or correct the path",
    errno.ENOSPC: "Make room on that disk, then try again",
    errno.EDQUOT: "Your share of that disk is used up; make room, then try again",
    errno.ENAMETOOLONG: "Choose a shorter path",
}
"""What the system says about a file that somebody named, and what they can do about it."""


class CommandError(Exception):
    """A command cannot do what it was asked; the text says what happened, why, and what to type next."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.exit_code = code


class Failure(NamedTuple):
    """The end of a process, in the form in which people and supervisors learn of it."""

    code: ExitCode
    message: str


def explain_failure(error: BaseException) -> Failure | None:
    """None when the error is not one of the expected kinds: then its traceback is what helps."""
    failures = [_explain_single(leaf) for leaf in _iterate_leaves(error)]
    known = [failure for failure in failures if failure is not None]
    # One unexpected error among expected ones must not hide behind them.
    return known[0] if known and len(known) == len(failures) else None


def _explain_single(error: BaseException) -> Failure | None:
    match error:
        case CommandError():
            return Failure(error.exit_code, str(error))
        case ConfigError(is_unsafe=True):
            return Failure(ExitCode.UNSAFE, str(error))
        case ConfigError(source=str(source)) if source.startswith(("--", "flag ")):
            return Failure(ExitCode.USAGE, str(error))
        case ConfigError() | PortUnavailableError():
            return Failure(ExitCode.FAILED, str(error))
        case OSError(filename=str(path), errno=int(code)) if code in _FILE_ACTIONS:
            return Failure(ExitCode.FAILED, f"{path}: {(error.strerror or '').lower()}. {_FILE_ACTIONS[code]}.")
        case KeyboardInterrupt():
            return Failure(ExitCode.INTERRUPTED, "interrupted")
        case _:
            return _explain_storage(error)


def _explain_storage(error: BaseException) -> Failure | None:
    # Only a process that runs a node has loaded storage; the others need not pay for importing it.
    from sequencer.storage import DiskError, StorageError

    match error:
        case DiskError():
            return Failure(ExitCode.FAILED, str(error))
        case StorageError():
            return Failure(ExitCode.UNSAFE, str(error))
        case _:
            return None


def _iterate_leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _iterate_leaves(inner)
    else:
        yield error
