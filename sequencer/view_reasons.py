"""Why a view went as it did, in plain words: what one node can tell from its own record, and no more than that."""

from collections.abc import Callable, Collection, Iterator
from typing import Final

from consensus.types import Microseconds, ValidatorId
from sequencer.view_record import ViewRecord

NameOf = Callable[[ValidatorId], str]

_REFUSALS: Final = {
    "bad_leaf": "its leaf breaks a rule",
    "payload_refused": "its payload repeats a transaction, or the application refuses it",
    "unjustified": "its leaf extends another one than its certificates allow",
    "too_much_undecided": "too much waits for a decide already",
}
_CAUSES: Final = {
    "timer": "its timer ran out",
    "others": "others had timed out",
    "leader_lost": "the connection to the leader was gone",
    "restarted": "it had done so before it was restarted",
}
_SPOKEN_FOR: Final = frozenset({"primary rotation"})
"""Reasons to lead that explain nothing."""


def explain_view(record: ViewRecord, me: ValidatorId, name_of: NameOf) -> list[str]:
    """One short sentence each, without a full stop, the decisive ones first. `me` is the node whose record it is."""
    words = _Words(record, me, name_of)
    return [*words.tell_course(), *words.tell_leader(), *words.tell_offences()]


class _Words:
    def __init__(self, record: ViewRecord, me: ValidatorId, name_of: NameOf) -> None:
        self._record = record
        self._me = me
        self._name_of = name_of

    def tell_course(self) -> Iterator[str]:
        """How far the view came."""
        record = self._record
        if record.fc_at is not None and record.is_decided:
            late = record.compute_late({self._me: record.fc_at})
            yield f"final {self._after(record.fc_at)}{', after this node had gone on' if late else ''}"
        elif record.is_decided:
            yield "final through the certificate of a later view: this node saw none of this view's own"
        if record.timed_out_at is not None or (record.ended_at is not None and record.qc_at is None):
            yield from self._tell_proposal()
        if record.qc_at is None:
            yield from self._tell_missing_quorum()
        elif not record.is_decided and record.ended_at is not None:
            yield from self._tell_missing_finality()
        yield from self._tell_timeout()
        yield from self._tell_jump()

    def tell_leader(self) -> Iterator[str]:
        """Why this leader, where it is not simply its turn."""
        record = self._record
        if record.leader is None:
            yield "who leads was not known here: the block to extend had not arrived"
        elif record.leader_reason is not None and record.leader_reason not in _SPOKEN_FOR:
            yield f"{self._name_of(record.leader)} led because of this: {record.leader_reason}"

    def tell_offences(self) -> Iterator[str]:
        for offender, rule in sorted(self._record.offences):
            name = self._name_of(offender)
            match rule:
                case "E1":
                    yield f"{name} proposed two leaves (E1)"
                case "E2":
                    yield f"{name} voted for two leaves (E2)"
                case "E3":
                    yield f"{name} voted to finalize two leaves (E3)"
                case "promise":
                    yield f"{name} broke a promise to include a transaction"
                case _:
                    yield f"{name} contradicted what it had signed before ({rule})"

    def _tell_proposal(self) -> Iterator[str]:
        record = self._record
        if record.leader is None:
            return
        leader = "this node" if record.leader == self._me else self._name_of(record.leader)
        proposal = record.proposal
        refused = [
            f"the proposal of {self._name_of(sender)} was refused: {_REFUSALS[reason]} ({detail})"
            for (sender, reason), detail in record.drops.items()
            if reason in _REFUSALS and sender == record.leader
        ]
        if refused:
            yield from refused
        elif proposal is None:
            until = record.timed_out_at or record.ended_at or record.entered_at
            if record.leader == self._me:
                yield f"this node led and proposed nothing within {_seconds(until - record.entered_at)}"
            else:
                yield f"no proposal from {leader} arrived within {_seconds(until - record.entered_at)}"
        else:
            before = [voter for voter, at in record.timeout.items() if at < proposal.seen_at]
            if before:
                gone = f"{self._list(before)} ({len(before)} of {len(record.table)})"
                yield f"the proposal of {leader} came {self._after(proposal.seen_at)}, when {gone} had timed out"
            elif record.transactions is None and record.leader != self._me:
                came = f"the proposal of {leader} came {self._after(proposal.seen_at)}"
                yield f"{came}, but not the block that it extends"

    def _tell_missing_quorum(self) -> Iterator[str]:
        record = self._record
        rivals = record.compute_rivals()
        voters = [voter for voter in record.quorum if voter not in rivals]
        if record.ended_at is None and record.timed_out_at is None:
            return
        if record.proposals or record.quorum:
            yield f"quorum votes {self._tell_share(voters)}"
        if rivals:
            yield f"{self._list(rivals)} voted for another leaf"

    def _tell_missing_finality(self) -> Iterator[str]:
        record = self._record
        proposal = record.proposal
        if proposal is not None and proposal.is_closing:
            yield "its leaf only closes the epoch, and is never final itself"
        else:
            yield f"certified, but finalize votes {self._tell_share(record.finalize)}"

    def _tell_timeout(self) -> Iterator[str]:
        record = self._record
        if record.timed_out_at is not None and record.timeout_cause is not None:
            cause = _CAUSES.get(record.timeout_cause, record.timeout_cause)
            yield f"this node stopped voting {self._after(record.timed_out_at)}: {cause}"
        if record.timed_out_at is None and record.outcome != "timed_out":
            return
        if record.timeout:
            yield f"timed out: {self._list(record.timeout)} ({self._percent(record.timeout)})"
        heard = record.quorum.keys() | record.finalize.keys() | record.timeout.keys() | record.proposals.keys()
        silent = [voter for voter in record.table.ids if voter not in heard]
        if silent and record.ended_at is not None:
            yield f"nothing was heard from {self._list(silent)}"

    def _tell_jump(self) -> Iterator[str]:
        record = self._record
        if record.next_view is not None and record.next_view > record.view + 1:
            yield f"this node went on to view {record.next_view} at once, with a certificate of others"

    def _tell_share(self, voters: Collection[ValidatorId]) -> str:
        """ "from n1, n2 (50 %) are short of 67 %"."""
        table = self._record.table
        stake = table.compute_stake(voter for voter in voters if voter in table)
        needed = -(-100 * table.success_threshold // table.total)
        if not voters:
            return "came from nobody"
        if stake >= table.success_threshold:
            return f"came from {self._list(voters)} ({self._percent(voters)}), more than the {needed} % that it takes"
        return f"from {self._list(voters)} ({self._percent(voters)}) are short of {needed} %"

    def _percent(self, voters: Collection[ValidatorId]) -> str:
        table = self._record.table
        return f"{100 * table.compute_stake(voter for voter in voters if voter in table) // table.total} %"

    def _list(self, validators: Collection[ValidatorId]) -> str:
        return ", ".join(self._name_of(validator) for validator in sorted(validators))

    def _after(self, moment: Microseconds) -> str:
        return f"after {_seconds(max(0, moment - self._record.entered_at))}"


def _seconds(microseconds: int) -> str:
    """1.25 s, or 25 ms below a tenth of a second."""
    if microseconds < 100_000:
        return f"{microseconds / 1000:.3g} ms"
    return f"{microseconds / 1_000_000:.3g} s"
