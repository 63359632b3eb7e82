"""What a file system needs to be told about folders."""

import os
from pathlib import Path


def sync_folder(path: Path) -> None:
    """The names of new files are durable only when their folder is."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
