"""`sequencer status`: where each node of a network stands, those included that do not answer."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from sequencer.cli.output import OutputFormat, OutputOption, print_json, print_rows, talk

DEFAULT_HOME = Path("devnet")
DEFAULT_URL = "http://127.0.0.1:27700"
"""Where the first node of a devnet answers."""
ASK_SECONDS = 2.0
"""A node that takes longer to say how it is does not count as reachable."""
ASKED_AT_ONCE = 16


def status(
    url: Annotated[
        list[str] | None, typer.Option(help="A node's API; give it several times for several.", envvar="SEQUENCER_URL")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Ask all nodes of this home.", envvar="SEQUENCER_HOME", show_default="./devnet")
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Ask nodes where they stand. Ends with 4 when none of them can be reached."""
    answers = ask_nodes(resolve_urls(url, home))
    if output is OutputFormat.JSON:
        print_json({"nodes": answers})
    else:
        print_rows(_COLUMNS, map(_make_row, answers))
        reached = [answer for answer in answers if answer["reachable"]]
        if reached:
            print()
            print_rows(("network", "as the node that is furthest ahead sees it"), describe_network(reached))
    silent = [answer for answer in answers if not answer["reachable"]]
    if len(silent) == len(answers):
        from sequencer.client import Unreachable

        raise Unreachable(
            ", ".join(answer["url"] for answer in answers), "; ".join(sorted({answer["error"] for answer in answers}))
        )
    for answer in silent:
        talk(f"{answer['name']} at {answer['url']}: {answer['error']}")


_COLUMNS = ("node", "API", "state", "height", "view", "leader", "peers", "pending", "up s")
"""What fits 80 columns. The JSON has more."""


def _make_row(answer: dict[str, Any]) -> Sequence[object]:
    api = answer["url"].removeprefix("http://")
    if not answer["reachable"]:
        return answer["name"], api, "unreachable", *(None,) * (len(_COLUMNS) - 3)
    state = "ready" if answer["ready"] else "behind" if answer["behind"] else "starting"
    return (
        answer["validator"],
        api,
        state,
        answer["height"],
        answer["view"],
        answer["leader"] or "unknown",
        f"{len(answer['peers'])}/{answer['validators'] - 1}",
        answer["mempool"]["transactions"],
        round(answer["uptime_s"]),
    )


def describe_network(answers: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """What is the same on all nodes that are not behind: epoch, who has the lead and why, who is out, the pool."""
    best = max(answers, key=lambda answer: answer["height"])
    first, last, height = best["epoch_first_height"], best["epoch_last_height"], best["height"]
    done = max(0, height - first + 1)
    rows = [
        ("epoch", f"{best['epoch']}: {done} of {last - first + 1} blocks, ends with height {last}"),
        ("mode", f"{best['mode']}: {best['mode_reason']}"),
        ("primary", ", ".join(best["primary"])),
        ("fallback", ", ".join(best["fallback"])),
    ]
    rows += [(key, ", ".join(best[key])) for key in ("benched", "jailed", "tombstoned") if best[key]]
    rows.append(("pool", f"{best['pool']}, burned {best['burned']}"))
    return rows


def resolve_urls(urls: Sequence[str] | None, home: Path | None) -> list[tuple[str, str]]:
    """Names and URLs: what was given, else all nodes of the home, else of ./devnet, else the first node of a devnet."""
    if urls:
        return [("?", url) for url in urls]
    if home is None and not (DEFAULT_HOME / "network.toml").exists():
        return [("?", DEFAULT_URL)]
    from sequencer.home import load_home

    return [(node.config.validator, f"http://{node.config.api}") for node in load_home(home or DEFAULT_HOME).nodes]


def ask_nodes(nodes: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """One answer per node, in order: its status with `url` and `reachable`, or `name`, `url` and `error`."""
    with ThreadPoolExecutor(min(len(nodes), ASKED_AT_ONCE)) as pool:
        return list(pool.map(_ask, nodes))


def _ask(node: tuple[str, str]) -> dict[str, Any]:
    from sequencer.client import ApiProblem, Client, Unreachable

    name, url = node
    try:
        with Client(url, timeout_seconds=ASK_SECONDS) as client:
            answer: dict[str, Any] = msgspec.to_builtins(client.status())
            return {"name": name, "url": client.url, "reachable": True} | answer
    except (Unreachable, ApiProblem) as error:
        reason = error.reason if isinstance(error, Unreachable) else error.code
        return {"name": name, "url": url, "reachable": False, "error": reason}
