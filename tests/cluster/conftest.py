"""Real processes on free ports of this machine. Conditions with generous bounds, never a fixed sleep."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sequencer.home import HomePlan
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.local_cluster.home import DEVNET_NAME, find_base_port, open_devnet

SECONDS = 60.0
"""Bound of every wait: hundreds of times what it takes, so that only what never happens fails."""

StartCluster = Callable[..., LocalCluster]


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[StartCluster]:
    """`start_cluster(4)` -> nodes that have all decided; every process ends with the test."""
    with ExitStack() as stack:

        def start(nodes: int = 4) -> LocalCluster:
            plan = HomePlan(stakes=(100,) * nodes, name=DEVNET_NAME, base_port=find_base_port(nodes))
            home, _ = open_devnet(tmp_path / "home", plan)
            cluster = stack.enter_context(LocalCluster(home))
            cluster.start()
            cluster.wait_ready(timeout_seconds=SECONDS)
            return cluster

        yield start
