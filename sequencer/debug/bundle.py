"""Items -> one .tar.gz with a manifest that says what is in it, and what is not."""

import gzip
import io
import json
import os
import platform
import resource
import sqlite3
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgpack
import msgspec
import nacl
import starlette
import structlog
import trio

from sequencer import __version__
from sequencer.debug.items import Collection
from sequencer.debug.local import gather_local
from sequencer.debug.remote import gather_remote
from sequencer.home import Home
from sequencer.local_cluster.home import FAULTS_FILE
from sequencer.network_config import NETWORK_FILE
from sequencer.survey import Place

PACKAGES: Final = {
    "trio": trio.__version__,
    "msgspec": msgspec.__version__,
    "msgpack": ".".join(map(str, msgpack.version)),
    "pynacl": nacl.__version__,
    "starlette": starlette.__version__,
    "structlog": structlog.__version__,
}
"""What a node runs on, as it is installed here."""
README: Final = """\
What somebody needs who is to find out what ails a network: see manifest.json for what each file is, and for what was
left out and why. No key and no database was opened. Views, metrics and logs tell names and addresses of nodes, and
transactions are only counted: look through it before you hand it to a stranger.

Begin with nodes/*/status.json and nodes/*/views.json (`reasons` says why views failed), then nodes/*/log.txt.
"""


def gather(places: Sequence[Place], home: Home | None, collection: Collection) -> dict[str, str | None]:
    """Everything of these nodes, and of the home where there is one. Returns by node why it did not answer, or None."""
    collection.add_text("README.txt", "where to begin", README)
    collection.add_text("host.json", "this machine: versions, limits, memory", describe_host())
    if home is not None:
        network = home.path / NETWORK_FILE
        collection.add_tail(NETWORK_FILE, "the network file, which is the same for everybody", network)
        faults = home.path / FAULTS_FILE
        if faults.exists():
            collection.add_tail(FAULTS_FILE, "faults that were done on purpose", faults)
        for node in home.nodes:
            gather_local(node, collection)
        collection.leave_out("treasury.key and other keys", "keys are never opened, whatever they are called")
    names = [place.name if place.name != "?" else f"node{number}" for number, place in enumerate(places)]
    return {name: gather_remote(name, place.url, collection) for name, place in zip(names, places, strict=True)}


def write_bundle(path: Path, collection: Collection) -> int:
    """The file is made anew, for its owner alone, and is there only as a whole. Returns its size.

    Raises `FileExistsError` when there is one already, and `OSError`.
    """
    if path.exists():
        raise FileExistsError(path)
    root = path.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz")
    now = int(time.time())
    partial = path.with_name(path.name + ".new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with (
            os.fdopen(descriptor, "wb") as file,
            gzip.GzipFile(fileobj=file, mode="wb", mtime=now, compresslevel=6) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            _add(archive, f"{root}/manifest.json", make_manifest(collection).encode(), now)
            for item in collection.items:
                _add(archive, f"{root}/{item.path}", item.data, now)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return path.stat().st_size


def make_manifest(collection: Collection) -> str:
    files = [
        {"path": item.path, "what": item.what, "bytes": len(item.data)}
        | ({"only_the_end_of_bytes": item.of_bytes} if item.is_cut else {})
        for item in collection.items
    ]
    left_out = [{"path": path, "why": why} for path, why in collection.left_out]
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return json.dumps({"made": made, "by": f"sequencer {__version__}", "files": files, "left_out": left_out}, indent=1)


def describe_host() -> str:
    """Of the environment only the names that are ours: values may be secret."""
    limits = {
        name.removeprefix("RLIMIT_").lower(): resource.getrlimit(getattr(resource, name))
        for name in ("RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_CORE", "RLIMIT_MEMLOCK")
    }
    described = {
        "sequencer": __version__,
        "python": sys.version,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "limits": limits,
        "environment": sorted(name for name in os.environ if name.startswith("SEQUENCER_")),
        "packages": PACKAGES | {"sqlite": sqlite3.sqlite_version},
    }
    return json.dumps(described, indent=1)


def _add(archive: tarfile.TarFile, name: str, data: bytes, now: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(data), now, 0o600
    archive.addfile(member, io.BytesIO(data))
