"""Real processes, one of which breaks the protocol with its own key: the others go on and say who it was."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sequencer.failures import ExitCode
from sequencer.home import HomePlan
from sequencer.local_cluster.byzantine import parse_byzantine
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.local_cluster.home import DEVNET_NAME, find_base_port, open_devnet
from tests.cluster.conftest import SECONDS
from tests.cluster.test_cli import run, run_devnet

StartWithLiar = Callable[[str], tuple[LocalCluster, str, tuple[str, ...]]]


@pytest.fixture
def start_with_liar(tmp_path: Path) -> Iterator[StartWithLiar]:
    """`start_with_liar("equivocate")` -> four running nodes, the liar's name, the names of the honest ones."""
    with ExitStack() as stack:

        def start(behaviour: str) -> tuple[LocalCluster, str, tuple[str, ...]]:
            plan = HomePlan(stakes=(100,) * 4, name=DEVNET_NAME, base_port=find_base_port(4))
            home, _ = open_devnet(tmp_path / "home", plan)
            # One that leads: who is in the fallback committee only would have no occasion to equivocate.
            liar = home.network.name_of(home.network.context().genesis_ledger.state.primary[0])
            cluster = stack.enter_context(LocalCluster(home, byzantine={liar: behaviour}))
            cluster.start()
            honest = tuple(name for name in cluster.names if name != liar)
            cluster.wait_ready(*honest, timeout_seconds=SECONDS)
            return cluster, liar, honest

        yield start


def read_log(cluster: LocalCluster, name: str, event: str) -> list[dict[str, str]]:
    lines = Path(cluster.log_path(name)).read_text().splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{") and f'"{event}"' in line]
    return [entry for entry in entries if entry["event"] == event]


def read_accusations(cluster: LocalCluster, names: tuple[str, ...]) -> set[tuple[str, str]]:
    """(offender, kind of evidence) of everything that these nodes have noticed."""
    entries = [entry for name in names for entry in read_log(cluster, name, "equivocation")]
    return {(entry["offender"], entry["evidence"].split("(")[0]) for entry in entries}


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("behaviour", "proofs"),
    [
        ("equivocate", {"DoubleProposal", "DoubleVote", "DoubleFinalize"}),
        ("double_vote", {"DoubleVote", "DoubleFinalize"}),
    ],
)
def test_honest_nodes_go_on_and_name_the_liar(start_with_liar: StartWithLiar, behaviour: str, proofs: set[str]) -> None:
    cluster, liar, honest = start_with_liar(behaviour)
    with cluster.client(honest[0]) as client:
        for number in range(10):
            client.submit([b"all the same %d" % number], wait_seconds=SECONDS)
    cluster.wait_until(
        lambda: read_accusations(cluster, honest), timeout_seconds=SECONDS, what=f"somebody to notice what {liar} does"
    )
    accusations = read_accusations(cluster, honest)
    assert {offender for offender, _ in accusations} == {liar}
    assert {kind for _, kind in accusations} <= proofs
    assert [entry["behaviour"] for entry in read_log(cluster, liar, "byzantine")] == [behaviour]
    assert set(cluster.running) == set(cluster.names)


@pytest.mark.cluster
@pytest.mark.parametrize("behaviour", ["forget", "propose_stale", "stall", "silent_to_some", "do_anything"])
def test_honest_nodes_go_on_beside_any_liar(start_with_liar: StartWithLiar, behaviour: str) -> None:
    cluster, liar, honest = start_with_liar(behaviour)
    for number, name in enumerate(honest):
        with cluster.client(name) as client:
            client.submit([b"through %d" % number], wait_seconds=SECONDS)
    assert {offender for offender, _ in read_accusations(cluster, honest)} <= {liar}
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
    arguments = ("--base-port", str(find_base_port(4)), "--byzantine", "n3=double_vote", "--byzantine", "n2=silent")
    with run_devnet(tmp_path, *arguments) as (process, _):
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=SECONDS)
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
