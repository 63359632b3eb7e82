"""The process that forks nodes: `python -m sequencer.local_cluster.fork_server`, requests on stdin, answers on stdout.

It imports everything once, then serves requests in a plain loop: no threads, no Trio, hence safe to fork at any time. A
node costs a fork of 5 ms instead of half a second of imports. It reaps its children, so a signal never reaches a
stranger that was given an old process id; and when its owner is gone it ends all of them, then itself.
"""

import gc
import os
import selectors
import signal
import sys
import time
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from sequencer.local_cluster.child import MESSAGE_BYTES_MAX, run_child
from sequencer.local_cluster.protocol import (
    ListNodes,
    NodeProcess,
    Nodes,
    Refused,
    Reply,
    Request,
    Signalled,
    SignalNode,
    Started,
    StartNode,
)

DRAIN_SECONDS = 3.0
"""How long nodes may take to end by themselves after the owner has gone without a word."""

_READ_BYTES = 65_536


@dataclass
class _Child:
    process: NodeProcess
    report: int
    """Read end of the pipe on which the node's last words come. Its end of file is the news that the node has ended."""


class ForkServer:
    """Serves one owner until its end of `requests` closes."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests = requests
        self._replies = replies
        self._decoder = msgspec.json.Decoder(Request)
        self._encoder = msgspec.json.Encoder()
        self._children: dict[str, _Child] = {}
        self._buffer = b""
        self._lifeline_read, self._lifeline_write = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)

    def run(self) -> None:
        while self._wait(None):
            pass
        self._end_all()

    def _wait(self, timeout_seconds: float | None) -> bool:
        """Handle what has come. False when the owner is gone."""
        for key, _ in self._selector.select(timeout_seconds):
            if key.fileobj is self._requests:
                if not self._read_requests():
                    return False
            elif isinstance(key.data, str):
                self._reap(key.data)
        return True

    def _read_requests(self) -> bool:
        chunk = os.read(self._requests.fileno(), _READ_BYTES)
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            reply = self._handle(self._decoder.decode(line))
            try:
                self._replies.write(self._encoder.encode(reply) + b"\n")
                self._replies.flush()
            except BrokenPipeError:
                return False
        return bool(chunk)

    def _handle(self, request: Request) -> Reply:
        match request:
            case StartNode():
                return self._start(request)
            case SignalNode():
                return self._signal(request)
            case ListNodes():
                return Nodes([child.process for child in self._children.values()])

    def _start(self, request: StartNode) -> Started | Refused:
        former = self._children.get(request.name)
        if former is not None and former.process.is_running:
            return Refused(f"{request.name} runs already, as process {former.process.pid}")
        report_read, report_write = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._close_inherited()
            os.close(report_read)
            run_child(request, parent=parent, lifeline=self._lifeline_read, report=report_write)
        os.close(report_write)
        self._children[request.name] = _Child(NodeProcess(request.name, pid), report_read)
        self._selector.register(report_read, selectors.EVENT_READ, request.name)
        return Started(pid)

    def _close_inherited(self) -> None:
        """In the child: nothing of the parent's stays open, above all not its end of the lifeline."""
        self._selector.close()
        os.close(self._lifeline_write)
        os.close(self._requests.fileno())
        os.close(self._replies.fileno())
        for child in self._children.values():
            if child.process.is_running:
                os.close(child.report)

    def _signal(self, request: SignalNode) -> Signalled | Refused:
        child = self._children.get(request.name)
        if child is None:
            return Refused(f"{request.name} was never started")
        now = time.monotonic_ns()
        if child.process.is_running:
            os.kill(child.process.pid, request.number)
        return Signalled(now, child.process.is_running)

    def _reap(self, name: str) -> None:
        child = self._children[name]
        self._selector.unregister(child.report)
        message = os.read(child.report, MESSAGE_BYTES_MAX).decode(errors="replace")
        os.close(child.report)
        _, status = os.waitpid(child.process.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        child.process = NodeProcess(name, child.process.pid, code, message)

    def _end_all(self) -> None:
        self._selector.unregister(self._requests)
        self._signal_all(signal.SIGTERM)
        self._signal_all(signal.SIGCONT)
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._running() and (left := deadline - time.monotonic()) > 0:
            self._wait(left)
        self._signal_all(signal.SIGKILL)
        while self._running():
            self._wait(None)

    def _running(self) -> list[NodeProcess]:
        return [child.process for child in self._children.values() if child.process.is_running]

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self._running():
            os.kill(process.pid, number)


def main() -> None:
    # A terminal's Ctrl-C is for the owner, who decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What exists now is shared by all forks: the collector must not touch it, or every page would be copied.
    gc.collect()
    gc.freeze()
    ForkServer(sys.stdin.buffer, sys.stdout.buffer).run()


if __name__ == "__main__":
    main()
