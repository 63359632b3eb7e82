"""The owner's end of a fork server: start it, ask it, end it."""

import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final, Self

import msgspec

from sequencer.failures import CommandError, ExitCode
from sequencer.local_cluster.protocol import Reply, Request

REPLY_SECONDS: Final = 30.0
"""For one answer. The first one waits for imports: half a second on an idle machine."""
_READ_BYTES: Final = 65_536
_ROOT: Final = Path(__file__).parents[2]
"""Where the packages lie."""


class ForkServerProcess:
    """A fork server of one's own. Requests may come from any thread; each waits for its answer."""

    def __init__(self) -> None:
        # The same code as here, and nothing from the working directory: it may hold a stat.py of somebody's own.
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        # A session of its own: Ctrl-C in the terminal reaches the owner alone, who then drains the nodes.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sequencer.local_cluster.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        self._decoder: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)
        self._buffer = b""
        self._lock = threading.Lock()

    def ask(self, request: Request) -> Reply:
        with self._lock:
            if self._process.stdin is None:
                raise CommandError("the fork server has no stdin", ExitCode.INTERNAL)
            try:
                os.write(self._process.stdin.fileno(), msgspec.json.encode(request) + b"\n")
                return self._decoder.decode(self._read_line())
            except BrokenPipeError as error:
                raise self._gone() from error

    def _read_line(self) -> bytes:
        if self._process.stdout is None:
            raise self._gone()
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            if not select.select([descriptor], [], [], REPLY_SECONDS)[0]:
                raise CommandError(f"the fork server is silent for {REPLY_SECONDS:g} s", ExitCode.INTERNAL)
            chunk = os.read(descriptor, _READ_BYTES)
            if not chunk:
                raise self._gone()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _gone(self) -> CommandError:
        code = self._process.wait()
        message = (
            f"the process that starts the nodes has ended with code {code}, and all nodes with it. "
            "Nothing that was decided is lost: start them again"
        )
        return CommandError(message, ExitCode.INTERNAL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The end of its input tells the server to end all nodes, then itself."""
        # Closed twice does no harm.
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()
