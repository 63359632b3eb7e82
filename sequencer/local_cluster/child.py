"""One node in a process that was forked for it. Everything heavy is imported here, so that all forks share it."""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import trio

from sequencer.config import LoadedNode, load_node
from sequencer.failures import ExitCode, Failure, explain_failure
from sequencer.local_cluster.protocol import StartNode
from sequencer.logs import configure_logging
from sequencer.process import run_node
from sequencer.transport.tcp import TcpTransport

MESSAGE_BYTES_MAX = 4096
"""Of an error that the fork server is told: a paragraph. It fits into a pipe's buffer, so writing it never blocks."""

_PR_SET_PDEATHSIG = 1
_RESET_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_child(request: StartNode, *, parent: int, lifeline: int, report: int) -> NoReturn:
    """Turn a fresh fork into the node, and end the process when the node ends.

    `lifeline` is the read end of a pipe that closes when the parent dies; on `report` goes what an expected error says.
    """
    code = ExitCode.INTERNAL
    try:
        _detach(request, parent)
        failure = _run(request, lifeline)
        code = failure.code
        os.write(report, failure.message.encode()[:MESSAGE_BYTES_MAX])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: the handlers and buffers of the parent that this process inherited are none of its business.
        os._exit(code)


def _detach(request: StartNode, parent: int) -> None:
    for number in _RESET_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    _die_with_parent(parent)
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)


def _die_with_parent(parent: int) -> None:
    """Linux ends this process together with its parent, even while it is stopped. Elsewhere the lifeline does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(ExitCode.INTERNAL)


def _run(request: StartNode, lifeline: int) -> Failure:
    try:
        # A variable such as SEQUENCER_API is meant for one node, here it would give all of them the same address.
        loaded = load_node(Path(request.folder), flags=request.settings, environ={})
        configure_logging(loaded.config.log_level, sys.stderr, names=loaded.network.names, node=request.name)
        trio.run(_run_until_parent_dies, loaded, lifeline, _choose_transport(request, loaded))
    except BaseException as error:
        failure = explain_failure(error)
        if failure is None:
            traceback.print_exc()
            return Failure(ExitCode.INTERNAL, f"{type(error).__name__}: {error}; the traceback stands in {request.log}")
        print(f"error: {failure.message}", file=sys.stderr)
        return failure
    return Failure(ExitCode.OK, "")


def _choose_transport(request: StartNode, loaded: LoadedNode) -> Callable[..., TcpTransport]:
    if not request.byzantine:
        return TcpTransport
    from sequencer.local_cluster.byzantine import prepare_transport  # only here: no honest node holds a liar's code

    return prepare_transport(loaded, request.byzantine)


async def _run_until_parent_dies(
    loaded: LoadedNode, lifeline: int, make_transport: Callable[..., TcpTransport]
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_parent, lifeline, nursery.cancel_scope)
        await run_node(loaded, make_transport=make_transport)
        nursery.cancel_scope.cancel()


async def _watch_parent(lifeline: int, scope: trio.CancelScope) -> None:
    await trio.lowlevel.wait_readable(lifeline)
    scope.cancel()
