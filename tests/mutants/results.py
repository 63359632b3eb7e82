"""What a run has found so far, on disk: an interrupted one goes on where it was."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from tests.mutants.mutant import Mutant
from tests.mutants.runner import Verdict
from tests.mutants.tree import Outcome


class _Row(msgspec.Struct):
    mutant: str
    edits: list[tuple[str, str, str]]
    outcomes: list[Outcome]


class Results:
    """One line of JSON per verdict. A mutant that has been changed since is judged again."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self._rows = [msgspec.json.decode(line, type=_Row) for line in lines]

    def load(self, catalogue: Mapping[str, Mutant]) -> dict[str, Verdict]:
        """What still counts, by the mutant's name; what several runs have found is put together."""
        known: dict[str, Verdict] = {}
        for row in self._rows:
            mutant = catalogue.get(row.mutant)
            if mutant is not None and row.edits == _list_edits(mutant):
                verdict = Verdict(mutant, tuple(row.outcomes))
                known[row.mutant] = known[row.mutant].merge(verdict) if row.mutant in known else verdict
        return known

    def add(self, verdict: Verdict) -> None:
        """A verdict with trouble is not kept."""
        if self._path is not None and verdict.trouble is None:
            row = _Row(verdict.mutant.name, _list_edits(verdict.mutant), list(verdict.outcomes))
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(row) + b"\n")


def _list_edits(mutant: Mutant) -> list[tuple[str, str, str]]:
    return [(edit.path, edit.old, edit.new) for edit in mutant.edits]
