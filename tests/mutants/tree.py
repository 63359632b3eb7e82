"""A copy of the tree in which bugs are planted, and the runs against it."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.layers import SEEDS, Layer
from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parents[2]
FOLDERS = ("consensus", "netsim", "sequencer", "tests", "configs", "examples", "benchmarks", "docs")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md")
_CANARY = (
    "import consensus.safety as a, netsim.cluster as b, sequencer.node as c; print(a.__file__, b.__file__, c.__file__)"
)
_KILLER = re.compile(r"^(?:FAILED|ERROR) (\S+\.py(?:::[^\n]*?)?)(?: - .*)?$", re.MULTILINE)
_SEED = re.compile(r"seeds until a failure: (\d+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one layer said of one mutant. `killer` is the first test that failed, None when it survived."""

    layer: str
    killer: str | None
    seconds: float
    seeds: int | None = None


class Tree:
    """A copy of the tracked tree in `folder`. One mutant at a time stands in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        for name in FOLDERS:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", ".*")
                shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in FILES:
            shutil.copy(ROOT / name, folder / name)
        self._stamp = int(time.time())
        self._check_canary()

    @contextmanager
    def plant(self, mutant: Mutant) -> Iterator[None]:
        """The mutant stands in the tree until the end of the block."""
        originals = {path: (self.root / path).read_text() for path in mutant.mutate(self.root)}
        try:
            for path, source in mutant.mutate(self.root).items():
                self._write(path, source)
            yield
        finally:
            for path, source in originals.items():
                self._write(path, source)

    def run_tests(self, tests: Sequence[str], layer: str, timeout_seconds: float) -> Outcome:
        """pytest over these files and folders, in this order, until the first failure."""
        arguments = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", *tests)
        began = time.monotonic()
        done = self._run(arguments, timeout_seconds)
        seconds = time.monotonic() - began
        if done is None:
            return Outcome(layer, f"no end within {timeout_seconds:.0f} s", seconds)
        if done.returncode == 0:
            return Outcome(layer, None, seconds)
        found = _KILLER.search(done.stdout)
        if done.returncode != 1 or found is None:
            raise RuntimeError(f"the tests do not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return Outcome(layer, found[1], seconds)

    def run_layer(self, layer: Layer, near: Sequence[str], seeds: int = SEEDS) -> Outcome | None:
        """The whole layer, its tests that are near the mutant first; None when the tree has nothing of it."""
        if layer.command:
            return self._run_campaign(layer, seeds)
        targets = [target for target in layer.targets if (self.root / target).exists()]
        first = [test for test in near if layer.owns(test)]
        return self.run_tests([*first, *targets], layer.name, layer.timeout_seconds) if targets else None

    def _run_campaign(self, layer: Layer, seeds: int) -> Outcome:
        began = time.monotonic()
        done = self._run([part.format(seeds=seeds) for part in layer.command], layer.timeout_seconds)
        seconds = time.monotonic() - began
        if done is None:
            return Outcome(layer.name, f"no end within {layer.timeout_seconds} s", seconds)
        found = _SEED.search(done.stdout)
        if done.returncode == 0:
            return Outcome(layer.name, None, seconds, seeds)
        if found is None:
            raise RuntimeError(f"the campaign does not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return Outcome(layer.name, f"seed {found[1]}", seconds, int(found[1]))

    def _run(self, arguments: Sequence[str], timeout_seconds: float) -> "subprocess.CompletedProcess[str] | None":
        """Python in the copy; None when time was up."""
        environment = {**os.environ, "HYPOTHESIS_PROFILE": "mutants", "PYTHONPATH": str(self.root), "COLUMNS": "400"}
        try:
            return subprocess.run(
                (sys.executable, *arguments),
                cwd=self.root,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None

    def _write(self, path: str, source: str) -> None:
        """With a time of its own: byte code is told apart by the seconds of its source's time, and by its size."""
        self._stamp += 1
        (self.root / path).write_text(source)
        os.utime(self.root / path, (self._stamp, self._stamp))

    def _check_canary(self) -> None:
        """What is run must be the copy and not the tree that is installed."""
        done = self._run(("-c", _CANARY), 60)
        loaded = () if done is None else [Path(name) for name in done.stdout.split()]
        if len(loaded) != 3 or not all(path.is_relative_to(self.root) for path in loaded):
            raise RuntimeError(f"tests in {self.root} would run against {loaded}")
