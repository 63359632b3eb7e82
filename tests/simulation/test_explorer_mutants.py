"""The explorer against planted bugs: it drives the real rules, so a bug in them is a fork, a frame or a halt in it.

One test per row of the table of broken rules. The searches are directed (`width`), which finds and proves nothing.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import consensus.safety
from consensus.certificates import (
    Certificate,
    CertificateVerifier,
    FinalityCertificate,
    QuorumCertificate,
    TimeoutCertificate,
    make_timeout_subject,
)
from consensus.errors import InvalidMessage, Unsafe
from consensus.header import LeafHeader
from consensus.leaf import Leaf
from consensus.messages import FinalizeVote, TimeoutVote
from consensus.safety import SafetyRecord, SafetyRules
from consensus.signatures import Domain
from consensus.stake_table import StakeTable
from consensus.types import View
from netsim.explorer.material import Material
from netsim.explorer.model import Model
from netsim.explorer.properties import AGREEMENT, FRAMED, LIVENESS
from netsim.explorer.search import Explorer, Findings
from netsim.explorer.story import tell
from netsim.explorer.voters import Recover, read_back

GENESIS_QC = Material(Model()).context.genesis_qc
NARROW = Model(views=3, leaves=1)
WIDE = Model(views=2, leaves=2)
replace = msgspec.structs.replace


def hunt(model: Model, rule: str, recover: Recover = read_back, width: int = 2_000) -> tuple[Findings, list[str]]:
    """The breach of this rule and its story. Fails when there is none."""
    explorer = Explorer(model, rules=frozenset({rule}), recover=recover)
    findings = explorer.run(states_max=200_000, width=width)
    assert findings.breach is not None, f"the explorer does not see that {rule} is broken"
    assert findings.breach.rule == rule
    return findings, tell(explorer, findings.path)


def without(method: str, **lost: int) -> Callable[..., Any]:
    """A method of `SafetyRules` that does not look at these fields of the record."""
    original = getattr(SafetyRules, method)

    def mutated(self: SafetyRules, argument: object) -> object:
        before = self.record
        self.record = replace(before, **lost)
        answer = original(self, argument)
        kept = {name: max(getattr(before, name), getattr(self.record, name)) for name in lost}
        self.record = before if isinstance(answer, Unsafe) else replace(self.record, **kept)
        return answer

    return mutated


@pytest.mark.parametrize("lower", [1, 3])
def test_a_tc_whose_highest_is_ignored_or_taken_one_lower_forks(monkeypatch: pytest.MonkeyPatch, lower: int) -> None:
    highest = property(lambda tc: View(max(0, max(tc.high_qc_views) - lower)))
    monkeypatch.setattr(TimeoutCertificate, "highest_view", highest)
    findings, story = hunt(NARROW, AGREEMENT)
    assert findings.depth == 10
    assert any("whose highest is 1" in line for line in story)


def test_signing_a_stale_high_qc_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    def sign_stale(self: SafetyRules, view: View) -> TimeoutVote | Unsafe:
        record = self.record
        if view != record.entry.view + 1 or record.timed_out_view >= view:
            return Unsafe("R7", "not now")
        signature = self._sign(Domain.TIMEOUT_VOTE, view, make_timeout_subject(View(0)))
        vote = TimeoutVote(self._epoch, view, View(0), self.validator_id, signature, record.high_qc, self.entry_tc)
        self._update(timed_out_view=view, last_timeout=vote)
        return vote

    monkeypatch.setattr(SafetyRules, "sign_timeout", sign_stale)
    findings, _ = hunt(NARROW, AGREEMENT)
    assert findings.depth == 10


def test_a_high_qc_that_is_not_raised_comes_to_a_halt(monkeypatch: pytest.MonkeyPatch) -> None:
    """P2 asks of a TimeoutVote how its view was entered, so what would be a fork is a halt: peers refuse the vote."""
    monkeypatch.setattr(SafetyRules, "raise_high_qc", lambda self, qc: None)
    findings, _ = hunt(Model(views=2, leaves=1), LIVENESS)
    assert findings.breach is not None
    assert "nothing shows how view 2 was entered" in findings.breach.detail


def test_finalizing_after_a_timeout_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SafetyRules, "sign_finalize", without("sign_finalize", timed_out_view=0))
    findings, _ = hunt(NARROW, AGREEMENT)
    assert findings.depth == 10


def test_finalizing_blocked_only_by_the_timeout_of_the_same_view_frames_the_honest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forgetful = without("sign_finalize", timed_out_view=0)

    def sign_finalize(self: SafetyRules, qc: QuorumCertificate) -> FinalizeVote | Unsafe:
        is_same = qc.view == self.record.timed_out_view
        answer: FinalizeVote | Unsafe = Unsafe("R5", "timed out") if is_same else forgetful(self, qc)
        return answer

    monkeypatch.setattr(SafetyRules, "sign_finalize", sign_finalize)
    findings, story = hunt(NARROW, FRAMED)
    assert story[-1].endswith("can be accused of E4")
    assert findings.depth == 5


def test_voting_twice_in_a_view_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SafetyRules, "sign_vote", without("sign_vote", voted_view=0))
    findings, _ = hunt(WIDE, AGREEMENT, width=10_000)
    assert findings.depth <= 12


def test_skipping_views_without_a_tc_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consensus.safety, "_check_justified", lambda leaf: None)
    monkeypatch.setattr(LeafHeader, "is_justified", property(lambda header: True))
    findings, story = hunt(Model(views=2, leaves=1), AGREEMENT)
    assert findings.depth == 8
    assert any(line.endswith("then votes for A2 (view 2, on genesis)") for line in story)


def test_every_quorum_one_short_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StakeTable, "success_threshold", property(lambda table: table.total * 2 // 3))
    findings, _ = hunt(WIDE, AGREEMENT)
    assert findings.depth == 4


@pytest.mark.parametrize(
    ("kind", "model"), [(QuorumCertificate, WIDE), (FinalityCertificate, NARROW), (TimeoutCertificate, NARROW)]
)
def test_a_verifier_that_takes_one_kind_of_certificate_one_short_forks(
    monkeypatch: pytest.MonkeyPatch, kind: type[Certificate], model: Model
) -> None:
    """Although every tally is right: certificates are assembled by adversaries too."""
    original = CertificateVerifier._check_quorum

    def check(self: CertificateVerifier, certificate: Certificate, signers: Any, statements: Any) -> None:
        if not isinstance(certificate, kind):
            original(self, certificate, signers, statements)
        elif self._table.compute_stake(signers) < self._table.success_threshold - 1:
            raise InvalidMessage("no_quorum", "two short")

    monkeypatch.setattr(CertificateVerifier, "_check_quorum", check)
    findings, _ = hunt(model, AGREEMENT)
    assert findings.depth <= 12


def test_a_stricter_rule_for_skipped_views_comes_to_a_halt(monkeypatch: pytest.MonkeyPatch) -> None:
    """`>` instead of `≥` in R3c."""

    def check(leaf: Leaf) -> Unsafe | None:
        tc = leaf.timeout_certificate
        if leaf.justify_qc.view == leaf.view - 1 or (tc is not None and leaf.justify_qc.view > tc.highest_view):
            return None
        return Unsafe("R3c", "not above the TC's highest")

    monkeypatch.setattr(consensus.safety, "_check_justified", check)
    hunt(Model(views=2, leaves=1), LIVENESS)


LOSSES: dict[str, tuple[Model, str, Recover, str | None]] = {
    "voted view": (WIDE, AGREEMENT, lambda record: replace(record, voted_view=0), None),
    "timed-out view": (NARROW, AGREEMENT, lambda record: replace(record, timed_out_view=0), None),
    "high_qc": (NARROW, FRAMED, lambda record: replace(record, high_qc=GENESIS_QC), "E4"),
    "finalized view": (Model(2, 2, 2, 2), FRAMED, lambda record: replace(record, finalized_view=0), "E3"),
    "proposed view": (
        Model(2, 2, honest_views=frozenset({1})),
        FRAMED,
        lambda record: replace(record, proposed_view=0, proposed_leaf=None),
        "E1",
    ),
}
"""Lost field -> where to look, what breaks, the loss, and the offence that the honest can be accused of.

Two FinalizeVotes in one view take two QCs, hence two Byzantine validators: with one, that loss is harmless (E3).
"""


@pytest.mark.parametrize("lost", LOSSES)
def test_a_record_that_loses_something_in_a_restart_forks_or_frames(lost: str) -> None:
    model, rule, recover, offence = LOSSES[lost]
    _, story = hunt(model, rule, recover)
    assert any("restarts, and its record is not what it was" in line for line in story)
    assert offence is None or story[-1].endswith(f"can be accused of {offence}")


def test_nothing_is_found_where_nothing_is_broken() -> None:
    """The same hunts through the delivered rules come back empty, so the mutants are what they find."""
    for model in (NARROW, WIDE):
        findings = Explorer(model, recover=record_as_it_is, liveness_every=100).run(states_max=30_000, width=2_000)
        assert findings.breach is None
        assert findings.states > 10_000


def record_as_it_is(record: SafetyRecord) -> SafetyRecord:
    return record
