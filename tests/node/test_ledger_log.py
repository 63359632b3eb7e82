"""Every change of the ledger in words: no number where a name belongs, no kind without a line, none that fails."""

from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import pytest

from consensus.ledger import LedgerChange
from consensus.ledger.changes import (
    Benched,
    Cleared,
    CommitteesDrawn,
    EpochBegan,
    FallbackActivated,
    Jailed,
    LedgerEvent,
    Released,
    Tombstoned,
    ValidatorPending,
)
from consensus.types import Commitment, Epoch, Height, ValidatorId
from sequencer.directory import Directory
from sequencer.ledger_log import ChangeEntry, describe_change, describe_kind
from tests.node.fake_node import FakeNode

KINDS: list[type[Any]] = [
    *get_args(LedgerEvent),
    *(kind for kind in get_args(LedgerChange) if kind not in get_args(LedgerEvent)),
]
SAMPLES: dict[object, object] = {ValidatorId: 1, str: "word", bytes: b"\x01", Commitment: bytes(32), bool: False}


def make_sample(kind: type[Any]) -> LedgerChange:
    """A change of this kind with something in every field; validators are number 1."""
    values = {}
    for name, hint in get_type_hints(kind).items():
        parts = get_args(hint)
        values[name] = (1, 1) if hint == tuple[ValidatorId, ...] else SAMPLES.get(parts[0] if parts else hint, 7)
    change: LedgerChange = kind(**values)
    return change


@pytest.fixture
def directory() -> Directory:
    return Directory(FakeNode().network)


def test_one_skipped_view_is_told_in_the_singular(directory: Directory) -> None:
    assert describe(FallbackActivated(1), directory).reason.startswith("a view was skipped:")
    assert describe(FallbackActivated(3), directory).reason.startswith("3 views were skipped in a row:")


def describe(change: LedgerChange, directory: Directory) -> ChangeEntry:
    return describe_change(change, Height(9), directory)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_has_a_line_of_its_own_without_gaps(kind: type[Any], directory: Directory) -> None:
    entry = describe(make_sample(kind), directory)
    assert entry.height == 9
    assert len(entry.reason) > 20
    assert "{" not in entry.reason
    # The line of a kind that has none begins with the kind itself.
    assert not entry.reason.startswith(entry.kind.replace("_", " "))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_fields_hold_names_and_fit_a_log_line(kind: type[Any], directory: Directory) -> None:
    entry = describe(make_sample(kind), directory)
    assert not {"event", "height", "level", "reason"} & set(entry.fields)
    for name, hint in get_type_hints(kind).items():
        if hint is ValidatorId:
            assert entry.fields[name] == "n1"
        if hint == tuple[ValidatorId, ...]:
            assert entry.fields[name] == ["n1", "n1"]
    assert all(not isinstance(value, bytes | tuple) for value in entry.fields.values())


def test_kinds_are_told_apart_by_a_stable_word() -> None:
    words = [describe_kind(make_sample(kind)) for kind in KINDS]
    assert len(set(words)) == len(words) > 15
    assert describe_kind(Cleared(ValidatorId(0))) == "bench_cleared"
    assert describe_kind(make_sample(EpochBegan)) == "epoch_began"


def test_a_kind_that_nobody_has_described_is_told_by_its_fields(directory: Directory) -> None:
    @dataclass(frozen=True)
    class ThingHappened:
        validator: ValidatorId
        amount: int

    change: Any = ThingHappened(ValidatorId(2), 5)
    entry = describe(change, directory)
    assert (entry.kind, entry.level) == ("thing_happened", "info")
    assert entry.reason == "thing happened: validator n2, amount 5"


def test_a_jailing_says_what_was_missed_and_until_when(directory: Directory) -> None:
    change = Jailed(ValidatorId(1), "of the window", 10, Epoch(7), missed=22, slots=32, offences=1)
    entry = describe(change, directory)
    assert entry.level == "warning"
    assert entry.fields["cause"] == "of the window"
    assert entry.reason == (
        "missed 22 of 32 own slots of the window: does not lead, and may ask to come back in epoch 7"
    )


def test_what_costs_and_what_is_lost_is_a_warning(directory: Directory) -> None:
    levels = {kind: describe(make_sample(kind), directory).level for kind in KINDS}
    assert levels[Benched] == levels[Jailed] == levels[Tombstoned] == "warning"
    assert levels[Cleared] == levels[CommitteesDrawn] == levels[EpochBegan] == "info"
    missing = EpochBegan(Epoch(2), Commitment(bytes(32)), was_beacon_missing=True, validators=4, total_stake=400)
    assert describe(missing, directory).level == "warning"
    assert "too late" in describe(missing, directory).reason


def test_two_ways_of_staying_out_of_jail_are_told_apart(directory: Directory) -> None:
    stayed, left = (
        describe(Released(ValidatorId(1), was_jailed=was_jailed), directory) for was_jailed in (False, True)
    )
    assert "stays free" in stayed.reason
    assert "let out of jail" in left.reason


def test_a_newcomer_is_told_by_its_number_until_the_directory_knows_it(directory: Directory) -> None:
    change = ValidatorPending(ValidatorId(9), "late", Epoch(2))
    assert describe(change, directory).fields == {"validator": "v9", "name": "late", "first_epoch": 2}
