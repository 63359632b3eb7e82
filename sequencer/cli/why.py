"""`sequencer why`: what became of a view, and why, as all nodes that answer saw it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sequencer.cli.output import OutputFormat, OutputOption, make_console, print_json, print_rows, talk
from sequencer.cli.status import resolve_urls
from sequencer.failures import CommandError, ExitCode

if TYPE_CHECKING:
    from sequencer.client import Client
    from sequencer.schema.records import ChangeJson
    from sequencer.schema.views import ViewJson, ViewsJson
    from sequencer.survey import Place, Reply
    from sequencer.view_story import Sight, Story, Weights

LATEST: Final = "latest"
FOLLOWING_VIEWS: Final = 3
CHANGES_TOLD_MAX: Final = 6
PAGE_VIEWS: Final = 256
_COLUMNS: Final = ("node", "saw it", "proposal", "QC", "FC", "quorum votes", "timeout votes", "stopped voting")


def why(
    view: Annotated[
        str | None, typer.Argument(metavar="[VIEW|latest]", help="Number of the view.", show_default="--last-failed")
    ] = None,
    last_failed: Annotated[bool, typer.Option("--last-failed", help="The last view that failed.")] = False,
    height: Annotated[int | None, typer.Option(min=1, help="The view that made the block at this height.")] = None,
    url: Annotated[
        list[str] | None, typer.Option(help="A node's API; give it several times for several.", envvar="SEQUENCER_URL")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Ask all nodes of this home.", envvar="SEQUENCER_HOME", show_default="./devnet")
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Say in plain words why a view failed, or how it went. Ends with 4 when no node can be reached."""
    if sum((view is not None, last_failed, height is not None)) > 1:
        raise CommandError("a VIEW, --last-failed and --height contradict each other; give one", ExitCode.USAGE)
    if view is not None and view != LATEST and not (view.isascii() and view.isdigit()):
        message = f'"{view}" is no view: give a number such as 17, or {LATEST}, or --last-failed, or --height H'
        raise CommandError(message, ExitCode.USAGE)
    from sequencer.survey import Place, make_unreachable

    places = [Place(name, address) for name, address in resolve_urls(url, home)]
    pages = _look_around(places)
    if all(page.answer is None for page in pages):
        raise make_unreachable(pages)
    number = _choose_view(view, height, pages)
    if number is None:
        _print_nothing_failed(pages, output)
        return
    sights = _gather(places, number)
    if all(sight.view is None for sight in sights):
        raise _explain_absence(number, sights, pages)
    weights, following, changes = _ask_for_the_rest(pages, number)
    from sequencer.view_story import tell

    story = tell(number, sights, weights, following, changes)
    if output is OutputFormat.JSON:
        _print_json(story, sights)
    else:
        _print_story(story, sights)
    for sight in sights:
        if sight.error is not None:
            talk(f"{sight.name} at {sight.url}: {sight.error}")


def _look_around(places: "Sequence[Place]") -> "list[Reply[ViewsJson]]":
    from sequencer.survey import ask_all

    return ask_all(places, lambda client: client.views(limit=1))


def _choose_view(text: str | None, height: int | None, pages: "Sequence[Reply[ViewsJson]]") -> int | None:
    latest = max((page.answer.latest or 0 for page in pages if page.answer is not None), default=0)
    if height is not None:
        return _find_view_of(height, pages)
    if text is None:
        return _find_last_failed(pages)
    if text == LATEST:
        return latest
    return int(text)


def _find_view_of(height: int, pages: "Sequence[Reply[ViewsJson]]") -> int:
    from sequencer.client import ApiProblem
    from sequencer.survey import ask_all

    places = [page.place for page in pages if page.answer is not None]

    def ask(client: "Client") -> int | str:
        try:
            return client.block(height, transactions="none").view
        except ApiProblem as problem:
            return problem.detail

    replies = [reply.answer for reply in ask_all(places, ask)]
    found = next((answer for answer in replies if isinstance(answer, int)), None)
    if found is None:
        reason = next((answer for answer in replies if isinstance(answer, str)), "nobody answered")
        raise CommandError(f"no node has the block at height {height}: {reason}")
    return found


def _find_last_failed(pages: "Sequence[Reply[ViewsJson]]") -> int | None:
    """The highest view that failed for somebody and succeeded for nobody; None when there is none."""
    from sequencer.survey import ask_all

    places = [page.place for page in pages if page.answer is not None]
    outcomes: dict[int, set[str]] = {}
    for reply in ask_all(places, _read_all):
        for view in reply.answer or ():
            outcomes.setdefault(view.view, set()).add(view.outcome)
    failed = [view for view, words in outcomes.items() if "timed_out" in words and words <= {"timed_out", "open"}]
    return max(failed, default=None)


def _print_nothing_failed(pages: "Sequence[Reply[ViewsJson]]", output: OutputFormat) -> None:
    kept = [page.answer for page in pages if page.answer is not None]
    oldest, latest = min(page.oldest or 0 for page in kept), max(page.latest or 0 for page in kept)
    if output is OutputFormat.JSON:
        print_json({"view": None, "outcome": None, "oldest": oldest, "latest": latest})
    talk(
        f"no view has failed among those that the nodes remember, {oldest} to {latest}. "
        "Give the number of one to see how it went, or latest."
    )


def _read_all(client: "Client") -> "list[ViewJson]":
    """All views that a node remembers."""
    page = client.views(limit=1)
    views: list[ViewJson] = []
    start = page.oldest
    while start is not None:
        page = client.views(start, limit=PAGE_VIEWS)
        views += page.views
        start = page.next
    return views


