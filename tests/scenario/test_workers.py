"""The processes of a campaign end with it, however it ends."""

import os
import signal

import pytest

from sequencer.cli.workers import open_workers


def test_sigterm_is_an_interrupt_and_leaves_no_worker_behind() -> None:
    former = signal.getsignal(signal.SIGTERM)
    workers: list[int] = []

    def run() -> None:
        with open_workers(1) as executor:
            workers.append(executor.submit(os.getpid).result())
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        run()
    (worker,) = workers
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert signal.getsignal(signal.SIGTERM) is former
