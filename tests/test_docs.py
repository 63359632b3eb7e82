"""The documents tell the truth: every name on the spec page exists, every rule has a test, links lead somewhere."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SPEC = (ROOT / "docs" / "spec.md").read_text()
RULES = [
    *(f"P{n}" for n in range(1, 5)),
    *(f"R{n}" for n in range(1, 9)),
    *(f"L{n}" for n in range(1, 7)),
    *(f"S{n}" for n in range(1, 8)),
]
RULES += [f"{kind}{n}" for kind in "EJT" for n in range(1, 6)]


def find_object(name: str) -> object:
    """Import the longest module prefix of a dotted name and follow the rest."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:consensus|sequencer|netsim)\.[\w.]+)`", SPEC))))
def test_every_name_on_the_spec_page_exists(name: str) -> None:
    find_object(name)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_row_and_a_test(rule: str) -> None:
    assert re.search(rf"^\| {rule} \|", SPEC, re.MULTILINE), f"docs/spec.md has no row for {rule}"
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    if rule == "P4":
        assert '"""P4:' in tests
    else:
        assert re.search(rf"def test_(?:\w+_)?{rule.lower()}[a-c]?_", tests), f"no test is named after {rule}"


@pytest.mark.parametrize(
    "page", sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")])
)
def test_links_between_documents_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), f"{page} links to {target}"


def test_tests_named_by_decisions_exist() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for page in (ROOT / "docs" / "adr").glob("*.md"):
        for name in re.findall(r"`(test_\w+)`", page.read_text()):
            assert f"def {name}(" in tests, f"{page.name} names {name}"
