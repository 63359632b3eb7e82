"""Take the pictures of the live page that the README shows: `python -m examples.screenshots`.

Two networks of four real nodes are started for it. In the first one all is well, then the leader is killed. In the
second one a node equivocates and is slashed, and with the next leader the whole primary committee is gone.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page

from examples.browser import NAME, find_browser, open_browser
from sequencer.failures import CommandError
from sequencer.fault_log import KILL, FaultLog
from sequencer.home import HomePlan
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.local_cluster.home import (
    DEVNET_NAME,
    FAULTS_FILE,
    compute_fault_settings,
    find_base_port,
    open_devnet,
)
from sequencer.network_config import LeadershipSection

FOLDER: Final = Path(__file__).parent.parent / "docs" / "images"
WIDE: Final[Any] = {"width": 1280, "height": 900}
PHONE: Final[Any] = {"width": 390, "height": 844}
NODES: Final = 4
WAIT_SECONDS: Final = 60.0
WAIT_MS: Final = WAIT_SECONDS * 1000
TRAFFIC_SECONDS: Final = 0.25
"""Between two batches: a block for each, and now and then an empty one."""
VIEWS_MIN: Final = 76
"""What fits on the wide page."""


@contextmanager
def run_network(leadership: LeadershipSection, byzantine: str | None = None) -> Iterator[tuple[LocalCluster, str]]:
    """Four nodes, and the name of the first of the primary committee, which is `byzantine` in the way that is named."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "home"
        plan = HomePlan(
            stakes=(1000,) * NODES, name=DEVNET_NAME, base_port=find_base_port(NODES), leadership=leadership
        )
        home, _ = open_devnet(folder, plan)
        first = home.network.name_of(home.network.context().genesis_ledger.state.primary[0])
        liars = {} if byzantine is None else {first: byzantine}
        cluster = stack.enter_context(LocalCluster(home, compute_fault_settings(home), byzantine=liars))
        cluster.start()
        cluster.wait_ready(*(set(cluster.names) - set(liars)), timeout_seconds=WAIT_SECONDS)
        yield cluster, first


@contextmanager
def send_traffic(cluster: LocalCluster, name: str) -> Iterator[None]:
    """Some small transactions all the time, through this node."""
    ended = threading.Event()

    def send() -> None:
        with cluster.client(name) as client:
            for number in count():
                if ended.wait(TRAFFIC_SECONDS):
                    return
                client.submit_batch([os.urandom(110) for _ in range(1 + number * 7 % 5)])

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def look(browser: Browser, url: str, scheme: Any, size: Any = WIDE) -> Iterator[Page]:
    context = browser.new_context(viewport=size, color_scheme=scheme)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(url)
    page.locator("#sentence", has_text="Finalizing").wait_for()
    yield page
    context.close()


def wait_for_views(page: Page, selector: str, number: int) -> None:
    page.locator(f"[role=option]{selector}").nth(number - 1).wait_for()


def take(page: Page, name: str, selector: str | None = None) -> None:
    """The window, or one part of the page."""
    path = FOLDER / f"{name}.png"
    if selector is None:
        page.screenshot(path=path)
    else:
        page.locator(selector).screenshot(path=path)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


def find_witness(cluster: LocalCluster) -> str:
    """Who is in the fallback committee: it stays."""
    with cluster.client(cluster.names[0]) as client:
        return str(client.status().fallback[0])


def kill_the_leader(cluster: LocalCluster, witness: str) -> str:
    with cluster.client(witness) as client:
        victim = cluster.wait_until(
            lambda: find_victim(client.status().leader, witness),
            timeout_seconds=WAIT_SECONDS,
            what="a leader to kill",
        )
    FaultLog(cluster.home.path / FAULTS_FILE).begin(KILL, [victim], "screenshots")
    cluster.kill(victim)
    return victim


def find_victim(leader: str | None, witness: str) -> str:
    """The leader, unless that is who looks on."""
    return "" if leader is None or leader == witness else leader


def show_a_killed_leader(browser: Browser) -> None:
    with run_network(LeadershipSection()) as (cluster, _):
        witness = find_witness(cluster)
        with send_traffic(cluster, witness), look(browser, cluster.url(witness), "light") as page:
            wait_for_views(page, "", VIEWS_MIN)
            take(page, "page-healthy")
            with look(browser, cluster.url(witness), "dark") as dark:
                wait_for_views(dark, ".decided", VIEWS_MIN // 2)
                take(dark, "page-healthy-dark")
            with look(browser, cluster.url(witness), "light", PHONE) as phone:
                phone.locator("#leaders li").first.wait_for()
                take(phone, "page-phone")
            victim = kill_the_leader(cluster, witness)
            lost = page.locator(f'[role=option].timed_out[aria-label*="leader {victim}"]')
            lost.last.wait_for()
            page.wait_for_timeout(4000)  # some views without it, for the picture
            lost.last.click()
            page.locator("#view").wait_for()
            take(page, "page-killed-leader")


def show_a_liar_and_a_fallback(browser: Browser) -> None:
    leadership = LeadershipSection(fallback_after=1, handback_after=32)
    with run_network(leadership, "equivocate") as (cluster, liar):
        witness = find_witness(cluster)
        with send_traffic(cluster, witness), look(browser, cluster.url(witness), "dark") as page:
            page.locator("#feed li", has_text=f"{liar} tombstoned").wait_for()
            page.locator("#fallback").wait_for(state="hidden")
            wait_for_views(page, "", VIEWS_MIN)
            kill_the_leader(cluster, witness)
            page.locator("#fallback").wait_for()
            page.wait_for_timeout(2500)
            take(page, "page-fallback")
            take(page, "page-slashing", ".side:has(#feed)")


def main() -> int:
    path = find_browser()
    if path is None:
        raise CommandError(f"the pictures are taken with {NAME}, and there is none on the PATH")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open_browser(path) as browser:
        show_a_killed_leader(browser)
        show_a_liar_and_a_fallback(browser)
    return 0


if __name__ == "__main__":
    sys.exit(main())
