"""One planted bug: exact replacements in the source, and the story of what goes wrong."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Edit:
    """In the file `path`, relative to the root of the tree, `old` stands exactly once and becomes `new`."""

    path: str
    old: str
    new: str

    def apply(self, source: str) -> str:
        """Raises `ValueError` when `old` is not there, or not once."""
        count = source.count(self.old)
        if count != 1:
            raise ValueError(f"{self.path} has this {count} times, and once is needed: {self.old!r}")
        return source.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Mutant:
    """`rule` is the id of what it breaks, `near` the tests that are most likely to notice: they run first.

    `equivalent` says why no test can tell it from the real code; such a mutant is expected to survive.
    """

    name: str
    rule: str
    story: str
    edits: tuple[Edit, ...]
    near: tuple[str, ...] = ()
    equivalent: str | None = None

    def mutate(self, root: Path) -> dict[str, str]:
        """The files that it changes -> what they hold then. Nothing is written."""
        sources: dict[str, str] = {}
        for edit in self.edits:
            source = sources.get(edit.path) or (root / edit.path).read_text()
            sources[edit.path] = edit.apply(source)
        return sources


def plant(
    name: str,
    rule: str,
    story: str,
    path: str,
    old: str,
    new: str,
    *more: Edit,
    near: tuple[str, ...] = (),
    equivalent: str | None = None,
) -> Mutant:
    """A mutant whose first edit is spelled out; nearly all have no other."""
    return Mutant(name, rule, story, (Edit(path, old, new), *more), near, equivalent)
