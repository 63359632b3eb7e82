"""What a node's tasks wait for, as a file beside its database, whenever the process gets SIGUSR1.

Never over the API: whoever may send the signal may read the process's memory anyway, and nobody else can make a busy
node walk its tasks. Only places in the code are written, no values.
"""

import os
import signal
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import structlog
import trio

TASK_TREE_FILE: Final = "task_tree.txt"
LINES_MAX: Final = 20_000
"""A node with a thousand readers has a few thousand tasks."""
FRAMES_MAX: Final = 8
"""Of each task, the innermost ones."""

_TRIO: Final = "trio/"
_TRAPS: Final = frozenset({"wait_task_rescheduled", "_real_async_yield"})
"""Where every task that waits ends."""
_ROOT: Final = Path(__file__).parents[2]

log = structlog.get_logger("process")


async def write_on_signal(folder: Path, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
    """Until cancelled. A disk that refuses the file is told to the log, and nothing else happens."""
    path = folder / TASK_TREE_FILE
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        task_status.started()
        async for _ in signals:
            try:
                write_task_tree(path)
            except OSError as error:
                log.warning("task_tree_lost", path=str(path), reason=error.strerror or str(error))
            else:
                log.info("task_tree_written", path=str(path))


def write_task_tree(path: Path) -> None:
    """Within a Trio run. The file is replaced as a whole, so whoever reads it finds all of it. Raises `OSError`."""
    root = trio.lowlevel.current_root_task()
    lines = [] if root is None else list(islice(_describe(root, 0), LINES_MAX + 1))
    if len(lines) > LINES_MAX:
        lines[LINES_MAX:] = ["…"]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    partial = path.with_name(path.name + ".new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join([f"process {os.getpid()} at {stamp}", *lines, ""]))
    partial.replace(path)


def _describe(task: "trio.lowlevel.Task", depth: int) -> Iterator[str]:
    indent = "  " * depth
    yield f"{indent}{task.name}"
    places = [
        (_shorten(frame.f_code.co_filename), line, frame.f_code.co_qualname)
        for frame, line in task.iter_await_frames()
        if frame.f_code.co_name not in _TRAPS
    ]
    # How Trio itself waits is the same for all; the last place says for what.
    told = [place for place in places if not place[0].startswith(_TRIO)] or places[:1]
    told += [place for place in places[-1:] if place not in told]
    for file, line, name in told[-FRAMES_MAX:]:
        yield f"{indent}  {file}:{line} {name}"
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _describe(child, depth + 1)


def _shorten(filename: str) -> str:
    """Without the folders of this machine: from the package on."""
    path = Path(filename)
    parts = path.parts
    if "site-packages" in parts:  # perhaps below the root: first
        return "/".join(parts[parts.index("site-packages") + 1 :])
    return str(path.relative_to(_ROOT)) if path.is_relative_to(_ROOT) else path.name
