"""`sequencer debug bundle`: all that helps is in it, and no secret is."""

import base64
import json
import os
import signal
import tarfile
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner, Result

from consensus.types import Microseconds, NetworkId, ValidatorId
from sequencer.cli.main import app
from sequencer.client import Unreachable
from sequencer.debug import items
from sequencer.debug.items import Collection
from sequencer.debug.local import ask_for_task_tree, find_process, find_record, read_records
from sequencer.debug.task_tree import TASK_TREE_FILE, write_on_signal
from sequencer.failures import CommandError
from sequencer.home import Home, HomePlan, create_home, load_home
from sequencer.journal import Journal
from sequencer.local_cluster.cluster import LOG_FILE
from sequencer.storage.lock import DatabaseLock
from tests.lab import Lab

BASE_PORT = 31_450
"""Nothing listens there."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Two nodes that do not run; n0 has a log, and keys lie where nobody expects them."""
    path = tmp_path / "home"
    made = create_home(path, HomePlan(stakes=(100, 100), base_port=BASE_PORT), lambda node: None)
    (path / "n0" / LOG_FILE).write_text("first line\n" + "x" * 100 + "\nlast line\n")
    secret = made.nodes[0].key_path.read_text().strip()
    (path / "n0" / "notes.txt").write_text(f"do not lose: {secret}\n")
    node_file = path / "n0" / "node.toml"
    node_file.write_text(f"# my key: {secret}\n{node_file.read_text()}")
    return load_home(path)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["debug", "bundle", *map(str, arguments)], standalone_mode=False)


def read_bundle(path: Path) -> dict[str, bytes]:
    """Without the folder that all files are in."""
    with tarfile.open(path) as archive:
        members = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive.getmembers()}
        return {name: file.read() for name, file in members.items() if file is not None}


