"""Debian's Prometheus over nodes of this machine, with the rules that are shipped.

Only durations are others: it scrapes and evaluates four times a second, and alerts do not wait.
"""

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from sequencer.dashboards.export import CONFIG_FILE, export
from sequencer.ports import Address, check_ports_free
from tests.cluster.conftest import SECONDS

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = ROOT / ".tools" / "usr" / "bin"
INTERVAL: Final = "250ms"
T = TypeVar("T")
Series = tuple[dict[str, str], list[float]]
"""Labels, and values other than NaN, in order of time."""


def find_tool(name: str) -> str:
    """`prometheus` or `promtool`; skips the test where there is none."""
    found = shutil.which(name) or shutil.which(name, path=str(TOOLS))
    if found is None:
        pytest.skip(f"there is no {name}, neither on the PATH nor in .tools: `make tools` fetches Debian's")
    return found


class Prometheus:
    """Asks it. Moments are Unix seconds."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.started_at = time.time()

    def get(self, path: str, **query: object) -> Any:
        """`data` of the answer. Fails the test with what Prometheus says about a query that it does not like."""
        text = urllib.parse.urlencode(query)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{text}", timeout=SECONDS) as answer:  # noqa: S310
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"{query}: {error.read().decode()}")

    def query(self, expr: str) -> list[Series]:
        """As it is now."""
        found = self.get("query", query=expr)["result"]
        return _parse((each["metric"], [each["value"]]) for each in found)

    def query_range(self, expr: str) -> list[Series]:
        """Since it was started, at every second, as a panel shows it."""
        found = self.get("query_range", query=expr, start=self.started_at, end=time.time(), step=1)["result"]
        return _parse((each["metric"], each["values"]) for each in found)

    def firing(self) -> set[tuple[str, str]]:
        """(alert, validator, instance or rule that it is about), ever since the start."""
        found = self.query_range('ALERTS{alertstate="firing"}')
        return {
            (labels["alertname"], labels.get("validator") or labels.get("rule") or labels.get("instance", ""))
            for labels, _ in found
        }

    def wait_for(self, condition: Callable[[], T], what: str) -> T:
        deadline = time.monotonic() + SECONDS
        while not (answer := condition()):
            assert time.monotonic() < deadline, f"waited {SECONDS:g} s for {what}; firing: {sorted(self.firing())}"
            time.sleep(0.1)  # outside of any event loop, and there is nothing to be told by
        return answer


def _parse(found: Iterator[tuple[dict[str, str], list[tuple[float, str]]]]) -> list[Series]:
    series = [(labels, [float(value) for _, value in values if value != "NaN"]) for labels, values in found]
    return [(labels, values) for labels, values in series if values]


@contextmanager
def run_prometheus(folder: Path, targets: Path, port: int) -> Iterator[Prometheus]:
    """It is ready, and ends with the block."""
    binary = find_tool("prometheus")
    check_ports_free([Address("127.0.0.1", port)])
    export(folder, targets)
    shorten_durations(folder)
    command = [
        binary,
        f"--config.file={folder / CONFIG_FILE}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = folder / "prometheus.log"
    with log.open("wb") as output, subprocess.Popen(command, stderr=output, cwd=folder) as process:
        try:
            prometheus = Prometheus(f"http://127.0.0.1:{port}")
            deadline = time.monotonic() + SECONDS
            while not _is_ready(prometheus.url):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)  # outside of any event loop, and there is nothing to be told by
            yield prometheus
        finally:
            process.kill()


def shorten_durations(folder: Path) -> None:
    config = folder / CONFIG_FILE
    config.write_text(re.sub(r"(scrape|evaluation)_interval: 5s", rf"\1_interval: {INTERVAL}", config.read_text()))
    for rules in (folder / "prometheus" / "rules").iterdir():
        rules.write_text(re.sub(r"\bfor: \w+", "for: 0s", rules.read_text()))


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=SECONDS) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False
