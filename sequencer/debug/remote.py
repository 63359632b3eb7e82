"""What a node says of itself over its API: what anybody may ask."""

import json
from typing import Final

from sequencer.client import ApiProblem, Client, Unreachable
from sequencer.client.calls import Call
from sequencer.debug.items import Collection

ASK_SECONDS: Final = 5.0

PAGES: Final = (
    ("status.json", "/v1/status", "where the node stands"),
    ("ready.json", "/readyz", "whether it is ready"),
    ("views.json", "/v1/views?limit=256", "the last views as it saw them"),
    ("ledger.json", "/v1/ledger", "epoch, mode and committees"),
    ("committees.json", "/v1/committees", "who is in which committee"),
    ("schedule.json", "/v1/schedule", "who leads next, and why"),
    ("validators.json", "/v1/validators", "stake, standing and leader records"),
    ("changes.json", "/v1/changes?limit=1024", "what the ledger did"),
    ("evidence.json", "/v1/evidence", "proofs of broken rules"),
    ("operations.json", "/v1/operations", "stake operations that wait"),
    ("faults.json", "/v1/faults", "faults that were done on purpose"),
    ("limits.json", "/v1/limits", "the bounds of its API"),
    ("metrics.txt", "/metrics", "all figures"),
)


def gather_remote(name: str, url: str, collection: Collection) -> str | None:
    """Every page, those that fail included, under nodes/NAME. Returns why the node could not be reached, if so."""
    folder = f"nodes/{name}"
    with Client(url, timeout_seconds=ASK_SECONDS) as client:
        for file, address, what in PAGES:
            try:
                text = client.send(Call("GET", address, _decode))
            except ApiProblem as problem:
                text = json.dumps(problem.body, indent=2)
            except Unreachable as error:
                collection.leave_out(f"{folder}/{file}", f"{url} does not answer: {error.reason}")
                if file == PAGES[0][0]:
                    return error.reason
                continue
            collection.add_text(f"{folder}/{file}", f"{what} (GET {address})", _indent(text))
    return None


def _decode(body: bytes) -> str:
    """Whatever it is: nothing that a node says is to be lost because this version expects another shape."""
    return body.decode(errors="replace")


def _indent(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    except ValueError:
        return text