def _gather(places: "Sequence[Place]", number: int) -> "list[Sight]":
    """What each of them says about the view."""

    from sequencer.client import ApiProblem
    from sequencer.survey import ask_all
    from sequencer.view_story import Sight

    def ask(client: "Client") -> Sight:
        status = client.status()
        page = client.views(limit=1)
        view, absent = None, None
        try:
            view = client.view(number)
        except ApiProblem as problem:
            if problem.code != "view_not_found":
                raise
            absent = str(problem.body["detail"])
        heard = {name: max(0, page.now_ms - at) / 1000 for name, at in page.last_heard_ms.items()}
        age = (page.now_ms - page.views[-1].started_ms) / 1000 if page.views else 0.0
        return Sight(status.validator, client.url, None, view, absent, heard, age, status.peers)

    return [
        reply.answer or Sight(reply.place.name, reply.place.url, reply.error or "no answer")
        for reply in ask_all(places, ask)
    ]


def _explain_absence(number: int, sights: "Sequence[Sight]", pages: "Sequence[Reply[ViewsJson]]") -> CommandError:
    """Not begun, forgotten, or skipped by everyone."""
    kept = [page.answer for page in pages if page.answer is not None]
    latest = max((page.latest or 0 for page in kept), default=0)
    if number > latest:
        return CommandError(f"view {number} has not begun: the network is in view {latest}")
    oldest = min((page.oldest or 0 for page in kept), default=0)
    if number < oldest:
        return CommandError(
            f"view {number} is too old: the nodes remember views from {oldest} on, a thousand or so and none from "
            "before they started. What was decided stands in the chain: see `sequencer why --height H` for what is "
            "remembered, and `sequencer check trace` for what a journal holds."
        )
    said = "; ".join(f"{sight.name}: {sight.absent or sight.error}" for sight in sights)
    return CommandError(f"no node that answers was in view {number}. {said}")


def _ask_for_the_rest(
    pages: "Sequence[Reply[ViewsJson]]", number: int
) -> "tuple[Weights, list[ViewJson], list[ChangeJson]]":
    """Who weighs what, which views came next, and what the ledger did because of it."""

    from sequencer.survey import ask_all, make_unreachable
    from sequencer.view_story import Weights

    def ask(client: "Client") -> "tuple[Weights, list[ViewJson], list[ChangeJson]]":
        validators = client.validators()
        stakes = {entry.name: entry.weight for entry in validators.validators if entry.weight}
        weights = Weights(stakes, validators.success_threshold)
        following = client.views(number + 1, limit=FOLLOWING_VIEWS).views
        heights = [view.proposal.height for view in following if view.proposal is not None]
        changes: list[ChangeJson] = []
        if heights:
            found = client.changes(min(heights), limit=1000).changes
            changes = [change for change in found if change.height <= max(heights)]
        return weights, following, changes[:CHANGES_TOLD_MAX]

    replies = ask_all([page.place for page in pages if page.answer is not None], ask)
    found = [reply.answer for reply in replies if reply.answer is not None]
    if not found:
        raise make_unreachable(replies)
    # Of whoever went through the next views without a gap: a node that was behind left some out.
    return max(found, key=lambda answer: (len(answer[1]), [-view.view for view in answer[1]]))


def _print_json(story: "Story", sights: "Sequence[Sight]") -> None:
    import msgspec

    nodes = [
        {
            "node": sight.name,
            "url": sight.url,
            "reachable": sight.error is None,
            "error": sight.error or sight.absent,
            "view": None if sight.view is None else msgspec.to_builtins(sight.view),
        }
        for sight in sights
    ]
    told = {
        "view": story.view,
        "outcome": story.outcome,
        "headline": story.headline,
        "facts": dict(story.facts),
        "meaning": story.meaning,
        "differences": story.differences,
        "following": story.following,
    }
    print_json(told | {"nodes": nodes})


def _print_story(story: "Story", sights: "Sequence[Sight]") -> None:
    from rich.text import Text

    console = make_console(is_talk=False)
    styles = {"decided": "bold green", "timed_out": "bold red", "certified": "bold yellow", "open": "bold"}
    console.print(Text(story.headline, styles[story.outcome]))
    for title, lines in (
        ("what it means", story.meaning),
        ("what came next", story.following),
        ("they saw different things", story.differences),
    ):
        if lines:
            console.print(f"\n[bold]{title}[/bold]")
            for line in lines:
                console.print(_make_bullet(line))
    console.print("\n[bold]what happened[/bold]")
    width = max(len(name) for name, _ in story.facts)
    for name, fact in story.facts:
        console.print(_make_bullet(fact, f"{name:{width}}  "))
    console.print("\n[bold]as each node saw it[/bold]")
    print_rows(_COLUMNS, map(_make_row, sights))


def _make_bullet(line: str, mark: str = "- ") -> "object":
    """One item whose further lines stand under its first one."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column()
    grid.add_row(Text(f"  {mark}"), Text(line))
    return grid


def _make_row(sight: "Sight") -> Sequence[object]:
    view = sight.view
    if view is None:
        return sight.name, "unreachable" if sight.error else "not at all", *(None,) * (len(_COLUMNS) - 2)
    stopped = None
    if view.timeout_after_ms is not None:
        stopped = f"{_show_ms(view.timeout_after_ms)}, {view.timeout_cause}"
    return (
        sight.name,
        view.outcome.replace("_", " "),
        None if view.proposal is None else _show_ms(view.proposal.after_ms),
        None if view.qc_after_ms is None else _show_ms(view.qc_after_ms),
        None if view.fc_after_ms is None else _show_ms(view.fc_after_ms),
        " ".join(view.quorum_voters) or None,
        " ".join(view.timeout_voters) or None,
        stopped,
    )


def _show_ms(value: float) -> str:
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.3g} ms"
