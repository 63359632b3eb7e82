"""Regions: the matrix file, the spread of nodes, and the latency floor that geography sets."""

from pathlib import Path

import pytest

from netsim.cluster import Cluster
from netsim.network import Constant, LogNormal
from netsim.report import SimulationSettings, run_simulation
from netsim.wan import RegionError, RegionMatrix, read_regions

MATRIX = Path(__file__).parents[2] / "configs" / "regions" / "aws-rtt-ms.csv"


@pytest.fixture(scope="module")
def matrix() -> RegionMatrix:
    return read_regions(MATRIX)


def test_the_shipped_matrix(matrix: RegionMatrix) -> None:
    assert len(matrix.regions) == 10
    assert matrix.region_of(13) == "ap-northeast-1"
    assert matrix.one_way_microseconds(0, 1) == 32_000
    assert matrix.one_way_microseconds(10, 11) == 32_000
    assert matrix.one_way_microseconds(0, 10) == 1_500


def test_jitter_spreads_delays_around_the_matrix(matrix: RegionMatrix) -> None:
    assert matrix.make_links()(0, 1).latency == Constant(32_000)
    model = matrix.make_links(jitter=0.1, loss=0.01)(0, 1)
    assert (model.latency, model.loss) == (LogNormal(32_000, 0.1), 0.01)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no regions"),
        ("region\n", "holds no regions"),
        ("region,a,a\na,1,2\na,1,2\n", "names a region twice"),
        ("region,a,b\na,1,2\n", "one row for each region"),
        ("region,a,b\nb,1,2\na,1,2\n", "in the same order"),
        ("region,a,b\na,1,2\nb,1\n", "row 3 has 1 times for 2 regions"),
        ("region,a,b\na,1,x\nb,1,2\n", "row 2 holds 'x'"),
        ("region,a,b\na,1,-2\nb,1,2\n", "row 2 holds '-2'"),
        ("region,a,b\na,1,inf\nb,1,2\n", "row 2 holds 'inf'"),
    ],
)
def test_a_bad_matrix_is_explained(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "regions.csv"
    path.write_text(text)
    with pytest.raises(RegionError, match=problem):
        read_regions(path)


def test_a_missing_or_binary_matrix_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RegionError, match="cannot read the region matrix"):
        read_regions(tmp_path / "nowhere.csv")
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RegionError, match="cannot read the region matrix"):
        read_regions(path)


def test_one_node_a_region_comes_near_the_floor(matrix: RegionMatrix) -> None:
    """Three message delays to a quorum, without jitter: within a quarter of 286 ms mean finality, 182 ms a block."""
    report = run_simulation(SimulationSettings(nodes=20, duration_seconds=20, links=matrix.make_links()))
    assert report.finality_mean_ms is not None
    assert report.block_interval_ms is not None
    assert report.finality_mean_ms < 1.25 * 286
    assert report.block_interval_ms < 1.25 * 182
    assert report.views_timed_out == 0


def test_a_region_that_falls_off_is_outlived(matrix: RegionMatrix) -> None:
    cluster = Cluster(10, seed=4, links=matrix.make_links(jitter=0.1))
    cluster.run_until(height=5)
    lost = cluster.leader()
    cluster.isolate(lost)
    others = [process for process in cluster.processes if process is not lost]
    cluster.run_until(lambda: all(other.height >= lost.height + 20 for other in others), timeout_seconds=120)
    cluster.heal()
    cluster.run_until(height=cluster.highest, timeout_seconds=30)
