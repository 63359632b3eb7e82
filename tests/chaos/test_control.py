"""Orders to a devnet from another terminal, where there is nobody to take them, or nobody who answers."""

import socket
from pathlib import Path

import pytest

from sequencer.chaos import control
from sequencer.failures import CommandError, ExitCode
from sequencer.local_cluster.home import CHAOS_SOCKET


def test_a_devnet_without_proxies_is_told_from_one_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ANSWER_SECONDS", 0.05)
    with pytest.raises(CommandError, match="no devnet with proxies") as nobody:
        control.ask(tmp_path, control.Look())
    assert nobody.value.exit_code is ExitCode.UNREACHABLE
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(tmp_path / CHAOS_SOCKET))
        silent.listen()
        with pytest.raises(CommandError, match="does not answer") as stuck:
            control.ask(tmp_path, control.Look())
    assert stuck.value.exit_code is ExitCode.FAILED