def list_forms(secret: str) -> list[bytes]:
    """In which a key might be written, as a whole or in halves."""
    raw = bytes.fromhex(secret)
    forms = [secret.encode(), secret.upper().encode(), raw, base64.b64encode(raw)[:-4], repr(raw)[2:-1].encode()]
    return [half for form in forms for half in (form[: len(form) // 2], form[len(form) // 2 :])]


def test_no_byte_of_any_key_is_in_a_bundle(home: Home, tmp_path: Path) -> None:
    """Wherever the key lies, and whatever its file is called."""
    secrets = [node.key_path.read_text().strip() for node in home.nodes]
    secrets.append(home.treasury_path.read_text().strip())
    path = tmp_path / "bundle.tar.gz"
    assert run("--home", home.path, "-o", path).exception is None
    files = read_bundle(path)
    assert len(files) > 5
    for secret in secrets:
        for form in list_forms(secret):
            assert not [name for name, data in files.items() if form in data]
    assert any(form in (home.path / "n0" / "notes.txt").read_bytes() for form in list_forms(secrets[0]))


def test_of_the_environment_it_has_our_names_and_no_value(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQUENCER_LOG_LEVEL", "value-that-is-ours")
    monkeypatch.setenv("SOMEBODY_S_TOKEN", "value-of-somebody")
    path = tmp_path / "bundle.tar.gz"
    assert run("--home", home.path, "-o", path).exception is None
    content = b"".join(read_bundle(path).values())
    assert b"SEQUENCER_LOG_LEVEL" in content
    assert not [text for text in (b"value-that-is-ours", b"SOMEBODY_S_TOKEN", b"value-of-somebody") if text in content]


def test_a_bundle_says_what_is_in_it_and_what_is_not(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    result = run("--home", home.path, "-o", path)
    assert result.stdout.strip() == str(path)
    assert "n0 does not answer: connection refused" in result.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    files = read_bundle(path)
    manifest = json.loads(files["manifest.json"])
    assert {file["path"] for file in manifest["files"]} == set(files) - {"manifest.json"}
    assert all(file["bytes"] == len(files[file["path"]]) for file in manifest["files"])
    left_out = {entry["path"]: entry["why"] for entry in manifest["left_out"]}
    assert "does not run" in left_out["nodes/n0/task_tree.txt"]
    assert "stderr" in left_out["nodes/n1/log.txt"]
    assert "keeps no journal" in left_out["nodes/n1/journal.txt"]
    assert "never opened" in left_out["nodes/n0/ (keys)"]
    assert files["nodes/n0/log.txt"].endswith(b"last line\n")
    assert b'validator = "n0"' in files["nodes/n0/config.toml"]
    assert b"notes.txt" in files["nodes/n0/files.txt"]
    assert json.loads(files["host.json"])["sequencer"]
    assert isinstance(run("--home", home.path, "-o", path).exception, CommandError), "it overwrites nothing"


def test_without_a_home_and_an_answer_there_is_nothing_to_bundle(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    assert isinstance(run("--url", f"http://127.0.0.1:{BASE_PORT}", "-o", path).exception, Unreachable)
    assert not list(tmp_path.iterdir())


def test_a_bundle_is_bounded_and_keeps_the_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(items, "ITEM_BYTES_MAX", 10)
    monkeypatch.setattr(items, "BUNDLE_BYTES_MAX", 25)
    collection = Collection()
    collection.add("one", "", b"0123456789abcdef")
    collection.add("two", "", b"short")
    collection.add("three", "", b"0123456789")
    collection.add("four", "", b"0")
    collection.add_tail("gone", "", tmp_path / "nothing")
    assert [(item.path, item.data, item.is_cut) for item in collection.items] == [
        ("one", b"6789abcdef", True),
        ("two", b"short", False),
        ("three", b"0123456789", False),
    ]
    assert [path for path, _ in collection.left_out] == ["four", "gone"]


def test_the_end_of_a_journal_is_read_from_a_record_on(tmp_path: Path) -> None:
    """Wherever it was cut."""
    lab = Lab()
    vote = lab.vote(1, lab.block(lab.genesis, 1))
    journal = Journal(tmp_path, NetworkId(bytes(32)), ValidatorId(0), Microseconds(1))
    for number in range(20):
        journal.hear(ValidatorId(1), vote, Microseconds(number + 2))
    journal.write_turn([], Microseconds(30))
    journal.close()
    data = journal.path.read_bytes()
    whole = list(read_records(data))
    assert len(whole) == 21
    assert find_record(data) == 0
    for cut in (1, 7, 100, 200, len(data) // 2):
        found = list(read_records(data[cut:][find_record(data[cut:]) :]))
        assert found
        assert found == whole[-len(found) :]
    assert find_record(b"no record at all" * 10) == 160


async def test_a_node_writes_its_task_tree_when_it_is_asked(tmp_path: Path) -> None:
    path = tmp_path / TASK_TREE_FILE
    async with trio.open_nursery() as nursery:
        await nursery.start(write_on_signal, tmp_path)
        nursery.start_soon(trio.sleep_forever, name="somebody who waits")
        for _ in range(2):
            refusal = await trio.to_thread.run_sync(ask_for_task_tree, os.getpid(), path)
            assert refusal is None
        nursery.cancel_scope.cancel()
    tree = path.read_text()
    assert tree.startswith(f"process {os.getpid()} at ")
    assert "somebody who waits" in tree
    assert "sequencer/debug/task_tree.py:" in tree
    assert "sleep_forever" in tree
    assert "_real_async_yield" not in tree
    assert str(Path(__file__).parents[2]) not in tree
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_process_that_would_die_of_the_signal_is_not_asked(tmp_path: Path) -> None:
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    refusal = ask_for_task_tree(os.getpid(), tmp_path / TASK_TREE_FILE)
    assert refusal is not None
    assert "older" in refusal


def test_who_runs_a_node_is_known_by_its_lock(tmp_path: Path) -> None:
    database = tmp_path / "node.db"
    assert find_process(database) is None
    with DatabaseLock(database):
        assert find_process(database) == os.getpid()
    assert find_process(database) is None, "the file alone means nothing"
