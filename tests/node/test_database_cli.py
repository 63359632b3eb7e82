"""`sequencer database create`: once in the life of a key, and only for whoever is sure."""

from pathlib import Path

import pytest

from sequencer.cli.database import create
from sequencer.databases import create_database
from sequencer.failures import CommandError, ExitCode
from sequencer.home import Home, HomePlan, create_home
from sequencer.storage.errors import StorageError
from sequencer.toml_file import ConfigError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path / "home", HomePlan(stakes=(1, 1)), create_database)


def test_it_takes_somebody_who_is_sure(home: Home) -> None:
    home.nodes[0].database_path.unlink()
    with pytest.raises(CommandError, match="--never-signed") as caught:
        create(home.nodes[0].folder)
    assert caught.value.exit_code is ExitCode.UNSAFE
    assert not home.nodes[0].database_path.exists()


def test_a_key_that_was_carried_elsewhere_gets_the_database_that_init_would_have_made(home: Home) -> None:
    """And then no other: what is there is never touched."""
    path = home.nodes[0].database_path
    path.unlink()
    create(home.nodes[0].folder, never_signed=True)
    made = path.read_bytes()
    with pytest.raises(StorageError, match="never overwritten"):
        create(home.nodes[0].folder, never_signed=True)
    assert path.read_bytes() == made


def test_it_is_for_the_validators_own_key(home: Home) -> None:
    first, second = home.nodes
    first.database_path.unlink()
    second.key_path.replace(first.key_path)
    with pytest.raises(ConfigError, match='not the key of validator "n0"'):
        create(first.folder, never_signed=True)
    assert not first.database_path.exists()
