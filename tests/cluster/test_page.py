"""The live page in Chromium, over answers that the tests write: what it says, who can use it, and what it costs."""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.cluster.live_page import (
    NAMES,
    VIEWS,
    Answers,
    Watcher,
    make_failed_view,
    make_mode,
    make_validators,
    make_view,
    open_browser,
    open_page,
)
from tests.cluster.page_audit import find_flaws

EVIL = "<img src=x onerror=window.isBroken=1>"
SENTENCE = "#sentence"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
RED = {"light": "rgb(179, 65, 0)", "dark": "rgb(255, 146, 89)"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def answers() -> Answers:
    return Answers()


def make_proof() -> dict[str, Any]:
    message = {"kind": "quorum_vote", "view": 41, "high_qc_view": None, "transaction": None}
    return {
        "offender": "n3",
        "rule": "E2",
        "epoch": 0,
        "id": "0x" + "33" * 32,
        "height": 42,
        "contradiction": "In view 41 it voted for two different leaves; a validator votes once in a view.",
        "messages": [
            {**message, "leaf": "0xaaaa" + "01" * 30, "signature": "0x1111" + "00" * 62},
            {**message, "leaf": "0xbbbb" + "02" * 30, "signature": "0x2222" + "00" * 62},
        ],
    }


def punish(answers: Answers) -> None:
    """n3 is slashed and tombstoned for a double vote."""
    answers.changes = [
        {"height": 42, "kind": "tombstoned", "fields": {"validator": "n3", "rule": "E2"}, "reason": "never returns"},
        {"height": 42, "kind": "slashed", "fields": {"validator": "n3", "amount": 75}, "reason": "lost 75 for E2"},
    ]
    answers.evidence["included"] = [make_proof()]
    answers.validators["validators"][3] |= {"status": "tombstoned", "reason": "E2 in epoch 0: lost 75 of 100"}
    answers.status["tombstoned"] = ["n3"]


def lose(answers: Answers, *names: str) -> None:
    """This node has lost its connections to these."""
    answers.status["peers"] = [name for name in answers.status["peers"] if name not in names]


def make_everything_happen(answers: Answers) -> None:
    punish(answers)
    lose(answers, "n2")
    answers.views[50] = make_failed_view(50, "n2 leads, and the connection to it was lost.")
    answers.views[51] = make_view(51, committee="fallback")
    answers.ledger["mode"] = make_mode("fallback")
    answers.status["mode"] = "fallback"
    answers.changes.append({"height": 70, "kind": "fallback_activated", "fields": {}, "reason": "3 views were skipped"})
    answers.faults = [
        {"fault": "kill", "targets": ["n2"], "since_ms": answers.views[49]["started_ms"], "until_ms": None},
    ]


def test_a_healthy_network_is_told_in_one_sentence_and_seven_parts(browser: Browser, answers: Answers) -> None:
    with open_page(browser, answers) as (page, _):
        expect(page.locator(SENTENCE)).to_contain_text(
            "All 4 validators vote; any one of them may fail without a halt."
        )
        expect(page.locator("#health")).to_have_attribute("data-level", "ok")
        options = page.locator("[role=option]")
        expect(options.last).to_have_attribute("aria-label", "View 79, leader n3, decided, 5 transactions, 500 ms")
        assert options.count() > 40
        expect(page.locator("svg.votes")).to_have_attribute("aria-label", re.compile("n2 in"))
        expect(page.locator(".threshold.quorum")).to_have_text("quorum: 267")
        expect(page.locator(".threshold.honest")).to_have_text("one honest: 134")
        expect(page.locator("#leaders li").first).to_contain_text("primary rotation")
        expect(page.locator(".committees")).to_contain_text("n3 in reserve")
        expect(page.locator("#latency tbody tr").last).to_contain_text("6.0 ms")
        expect(page.locator("#blocks li").first).to_contain_text("5 transactions")
        expect(page.locator("#node")).to_contain_text("✓ n2")
        expect(page.locator("#feed-note")).to_contain_text("nothing has happened")
        expect(page.locator("#fallback")).to_be_hidden()
        assert [link.get_attribute("href") for link in page.locator("nav a").all()] == ["docs", "metrics"]


MARGINS = [
    (["n2"], (100,) * 4, "risk", "n2 is silent; one more validator lost halts the network.", ""),
    (["n2"], (100,) * 7, "ok", "n2 is silent; any one more may fail without a halt.", ""),
    (["n2"], (10, 300, 10, 300), "risk", "n2 is silent; losing n1 or n3 halts the network.", ""),
    (
        ["n2", "n3"],
        (100,) * 4,
        "halted",
        "Halted: n2 and n3 are silent.",
        "200 of 400 stake answers; finality needs 267",
    ),
]
"""Who is lost, what everybody weighs -> level, sentence, detail."""


def test_the_margin_to_a_halt_is_counted_in_stake(browser: Browser, answers: Answers) -> None:
    with open_page(browser, answers) as (page, _):
        for lost, weights, level, sentence, detail in MARGINS:
            names = [f"n{number}" for number in range(len(weights))]
            answers.validators = make_validators(weights)
            answers.heard = dict.fromkeys(names[1:], answers.now_ms)
            answers.views[-3:] = [make_view(number, quorum_voters=names) for number in range(VIEWS - 3, VIEWS)]
            answers.status |= {"peers": names[1:], "epoch": answers.status["epoch"] + 1, "height": VIEWS}
            lose(answers, *lost)
            expect(page.locator(SENTENCE)).to_contain_text(sentence)
            expect(page.locator("#health")).to_have_attribute("data-level", level)
            expect(page.locator("#detail")).to_contain_text(detail)


@pytest.mark.parametrize(("views", "ms"), [(3, 2100), (0, 5100)])
def test_a_validator_that_is_connected_and_does_not_vote_is_silent(
    browser: Browser, answers: Answers, views: int, ms: int
) -> None:
    """Three views and two seconds are enough, or five seconds when no view ends; each alone is not."""
    others = [name for name in NAMES if name != "n1"]
    for view in answers.views[-3:]:
        view |= {"quorum_voters": others, "finalize_voters": others} if views else {}
    answers.heard["n1"] -= 1900 if views else 4900
    with open_page(browser, answers) as (page, _):
        expect(page.locator(".names li", has_text="n1")).to_have_attribute("data-presence", "voting")
        answers.heard["n1"] = answers.now_ms - ms
        expect(page.locator(SENTENCE)).to_contain_text("n1 is silent; one more validator lost halts the network.")
        expect(page.locator("#stake")).to_contain_text("✕ does not vote")


def test_a_lost_leader_is_red_and_has_a_mark_besides_the_colour(browser: Browser, answers: Answers) -> None:
    with open_page(browser, answers) as (page, _):
        row = page.locator(".names li", has_text="n2")
        expect(row).to_have_attribute("data-presence", "voting")
        lose(answers, "n2")
        answers.views.append(make_failed_view(VIEWS, "n2 leads, and the connection to it was lost."))
        expect(row).to_have_css("color", RED["light"])
        page.emulate_media(color_scheme="dark")
        expect(row).to_have_css("color", RED["dark"])
        expect(row).to_have_attribute("title", "n2: silent, no connection")
        expect(page.locator(".part.silent")).to_contain_text("✕ n2")
        expect(page.locator("#node")).to_contain_text("✕ n2")
        expect(page.locator("[role=option]").last).to_have_class("cell timed_out")


def test_what_the_status_says_is_shown_before_anything_else_has_answered(browser: Browser, answers: Answers) -> None:
    with open_page(browser, answers) as (page, _):
        expect(page.locator(".names li", has_text="n2")).to_have_attribute("data-presence", "voting")
        given_up: list[Request] = []
        page.on("requestfailed", lambda request: given_up.append(request))
        lose(answers, "n2")
        answers.sticks = True
        expect(page.locator(".names li", has_text="n2")).to_have_attribute("data-presence", "gone")
        assert not given_up, "the page waits two seconds for an answer"


def test_a_view_tells_its_phases_signers_and_reasons(browser: Browser, answers: Answers) -> None:
    answers.views[-2] = make_failed_view(VIEWS - 2, "n2 leads, and the connection to it was lost.")
    with open_page(browser, answers) as (page, _):
        page.locator("[role=option].timed_out").click()
        shown = page.locator("#view")
        expect(shown).to_contain_text("View 78: timed out")
        expect(shown.locator(".reasons")).to_have_text("n2 leads, and the connection to it was lost.")
        expect(shown.locator(".signers tr").last).to_contain_text("n0, n1 and n3")
        expect(shown.locator(".signers tr").last).to_contain_text("not n2")
        expect(shown.locator(".phases")).to_contain_text(
            "stopped voting after 12 ms: the connection to the leader was lost"
        )


def test_a_slashing_shows_both_messages_and_where_they_differ(browser: Browser, answers: Answers) -> None:
    punish(answers)
    with open_page(browser, answers) as (page, _):
        proof = page.locator("#feed .evidence")
        expect(proof).to_contain_text("In view 41 it voted for two different leaves")
        assert proof.locator(".messages > dl").count() == 2
        assert proof.locator(".differs code").all_text_contents() == ["0xaaaa01…0101", "0xbbbb02…0202"]
        expect(page.locator("#feed li").first).to_contain_text("n3 slashed at height 42")
        expect(page.locator("#stake")).to_contain_text("⊘ tombstoned")


def test_a_fallback_says_since_when_why_and_what_ends_it(browser: Browser, answers: Answers) -> None:
    make_everything_happen(answers)
    with open_page(browser, answers) as (page, _):
        banner = page.locator("#fallback")
        expect(banner).to_contain_text("for 5 s, since height 70")
        expect(banner).to_contain_text("3 views were skipped")
        expect(banner).to_contain_text("after 12 more leaves without a skipped view (4 of 16)")
        expect(page.locator(".faults text")).to_have_text("kill n2")
        assert page.evaluate(FIND_FAULT_COLUMN) == pytest.approx(-1, abs=0.2), "it began with the view before"


def test_texts_of_the_api_are_texts(browser: Browser, answers: Answers) -> None:
    """A name or a reason that is markup is shown as it is written, everywhere."""
    make_everything_happen(answers)
    answers.rewrite = lambda text: re.sub(r'"n3"|"3 views were skipped"|"never returns"', json.dumps(EVIL), text)
    with open_page(browser, answers) as (page, watcher):
        expect(page.locator(".names li").last).to_have_text(EVIL)
        expect(page.locator("#fallback-why")).to_have_text(EVIL)
        expect(page.locator("#feed")).to_contain_text(EVIL)
        page.locator("[role=option]").last.click()
        expect(page.locator("#view")).to_contain_text(EVIL)
        assert page.evaluate("window.isBroken") is None
        assert page.locator("img").count() == 1, "the mark at the top"
        assert not [url for url in watcher.requests if url.endswith("/x")]


def test_a_node_that_does_not_answer_or_is_behind_is_no_source_of_truth(browser: Browser, answers: Answers) -> None:
    with open_page(browser, answers) as (page, watcher):
        expect(page.locator("#health")).to_have_attribute("data-level", "ok")
        answers.is_silent = True
        expect(page.locator(SENTENCE)).to_have_text(re.compile(r"^No answer from n0 since [0-9]+ s\.$"))
        expect(page.locator("#announcement")).to_have_text("No answer from n0.")
        answers.is_silent = False
        expect(page.locator("#health")).to_have_attribute("data-level", "ok")
        answers.status["behind"] = True
        expect(page.locator(SENTENCE)).to_have_text("n0 is catching up.")
        watcher.complaints.clear()  # of the browser, about requests that nobody answered


def test_it_can_be_used_by_keyboard_alone(browser: Browser, answers: Answers) -> None:
    """Tab reaches every part and shows where it is; arrows walk the views, Enter opens one, Escape lets them run."""
    make_everything_happen(answers)
    with open_page(browser, answers) as (page, _):
        expect(page.locator("#feed .evidence")).to_be_visible()
        visited = walk_by_tab(page)
        assert visited[:5] == [
            "Skip to the views",
            "API",
            "Metrics",
            "Pause",
            "View 79, leader n3, decided, 5 transactions, 500 ms",
        ]
        assert {"The messages that contradict each other"} < set(visited)
        assert sum("5 transactions" in name for name in visited) > 5, "the blocks too"

        page.locator("[role=option][tabindex='0']").focus()
        for _ in range(79 - 50):
            page.keyboard.press("ArrowLeft")
        focused = page.locator("[role=option]:focus")
        expect(focused).to_have_attribute("aria-label", re.compile("^View 50, leader n2, timed out"))
        expect(page.locator("#hold")).to_have_text("Resume")
        page.keyboard.press("Enter")
        expect(page.locator("#view")).to_contain_text("View 50: timed out")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#view")).to_contain_text("View 51: decided")
        page.keyboard.press("Escape")
        expect(page.locator("#view")).to_be_hidden()
        expect(page.locator("#hold")).to_have_text("Pause")


def walk_by_tab(page: Page) -> list[str]:
    """Names of what Tab reaches, in order; each must be visible and show that it has the focus."""
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    visited: list[str] = []
    for _ in range(100):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => {
              const element = document.activeElement;
              return [element === document.body ? null : element.getAttribute("aria-label") || element.innerText,
                      getComputedStyle(element).outlineStyle];
            }"""
        )
        if name is None or (visited and name == visited[0]):
            break
        assert outline != "none", f"{name} has the focus, and nothing shows it"
        visited.append(" ".join(name.split()))
    return visited


def test_it_can_be_read_in_both_schemes_and_at_any_width(browser: Browser, answers: Answers) -> None:
    make_everything_happen(answers)
    answers.views.append(make_view(VIEWS, outcome="open", ended_ms=None, fc_after_ms=None))
    with open_page(browser, answers) as (page, _):
        expect(page.locator("#feed .evidence")).to_be_visible()
        page.locator("[role=option]").last.click()
        expect(page.locator("#view")).to_be_visible()
        for width in (1280, 360):
            page.set_viewport_size({"width": width, "height": 800})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                assert find_flaws(page) == [], f"{scheme}, {width} px"
        assert page.evaluate("document.getAnimations().length") == 0, "nothing moves by itself, for nobody"


def test_it_asks_for_what_is_new_keeps_a_bounded_part_and_rests_when_nobody_looks(
    browser: Browser, answers: Answers
) -> None:
    """Two thousand views pass by: the page's elements do not grow, and of the views only new ones are asked for."""
    with open_page(browser, answers) as (page, watcher):
        expect(page.locator("[role=option]").last).to_have_attribute("aria-label", re.compile("^View 79,"))
        elements = page.evaluate("document.querySelectorAll('*').length")
        for last in (500, 1000, 2000):
            answers.views = [make_view(number) for number in range(last - 400, last)]
            answers.status |= {"view": last, "height": last - 1}
            expect(page.locator("[role=option]").last).to_have_attribute(
                "aria-label", re.compile(f"^View {last - 1:,},")
            )
        assert page.evaluate("document.querySelectorAll('*').length") <= elements * 1.2
        cursors = [int(found[1]) for url in watcher.requests if (found := re.search(r"views\?.*from=(\d+)", url))]
        assert cursors
        assert min(cursors) >= 79
        assert len([url for url in watcher.requests if "v1/views" in url and "from=" not in url]) == 1

        assert page.evaluate(FEED_FOR_LONG) == [400, 60, 10]

        page.clock.install()
        page.evaluate(HIDE)
        asked = count_rounds(watcher)
        for _ in range(20):
            page.clock.run_for(1000)
            page.evaluate("fetch('v1/faults').then((answer) => answer.text())")  # as long as one question takes
        assert count_rounds(watcher) <= asked + 1, "the one that was under way"
        with page.expect_request("**/v1/views*"):
            page.evaluate(HIDE.replace("true", "false"))


def count_rounds(watcher: Watcher) -> int:
    return sum("v1/views" in url for url in watcher.requests)


FIND_FAULT_COLUMN = """() => {
  const [lane, lost, next] = [".faults rect", ".timed_out[role=option]", ".timed_out[role=option] + *"]
    .map((selector) => document.querySelector(selector).getBoundingClientRect().x);
  return (lane - lost) / (next - lost);
}"""
"""Where the fault begins, in columns from the view that timed out."""

FEED_FOR_LONG = """async () => {
  const { Model } = await import("/web/model.js");
  const model = new Model();
  for (let number = 0; number < 3000; number += 1) {
    model.addViews([{ epoch: 0, view: number, outcome: "decided" }]);
    model.onChanges([{ height: number, kind: "benched", fields: {} }]);
    model.onBlocks([{ height: number }]);
  }
  return [model.views.length, model.events.length, model.blocks.length];
}"""
"""What the page remembers after three thousand views."""

HIDE = """() => {
  Object.defineProperty(document, "hidden", { value: true, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
