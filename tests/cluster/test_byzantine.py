"""Real processes, one of which breaks the protocol with its own key: the others go on and say who it was."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sequencer.failures import ExitCode
from sequencer.home import HomePlan
from sequencer.local_cluster.byzantine import parse_byzantine
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.local_cluster.home import DEVNET_NAME, find_base_port, open_devnet
from tests.cluster.conftest import SECONDS
from tests.cluster.test_cli import run, run_devnet

STAKE = 100
StartWithLiar = Callable[[str], tuple[LocalCluster, str, tuple[str, ...]]]


@pytest.fixture
def start_with_liar(tmp_path: Path) -> Iterator[StartWithLiar]:
    """`start_with_liar("equivocate")` -> four running nodes, the liar's name, the names of the honest ones."""
    with ExitStack() as stack:

        def start(behaviour: str) -> tuple[LocalCluster, str, tuple[str, ...]]:
            plan = HomePlan(stakes=(STAKE,) * 4, name=DEVNET_NAME, base_port=find_base_port(4))
            home, _ = open_devnet(tmp_path / "home", plan)
            # One that leads: who is in the fallback committee only would have no occasion to equivocate.
            liar = home.network.name_of(home.network.context().genesis_ledger.state.primary[0])
            cluster = stack.enter_context(LocalCluster(home, byzantine={liar: behaviour}))
            cluster.start()
            honest = tuple(name for name in cluster.names if name != liar)
            cluster.wait_ready(*honest, timeout_seconds=SECONDS)
            return cluster, liar, honest

        yield start


def read_log(cluster: LocalCluster, name: str, event: str) -> list[dict[str, Any]]:
    lines = Path(cluster.log_path(name)).read_text().splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{") and f'"{event}"' in line]
    return [entry for entry in entries if entry["event"] == event]


def find_accused(cluster: LocalCluster, names: tuple[str, ...]) -> set[str]:
    """Everybody whom these nodes have noticed to break a rule."""
    return {entry["offender"] for name in names for entry in read_log(cluster, name, "offence")}


def read_standing(cluster: LocalCluster, name: str) -> dict[str, tuple[str, int]]:
    """Status and stake of everyone, as this node sees it."""
    with cluster.client(name) as client:
        return {validator.name: (validator.status, validator.stake) for validator in client.validators().validators}


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("behaviour", "rules"),
    [
        ("equivocate", {"E1", "E2", "E3"}),
        ("double_vote", {"E2", "E3"}),
        ("forget", {"E4"}),
        ("vote_unjustified", {"E5"}),
    ],
)
def test_a_safety_offence_ends_in_a_tombstone_at_one_height_on_all_nodes(
    start_with_liar: StartWithLiar, behaviour: str, rules: set[str]
) -> None:
    """J3, J4: one node's log names it, a leaf holds the proof, every node slashes alike; and the chain goes on."""
    cluster, liar, honest = start_with_liar(behaviour)
    cluster.wait_until(
        lambda: all(read_log(cluster, name, "tombstoned") for name in cluster.names),
        timeout_seconds=SECONDS,
        what=f"all nodes to tombstone {liar}",
    )
    tombstones = [entry for name in cluster.names for entry in read_log(cluster, name, "tombstoned")]
    assert {entry["validator"] for entry in tombstones} == {liar}
    assert len({(entry["height"], entry["rule"]) for entry in tombstones}) == 1
    assert tombstones[0]["rule"] in rules
    assert len(tombstones) == len(cluster.names), "once on each"
    assert find_accused(cluster, honest) == {liar}
    assert [entry["behaviour"] for entry in read_log(cluster, liar, "byzantine")] == [behaviour]

    with cluster.client(honest[0]) as client:
        for number in range(10):
            client.submit_batch([b"all the same %d" % number], wait_seconds=SECONDS)
    for name in honest:
        standing = read_standing(cluster, name)
        assert standing.pop(liar) == ("tombstoned", STAKE - STAKE * 3 // 4), "a quarter of the stake, tripled"
        assert set(standing.values()) == {("active", STAKE)}
    assert set(cluster.running) == set(cluster.names)


@pytest.mark.cluster
@pytest.mark.parametrize("behaviour", ["propose_stale", "stall", "silent_to_some", "do_anything"])
def test_honest_nodes_go_on_beside_any_liar(start_with_liar: StartWithLiar, behaviour: str) -> None:
    cluster, liar, honest = start_with_liar(behaviour)
    for number, name in enumerate(honest):
        with cluster.client(name) as client:
            client.submit_batch([b"through %d" % number], wait_seconds=SECONDS)
    assert find_accused(cluster, honest) <= {liar}
    assert set(cluster.running) == set(cluster.names)


# How a node is told


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["n3"], '"n3" is not of the form NODE=BEHAVIOUR'),
        (["n9=equivocate"], 'there is no node "n9"; there are n0, n1, n2, n3'),
        (["n3=nice"], 'there is no behaviour "nice"; there are equivocate, double_vote'),
        (["n3=silent", "n3=stall"], "n3 has a behaviour already: silent"),
    ],
)
def test_what_makes_no_sense_is_refused(options: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_byzantine(options, ["n0", "n1", "n2", "n3"])


def test_several_nodes_can_be_told() -> None:
    told = parse_byzantine(["n3=equivocate", "n1=silent"], ["n0", "n1", "n2", "n3"])
    assert told == {"n3": "equivocate", "n1": "silent"}


@pytest.mark.cluster
def test_devnet_says_loudly_who_lies(tmp_path: Path) -> None:
    arguments = (
        "--stakes",
        "100,100,100,100",
        "--base-port",
        str(find_base_port(4)),
        "--byzantine",
        "n3=double_vote",
        "--byzantine",
        "n2=silent",
    )
    with run_devnet(tmp_path, *arguments) as (process, _):
        process.send_signal(signal.SIGINT)
        talk = " ".join(process.communicate(timeout=SECONDS)[1].split())
    assert process.returncode == ExitCode.OK
    assert "WARNING: n3 breaks the protocol on purpose (double_vote)" in talk
    assert "WARNING: n2 breaks the protocol on purpose (silent)" in talk
    assert "WARNING: they hold 200 of 400 stake, a third or more" in talk


@pytest.mark.cluster
def test_devnet_refuses_an_unknown_behaviour_before_anything_starts(tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = run("devnet", "--home", home, "--base-port", find_base_port(4), "--byzantine", "n3=nice")
    assert result.returncode == ExitCode.USAGE
    assert 'there is no behaviour "nice"; there are equivocate' in " ".join(result.stderr.split())
    assert not list(home.rglob("node.log"))


@pytest.mark.cluster
def test_only_a_devnet_can_be_told_to_lie(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert run("init", "--home", home, "--nodes", 4, "--name", "earnest").returncode == ExitCode.OK
    result = run("devnet", "--home", home, "--byzantine", "n3=silent")
    assert result.returncode == ExitCode.USAGE
    assert "--byzantine is for devnets" in " ".join(result.stderr.split())
    result = run("start", "--home", home, "--node", "n3", "--byzantine", "n3=silent")
    assert result.returncode == ExitCode.USAGE
    assert "No such option" in result.stderr
