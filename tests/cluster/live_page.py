"""The live page in a real browser: one start of it for a module, and a node whose answers a test writes itself."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from examples import browser
from examples.browser import find_browser
from sequencer.api.page import CONTENT_SECURITY_POLICY, INDEX, load_page

ORIGIN: Final = "http://node.test"
PATIENCE_MS: Final = 60_000
"""For what must happen, however slow the machine."""
START_MS: Final = 1_700_000_000_000
VIEW_MS: Final = 500
VIEWS: Final = 80
NAMES: Final = ("n0", "n1", "n2", "n3")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Debian's Chromium; skips the test where there is none."""
    path = find_browser()
    if path is None:
        pytest.skip("the live page is tested in Chromium, and there is no chromium on the PATH")
    with browser.open_browser(path) as opened:
        expect.set_options(timeout=PATIENCE_MS)
        yield opened


class Watcher:
    """What must not happen on any page: errors on the console, exceptions, requests to another origin."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self._origin = origin
        self.requests: list[str] = []
        self.strangers: list[str] = []
        self.complaints: list[str] = []
        context.on("request", self._on_request)
        context.on("console", lambda message: self._complain(message.type, message.text))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)
        if not request.url.startswith(self._origin + "/"):
            self.strangers.append(request.url)

    def _complain(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)


class Answers:
    """A node that exists only as what it answers. A test changes the answers; the page is the real one."""

    def __init__(self) -> None:
        self.is_silent = False
        self.sticks = False
        """From the next status on it answers nothing else."""
        self._is_stuck = False
        self.now_ms = START_MS + VIEWS * VIEW_MS
        self.status = make_status()
        self.views = [make_view(number) for number in range(VIEWS)]
        self.heard = dict.fromkeys(NAMES[1:], self.now_ms)
        self.validators = make_validators()
        self.ledger: dict[str, Any] = {"mode": make_mode("normal")}
        self.changes: list[dict[str, Any]] = []
        self.evidence: dict[str, Any] = {"pending": [], "included": []}
        self.faults: list[dict[str, Any]] = []
        self.rewrite: Callable[[str], str] = lambda text: text
        """Of every JSON answer, before it is sent."""
        self._files = load_page()

    def answer(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        if self.is_silent:
            route.abort("connectionrefused")
        elif url.path == "/" or url.path.startswith("/web/"):
            file = self._files[url.path.removeprefix("/web/") if url.path != "/" else INDEX]
            headers = {"Content-Type": file.media_type, "Content-Security-Policy": CONTENT_SECURITY_POLICY}
            route.fulfill(body=file.plain, headers=headers)
        elif url.path == "/v1/status" or not self._is_stuck:
            self._is_stuck = self.sticks
            text = json.dumps(self._find(url.path, {name: values[0] for name, values in parse_qs(url.query).items()}))
            route.fulfill(body=self.rewrite(text), content_type="application/json")

    def _find(self, path: str, query: dict[str, str]) -> object:
        match path.split("/")[2:]:
            case ["status"]:
                return self.status
            case ["views"]:
                views = [view for view in self.views if view["view"] >= int(query.get("from", 0))]
                return {"now_ms": self.now_ms, "next": None, "last_heard_ms": self.heard, "views": views[-256:]}
            case ["validators"]:
                return self.validators
            case ["ledger"]:
                return self.ledger
            case ["committees"]:
                return make_committees(self.ledger["mode"]["name"])
            case ["schedule"]:
                return make_schedule(self.status["view"])
            case ["changes"]:
                return {"complete_from": 1, "changes": self.changes}
            case ["evidence"]:
                return self.evidence
            case ["faults"]:
                return {"now_ms": self.now_ms, "has_log": True, "faults": self.faults}
            case ["blocks"]:
                return {"blocks": [make_block(height) for height in range(int(query["from"]), VIEWS)], "next": None}
            case ["blocks", height]:
                return make_block(int(height)) | {"transactions": ["0x" + "ab" * 32] * 25}
            case _:
                raise AssertionError(f"the page asks for {path}, which no node answers")


@contextmanager
def open_page(opened: Browser, answers: Answers, **options: Any) -> Iterator[tuple[Page, Watcher]]:
    """The page over these answers; afterwards nobody must have complained."""
    context = opened.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    context.set_default_timeout(PATIENCE_MS)
    context.route("**/*", answers.answer)
    watcher = Watcher(context, ORIGIN)
    page = context.new_page()
    page.goto(ORIGIN)
    try:
        yield page, watcher
    finally:
        context.close()
    assert not watcher.complaints
    assert not watcher.strangers


def make_status() -> dict[str, Any]:
    return {
        "network": "devnet",
        "network_id": "0x" + "12" * 32,
        "validator": "n0",
        "version": "1.2.3",
        "uptime_s": 60.0,
        "epoch": 0,
        "epoch_first_height": 1,
        "epoch_last_height": 1024,
        "view": VIEWS,
        "leader": "n0",
        "height": VIEWS - 1,
        "mode": "normal",
        "benched": [],
        "jailed": [],
        "tombstoned": [],
        "behind": False,
        "ready": True,
        "peers": ["n1", "n2", "n3"],
        "mempool": {"transactions": 3, "bytes": 300},
    }


def make_view(number: int, **fields: Any) -> dict[str, Any]:
    """A decided one with five transactions, led in turn."""
    started = START_MS + number * VIEW_MS
    return {
        "view": number,
        "epoch": 0,
        "leader": NAMES[number % 4],
        "leader_reason": "primary rotation",
        "committee": "primary",
        "entered_by": "qc",
        "started_ms": started,
        "ended_ms": started + VIEW_MS,
        "outcome": "decided",
        "proposal": {
            "hash": f"0x{number:064x}",
            "height": number,
            "transactions": 5,
            "payload_bytes": 500,
            "after_ms": 1.5,
        },
        "qc_after_ms": 4.0,
        "fc_after_ms": 7.5,
        "quorum_voters": list(NAMES),
        "finalize_voters": list(NAMES),
        "timeout_voters": [],
        "rival_voters": [],
        "late_voters": [],
        "timeout_cause": None,
        "timeout_after_ms": None,
        "reasons": [],
        **fields,
    }


def make_failed_view(number: int, reason: str) -> dict[str, Any]:
    return make_view(
        number,
        outcome="timed_out",
        proposal=None,
        qc_after_ms=None,
        fc_after_ms=None,
        quorum_voters=[],
        finalize_voters=[],
        timeout_voters=["n0", "n1", "n3"],
        timeout_cause="leader_lost",
        timeout_after_ms=12.0,
        reasons=[reason],
    )


def make_validators(weights: tuple[int, ...] = (100, 100, 100, 100)) -> dict[str, Any]:
    total = sum(weights)
    entry = {"status": "active", "reason": None, "weight_next": 0}
    return {
        "epoch": 0,
        "total": total,
        "success_threshold": total * 2 // 3 + 1,
        "one_honest_threshold": total // 3 + 1,
        "validators": [
            {"id": number, "name": f"n{number}", "stake": weight, "weight": weight, **entry}
            for number, weight in enumerate(weights)
        ],
    }


def make_mode(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "since_height": 70,
        "clean_leaves": 4,
        "handback_leaves": 16,
        "relapses": 0,
        "reason": "",
    }


def make_committees(mode: str) -> dict[str, Any]:
    member = {"weight": 100, "turns": 1, "status": "active", "reason": None}
    return {
        "epoch": 0,
        "leading": "fallback" if mode == "fallback" else "primary",
        "turns": 3,
        "primary": [{"name": name, **member} for name in NAMES[:3]],
        "fallback": [{"name": NAMES[3], **member}],
    }


def make_schedule(view: int) -> dict[str, Any]:
    views = [{"view": view + step, "leader": NAMES[step % 3], "why": "primary rotation"} for step in range(12)]
    return {"epoch": 0, "from_height": VIEWS, "views": views}


def make_block(height: int) -> dict[str, Any]:
    return {
        "height": height,
        "view": height,
        "epoch": 0,
        "hash": f"0x{height:064x}",
        "proposer": NAMES[height % 4],
        "timestamp_ms": START_MS + height * VIEW_MS,
        "payload_bytes": 500,
    }
