"""Real processes on free ports of this machine. Conditions with generous bounds, never a fixed sleep."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from netsim.trace import check_trace, read_journals
from sequencer.home import HomePlan
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.local_cluster.home import DEVNET_NAME, compute_journal_settings, find_base_port, open_devnet
from sequencer.network_config import NetworkConfig

SECONDS = 60.0
"""Bound of every wait: hundreds of times what it takes, so that only what never happens fails."""

StartCluster = Callable[..., LocalCluster]


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[StartCluster]:
    """`start_cluster(4)` -> nodes that have all decided; every process ends with the test, and is judged then."""
    networks: list[NetworkConfig] = []
    with ExitStack() as stack:

        def start(nodes: int = 4) -> LocalCluster:
            plan = HomePlan(stakes=(100,) * nodes, name=DEVNET_NAME, base_port=find_base_port(nodes))
            home, _ = open_devnet(tmp_path / "home", plan)
            networks.append(home.network)
            cluster = stack.enter_context(LocalCluster(home, compute_journal_settings(home)))
            cluster.start()
            cluster.wait_ready(timeout_seconds=SECONDS)
            return cluster

        yield start
    for network in networks:
        journals = read_journals(tmp_path.glob("home/*/journal/*.trace"), network.network_id)
        assert check_trace(journals, network.context()).decides > 0
