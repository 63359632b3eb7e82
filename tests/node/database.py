"""A node's database that tests close and open again."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from sequencer.payload import PayloadCache
from sequencer.storage import create_database
from sequencer.storage.sqlite import Durability, SqliteStorage
from tests.node.chain import GENESIS, NETWORK, RECORD, VALIDATOR

Open: TypeAlias = Callable[[], SqliteStorage]
DURABILITIES: tuple[Durability, ...] = ("os", "fsync")


def reopen(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Body of a fixture with a durability as parameter: opens the database anew, after closing the one opened before.

    That is a restart in order.
    """
    create_database(tmp_path / "node.db", NETWORK, VALIDATOR, RECORD)
    durability: Durability = request.param
    with ExitStack() as stack:

        def restart() -> SqliteStorage:
            stack.close()
            storage = SqliteStorage(
                tmp_path / "node.db", NETWORK, VALIDATOR, GENESIS, PayloadCache(entries_max=8), durability
            )
            stack.callback(storage.close)
            return storage

        yield restart
