"""The process that forks the nodes, and what surrounds it."""

from pathlib import Path

import pytest

from sequencer.local_cluster.owner import ForkServerProcess
from sequencer.local_cluster.protocol import ListNodes, Nodes


@pytest.mark.cluster
def test_modules_of_the_working_directory_are_not_taken_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody starts a devnet in a folder with scripts of their own, one of which is called like Python's."""
    (tmp_path / "stat.py").write_text("print('not what you think')\n")
    (tmp_path / "sequencer.py").write_text("raise SystemExit('nor this')\n")
    monkeypatch.chdir(tmp_path)
    with ForkServerProcess() as server:
        reply = server.ask(ListNodes())
    assert isinstance(reply, Nodes)
    assert reply.processes == []
