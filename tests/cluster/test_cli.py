"""The command line against real processes: what it prints, how it ends, what it refuses and in which words."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sequencer.failures import ExitCode
from sequencer.fault_log import FaultLog
from sequencer.local_cluster.home import FAULTS_FILE, find_base_port
from sequencer.payload import DEFAULT_NAMESPACE, compute_transaction_hash
from tests.cluster.conftest import SECONDS

pytestmark = pytest.mark.cluster

ONE = compute_transaction_hash(DEFAULT_NAMESPACE, b"one").hex()

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "sequencer")
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def run(*arguments: object, cwd: Path = ROOT, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def wait_until_gone(pids: list[int]) -> None:
    """Fails when one of these processes is still there after `SECONDS`."""
    deadline = time.monotonic() + SECONDS
    alive = list(pids)
    while alive:
        assert time.monotonic() < deadline, f"still running: {alive}"
        alive = [pid for pid in alive if is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    # A zombie has ended; only its parent has not asked for it yet.
    return state != "Z"


@contextmanager
def run_devnet(
    folder: Path, *arguments: str, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A devnet that is ready, and what its ready file says. Killed at the end if it has not ended by then."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [*COMMAND, "devnet", "--home", str(folder / "devnet"), "--ready-file", str(ready), *arguments]
    environment = ENVIRONMENT | variables
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while not ready.exists():
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline, "the devnet did not become ready"
            yield process, json.loads(ready.read_text())
        finally:
            if process.poll() is None:
                process.kill()


@pytest.fixture
def base_port() -> str:
    return str(find_base_port(4))


def test_devnet_from_the_first_command_to_a_resumed_chain(tmp_path: Path, base_port: str) -> None:
    """Start, look, submit, ask, drain; then resume the same chain."""
    with run_devnet(tmp_path, "--base-port", base_port) as (process, ready):
        urls = [node["api"] for node in ready["nodes"]]
        pids = [node["pid"] for node in ready["nodes"]]
        assert [node["name"] for node in ready["nodes"]] == ["n0", "n1", "n2", "n3"]
        assert all(map(is_alive, pids))

        table = run("status", "--home", tmp_path / "devnet")
        assert table.returncode == ExitCode.OK
        assert all(url.removeprefix("http://") in table.stdout for url in urls)
        assert table.stdout.count("ready") == 4

        transactions = tmp_path / "transactions.hex"
        transactions.write_text("0x" + b"one".hex() + "\n\n# a remark\n" + b"two".hex() + "\n")
        sent = run("tx", "submit", transactions, "--wait=finalized", "--url", urls[1], "-o", "json")
        assert sent.returncode == ExitCode.OK, sent.stderr
        report = json.loads(sent.stdout)
        assert (report["submitted"], report["accepted"], report["rejected"], report["all_final"]) == (2, 2, [], True)
        again = run("tx", "submit", "-", "--url", urls[2], "-o", "json", stdin=b"two".hex())
        assert json.loads(again.stdout)["finalized_before"] == 1
        found = run("tx", "status", ONE, "--url", urls[3], "-o", "json")
        assert json.loads(found.stdout)["status"] == "finalized"
        height = json.loads(found.stdout)["height"]

        sent = run("tx", "submit", "--namespace=7", b"one".hex(), "--wait=finalized", "--url", urls[1], "-o", "json")
        assert (json.loads(sent.stdout)["accepted"], json.loads(sent.stdout)["all_final"]) == (1, True), "another one"
        found = run("tx", "status", json.loads(sent.stdout)["hash"], "--url", urls[2], "-o", "json")
        assert (json.loads(found.stdout)["status"], json.loads(found.stdout)["namespace"]) == ("finalized", 7)

        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=SECONDS)
        assert process.returncode == ExitCode.OK, talk
        assert "127.0.0.1" in talk
        assert "sequencer chaos kill-leader" in talk
        assert f"in a browser: {ready['nodes'][0]['page']}\n" in talk
        wait_until_gone(pids)

    with run_devnet(tmp_path, "--base-port", base_port) as (process, ready):
        found = run(
            "tx",
            "status",
            ONE,
            "--url",
            ready["nodes"][0]["api"],
            "-o",
            "json",
        )
        assert json.loads(found.stdout)["height"] == height
        other = run("devnet", "--home", tmp_path / "devnet", "--nodes", 7)
        assert other.returncode == ExitCode.FAILED
        assert "--reset" in other.stderr
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
    wait_until_gone([node["pid"] for node in ready["nodes"]])


def test_no_orphans_when_the_devnet_is_killed(tmp_path: Path, base_port: str) -> None:
    """Nobody tells the nodes that their owner is gone; they notice."""
    with run_devnet(tmp_path, "--base-port", base_port) as (process, ready):
        # A frozen one cannot look around: the kernel has to end it.
        os.kill(ready["nodes"][0]["pid"], signal.SIGSTOP)
        process.kill()
        process.wait()
        wait_until_gone([node["pid"] for node in ready["nodes"]])


def test_devnet_brings_a_killed_node_back(tmp_path: Path, base_port: str) -> None:
    """The line says so, and the node catches up as a new process."""
    with run_devnet(tmp_path, "--base-port", base_port) as (process, ready):
        os.kill(ready["nodes"][2]["pid"], signal.SIGKILL)
        assert process.stderr is not None
        log = FaultLog(tmp_path / "devnet" / FAULTS_FILE)
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "it is started again in" in line:
                assert [(fault.fault, fault.targets, fault.by) for fault in log.read_active()] == [
                    ("kill", ("n2",), "devnet")
                ]
            if "n2 is started again" in line:
                break
        assert log.read_active() == ()
        assert any("killed by SIGKILL" in line for line in lines)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
        assert process.returncode == ExitCode.OK


def test_a_node_that_somebody_else_started_does_not_end_the_devnet(tmp_path: Path, base_port: str) -> None:
    """It was killed and started by hand before the devnet did: its ports are taken, the other nodes go on."""
    # A variable for one node is none for all of them.
    with run_devnet(tmp_path, "--base-port", base_port, SEQUENCER_API=f"127.0.0.1:{base_port}") as (process, ready):
        os.kill(ready["nodes"][2]["pid"], signal.SIGKILL)
        with start_node(tmp_path / "devnet" / "n2"):
            assert process.stderr is not None
            line = next(line for line in process.stderr if "started again:" in line or "started again, as" in line)
            assert "n2 is not started again" in line
            log = FaultLog(tmp_path / "devnet" / FAULTS_FILE)
            deadline = time.monotonic() + SECONDS
            while log.read_active():
                assert time.monotonic() < deadline, "it is back, whoever has started it: the fault is over"
                time.sleep(0.05)  # outside of any event loop, and there is nothing to be told by
            assert "is held by" in line
            assert process.poll() is None
        assert run("status", "--home", tmp_path / "devnet").stdout.count("ready") == 3
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
        assert process.returncode == ExitCode.OK


@contextmanager
def start_node(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`sequencer start`, once it listens; ended with SIGTERM afterwards."""
    command = [*COMMAND, "start", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as node:
        try:
            assert node.stderr is not None
            for line in node.stderr:
                assert "error:" not in line, line
                if '"listening"' in line:
                    break
            yield node
        finally:
            node.terminate()


def test_the_log_names_peers_and_the_reason_why_one_cannot_be_reached(home: Path) -> None:
    with start_node(home / "n0") as node:
        assert node.stderr is not None
        line = json.loads(next(line for line in node.stderr if "peer_unreachable" in line))
        assert line["peer"] in ("n1", "n2", "n3")
        assert line["error"] == "Connection refused"


def test_reset_leaves_a_home_alone_from_which_a_node_runs(tmp_path: Path) -> None:
    made = run("init", "--home", tmp_path / "devnet", "--name", "devnet", "--base-port", find_base_port(4))
    assert made.returncode == ExitCode.OK
    with start_node(tmp_path / "devnet" / "n1"):
        refused = run("devnet", "--home", tmp_path / "devnet", "--reset")
        check_refusal(refused, ExitCode.UNSAFE, "a running node has it open")
    assert (tmp_path / "devnet" / "n0" / "validator.key").exists()


def test_a_new_devnet_that_finds_its_ports_taken_leaves_nothing_behind(tmp_path: Path) -> None:
    """The next attempt may name other ports, and `status` reads them from the home.

    A ready file of an earlier run would say that this one is ready.
    """
    base_port = find_base_port(4)
    ready = tmp_path / "ready.json"
    ready.write_text("of an earlier run")
    with socket.create_server(("127.0.0.1", base_port + 2)):
        refused = run("devnet", "--home", tmp_path / "devnet", "--base-port", base_port, "--ready-file", ready)
    check_refusal(refused, ExitCode.FAILED, f"port {base_port + 2} is held by", "--base-port")
    assert not (tmp_path / "devnet").exists()
    assert not ready.exists()


def test_reset_deletes_devnets_only(tmp_path: Path) -> None:
    """A folder with anything else in it, and the home of another network, stay as they are."""
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("years of work")
    refused = run("devnet", "--home", tmp_path / "papers", "--reset")
    assert refused.returncode == ExitCode.FAILED
    assert "refuses to delete" in refused.stderr
    assert (tmp_path / "papers" / "thesis.txt").exists()

    assert run("init", "--home", tmp_path / "mine", "--name", "production").returncode == ExitCode.OK
    refused = run("devnet", "--home", tmp_path / "mine", "--reset")
    assert refused.returncode == ExitCode.FAILED
    assert 'network "production"' in refused.stderr
    assert (tmp_path / "mine" / "n0" / "validator.key").exists()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("homes") / "home"
    made = run("init", "--home", path, "--base-port", find_base_port(4))
    assert made.returncode == ExitCode.OK, made.stderr
    return path


def check_refusal(result: subprocess.CompletedProcess[str], code: ExitCode, *words: str) -> None:
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_start_refuses_a_busy_port_and_names_its_owner(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = run("start", home / "n0", "--api", f"127.0.0.1:{port}")
    check_refusal(result, ExitCode.FAILED, str(port), f"pid {os.getpid()}", "choose another port")


def test_start_refuses_an_unknown_key_and_names_the_nearest(home: Path, tmp_path: Path) -> None:
    text = (home / "n0" / "node.toml").read_text().replace("durability =", "durabilty =")
    (tmp_path / "node.toml").write_text(text)
    check_refusal(run("start", tmp_path), ExitCode.FAILED, "durabilty", 'Did you mean "durability"?')


def test_start_refuses_a_key_that_others_can_read(home: Path) -> None:
    key = home / "n1" / "validator.key"
    key.chmod(0o644)
    check_refusal(run("start", home / "n1"), ExitCode.UNSAFE, "other users can access", f"chmod 600 {key}")


def test_start_refuses_a_corrupt_database_and_leaves_it(home: Path) -> None:
    database = home / "n2" / "node.db"
    damaged = b"not a database" + database.read_bytes()[14:]
    database.write_bytes(damaged)
    check_refusal(run("start", home / "n2"), ExitCode.UNSAFE, str(database), "new key")
    assert database.read_bytes() == damaged


def test_start_refuses_to_sign_without_its_record(home: Path) -> None:
    (home / "n3" / "node.db").unlink()
    check_refusal(run("start", home / "n3"), ExitCode.UNSAFE, "there is no database", "must not sign")
    assert not (home / "n3" / "node.db").exists()


def test_bad_lines_are_named_before_anything_is_sent(tmp_path: Path) -> None:
    """No node runs here: what is wrong with the input is found before one is asked."""
    file = tmp_path / "transactions.hex"
    file.write_text("0xc0ffee\nhello\nabc\n")
    result = run("tx", "submit", file)
    check_refusal(result, ExitCode.FAILED, "nothing was sent", "line 2: not hex", "line 3: an odd number")
    check_refusal(run("tx", "submit", "no-such-file.hex"), ExitCode.USAGE, "neither a file nor")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("init --home new --stakes 100,0", ExitCode.USAGE, ["stakes are 1 or more"]),
        ("init --home new --stakes 1,,2", ExitCode.USAGE, ["whole numbers with commas between them"]),
        ("init --home new --name Main", ExitCode.USAGE, ["a name is made of a-z"]),
        ("init --home file/new", ExitCode.FAILED, ["file/new: not a directory", "choose another place"]),
        ("devnet --home file/new", ExitCode.FAILED, ["file/new: not a directory"]),
        ("devnet --home new --stakes 1,x", ExitCode.USAGE, ["whole numbers with commas between them"]),
        ("devnet --home new --base-port 0", ExitCode.USAGE, ["base port 0"]),
        ("devnet --home new --ready-file none/ready", ExitCode.USAGE, ["there is no folder none"]),
        ("tx submit .", ExitCode.FAILED, ["is a directory", "name a file"]),
        ("tx status abc", ExitCode.USAGE, ['"abc" is no hash', "64 hex digits"]),
        ("simulate --regions none.csv", ExitCode.USAGE, ["none.csv: No such file or directory. Name a CSV file"]),
        ("start none", ExitCode.FAILED, ["no such file", "sequencer init"]),
        ("start .", ExitCode.FAILED, ["This folder holds 1 nodes: give one of theirs, such as n0"]),
    ],
)
def test_what_cannot_be_done_is_said_in_one_paragraph(
    tmp_path: Path, arguments: str, code: ExitCode, words: list[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "n0").mkdir()
    (tmp_path / "n0" / "node.toml").touch()
    check_refusal(run(*arguments.split(), cwd=tmp_path), code, *words)
    assert not (tmp_path / "new").exists()


def test_a_wrong_flag_is_named_once_and_counts_as_usage(home: Path) -> None:
    refused = run("start", home / "n0", "--listen", "here")
    check_refusal(refused, ExitCode.USAGE, 'error: flag --listen: expected "host:port"')
    check_refusal(run("start", home / "n0", "--log-level", "loud"), ExitCode.USAGE, "--log-level: expected")


def test_nodes_that_cannot_be_reached_end_with_four() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    result = run("status", "--url", url, "-o", "json")
    assert result.returncode == ExitCode.UNREACHABLE
    assert json.loads(result.stdout)["nodes"][0]["error"] == "connection refused"
    check_refusal(run("tx", "submit", "c0ffee", "--url", url), ExitCode.UNREACHABLE, url)


def test_version_and_usage() -> None:
    assert set(json.loads(run("version", "-o", "json").stdout)) == {"sequencer", "python", "platform"}
    assert run("--version").stdout == run("version").stdout
    assert run("no-such-command").returncode == ExitCode.USAGE
