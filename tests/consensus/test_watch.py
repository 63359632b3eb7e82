"""The watch: every pair of an offence in every form and order, forgeries, and how much it remembers."""

from collections.abc import Callable, Sequence
from itertools import permutations

import pytest
from msgspec.structs import replace

from consensus import watch as watch_module
from consensus.certificates import assemble_timeout_certificate
from consensus.evidence import Evidence, ForgottenFinalize, SignedLeaf, UnjustifiedVote, find_evidence_flaw, get_rule
from consensus.header import LeafHeader
from consensus.leaf import make_header
from consensus.signatures import Domain
from consensus.types import Commitment, ValidatorId, View
from consensus.watch import Watch, get_view
from tests.lab import EPOCH, Lab

Show = Callable[[Watch], list[Evidence]]
OFFENDER, ALONE = ValidatorId(0), ValidatorId(3)


@pytest.fixture
def watch(lab: Lab) -> Watch:
    return make_watch(lab)


def make_watch(lab: Lab, *, exhaustive: bool = False) -> Watch:
    return Watch(lab.context.network_id, EPOCH, lab.table, lab.scheme, exhaustive=exhaustive)


class Offence:
    """What validator 0 does wrong in views 1 to 4, in single messages and in certificates."""

    def __init__(self, lab: Lab) -> None:
        one, other = (lab.block(lab.genesis, 1, payload=payload) for payload in (b"a", b"b"))
        (first,) = lab.chain(1)
        unjustified = lab.block(lab.genesis, 3, justify=lab.genesis_qc, tc=lab.tc(2, lab.qc(first)))
        header = make_header(unjustified.leaf)
        fcs = [replace(lab.fc(block, voters=(0, 1, 2)), qc=lab.genesis_qc) for block in (one, other)]
        proposals = [
            SignedLeaf(block.commitment, lab.sign(0, Domain.PROPOSAL, 1, block.commitment)) for block in (one, other)
        ]
        self.halves: dict[str, tuple[Show, Show]] = {
            "E1": (
                lambda watch: watch.note_proposal(OFFENDER, View(1), proposals[0]),
                lambda watch: watch.note_proposal(OFFENDER, View(1), proposals[1]),
            ),
            "E2 vote, vote": (
                lambda watch: watch.note_vote(lab.vote(0, one)),
                lambda watch: watch.note_vote(lab.vote(0, other)),
            ),
            "E2 vote, QC": (
                lambda watch: watch.note_vote(lab.vote(0, one)),
                lambda watch: watch.note_qc(lab.qc(other)),
            ),
            "E2 QC, QC": (
                lambda watch: watch.note_qc(lab.qc(one, (0, 1, 2))),
                lambda watch: watch.note_qc(lab.qc(other, (0, 3))),
            ),
            "E2 QC in a TC, QC": (
                lambda watch: watch.note_tc(lab.tc(2, lab.qc(one, (0, 1)))),
                lambda watch: watch.note_qc(lab.qc(other, (0, 3))),
            ),
            "E3 vote, vote": (
                lambda watch: watch.note_finalize(lab.finalize(0, one)),
                lambda watch: watch.note_finalize(lab.finalize(0, other)),
            ),
            "E3 vote, FC": (
                lambda watch: watch.note_finalize(lab.finalize(0, one)),
                lambda watch: watch.note_fc(fcs[1]),
            ),
            "E3 FC, FC": (lambda watch: watch.note_fc(fcs[0]), lambda watch: watch.note_fc(fcs[1])),
            "E4 vote, vote": (
                lambda watch: watch.note_finalize(lab.finalize(0, one)),
                lambda watch: watch.note_timeout(lab.timeout(0, 1, lab.genesis_qc)),
            ),
            "E4 vote, later vote": (
                lambda watch: watch.note_finalize(lab.finalize(0, first)),
                lambda watch: watch.note_timeout(lab.timeout(0, 4, lab.qc(first), signed_view=0)),
            ),
            "E4 vote, TC": (
                lambda watch: watch.note_finalize(lab.finalize(0, one)),
                lambda watch: watch.note_tc(lab.tc(2, lab.genesis_qc)),
            ),
            "E4 FC, vote": (
                lambda watch: watch.note_fc(fcs[0]),
                lambda watch: watch.note_timeout(lab.timeout(0, 1, lab.genesis_qc)),
            ),
            "E4 FC, TC": (
                lambda watch: watch.note_fc(fcs[0]),
                lambda watch: watch.note_tc(lab.tc(1, lab.genesis_qc, voters=(0, 3))),
            ),
            "E5 vote": (
                lambda watch: watch.note_vote(lab.vote(0, unjustified)),
                lambda watch: watch.note_unjustified(header),
            ),
            "E5 QC": (
                lambda watch: watch.note_qc(lab.qc(unjustified, (0, 3))),
                lambda watch: watch.note_unjustified(header),
            ),
        }


FORMS = tuple(Offence(Lab()).halves)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", list(permutations((0, 1))), ids=["as written", "reversed"])
def test_an_offence_is_found_when_its_second_half_comes_and_told_once(
    lab: Lab, watch: Watch, form: str, order: Sequence[int]
) -> None:
    halves = Offence(lab).halves[form]
    assert halves[order[0]](watch) == []
    found = {evidence.offender: evidence for evidence in halves[order[1]](watch)}
    proof = found[OFFENDER]
    assert get_rule(proof) == form[:2]
    assert (
        find_evidence_flaw(proof, lab.table.get_validator(OFFENDER).public_key, lab.scheme, lab.context.network_id)
        is None
    )
    assert [half(watch) for half in halves] == [[], []]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at", [0, 1])
def test_one_half_as_often_as_it_comes_is_no_offence(lab: Lab, watch: Watch, form: str, at: int) -> None:
    half = Offence(lab).halves[form][at]
    assert [half(watch) for _ in range(3)] == [[], [], []]


def test_each_rule_tells_of_an_offender_once_unless_all_of_it_is_wanted(lab: Lab) -> None:
    bounded, exhaustive = make_watch(lab), make_watch(lab, exhaustive=True)
    for view in (1, 2, 3):
        for payload in (b"a", b"b", b"c"):
            block = lab.block(lab.genesis, view, payload=payload)
            found = {name: watch.note_vote(lab.vote(0, block)) for name, watch in (("b", bounded), ("e", exhaustive))}
            assert bool(found["b"]) == (view == 1 and payload == b"b")
            assert bool(found["e"]) == (payload == b"b")


def test_a_forged_statement_neither_accuses_nor_takes_the_place_of_a_genuine_one(lab: Lab, watch: Watch) -> None:
    blocks = [lab.block(lab.genesis, 1, payload=payload) for payload in (b"a", b"b", b"c")]
    forged = replace(lab.vote(0, blocks[0]), signature=bytes(64))
    assert watch.note_vote(forged) == []
    assert watch.note_vote(lab.vote(0, blocks[1])) == []
    assert watch.note_vote(forged) == []
    (proof,) = watch.note_vote(lab.vote(0, blocks[2]))
    assert proof.offender == OFFENDER


def test_a_forged_timeout_does_not_hide_what_was_signed(lab: Lab) -> None:
    """Only where signatures have not been checked: in what is left on disks."""
    (block,) = lab.chain(1)
    genuine = lab.timeout(0, 2, lab.genesis_qc)
    forged = replace(genuine, signature=bytes(64))
    for order in ((forged, genuine), (genuine, forged)):
        watch = make_watch(lab, exhaustive=True)
        for timeout in order:
            assert watch.note_timeout(timeout) == []
        assert [proof.offender for proof in watch.note_finalize(lab.finalize(0, block))] == [OFFENDER]


def test_of_two_timeouts_of_one_view_the_one_that_denies_more_counts(lab: Lab, watch: Watch) -> None:
    one, two = lab.chain(2)
    watch.note_timeout(lab.timeout(0, 4, lab.genesis_qc))
    watch.note_timeout(lab.timeout(0, 4, lab.qc(two)))
    assert [proof.offender for proof in watch.note_finalize(lab.finalize(0, one))] == [OFFENDER]


def test_a_certificate_of_another_stake_table_or_scheme_accuses_nobody(lab: Lab, watch: Watch) -> None:
    """Its bitmap has another length, or its proof does not come apart into signatures."""
    one, other = (lab.block(lab.genesis, 1, payload=payload) for payload in (b"a", b"b"))
    assert watch.note_qc(lab.qc(one)) == []
    for changes in ({"signers": b"\x07\x00"}, {"signers": b"\xf7"}, {"proof": b"aggregate"}):
        assert watch.note_qc(replace(lab.qc(other), **changes)) == []


def test_what_an_epoch_begins_with_is_signed_by_nobody(lab: Lab, watch: Watch) -> None:
    other = replace(lab.genesis_qc, leaf=Commitment(b"\7" * 32))
    assert watch.note_qc(lab.genesis_qc) + watch.note_qc(other) == []
    assert len(watch) == 0


def test_whoever_has_no_stake_in_the_epoch_is_passed_over(lab: Lab, watch: Watch) -> None:
    stranger = ValidatorId(9)
    for payload in (b"a", b"b"):
        block = lab.block(lab.genesis, 1, payload=payload)
        assert watch.note_vote(replace(lab.vote(0, block), voter=stranger)) == []
        assert watch.note_finalize(replace(lab.finalize(0, block), voter=stranger)) == []
        assert watch.note_proposal(stranger, View(1), SignedLeaf(block.commitment, bytes(64))) == []
    assert watch.note_timeout(replace(lab.timeout(0, 1, lab.genesis_qc), voter=stranger)) == []
    assert len(watch) == 0


class TestMemory:
    """L4."""

    def test_l4_what_is_below_the_window_is_forgotten_and_not_taken_in_again(self, lab: Lab, watch: Watch) -> None:
        blocks = lab.chain(3)
        for block in blocks:
            watch.note_vote(lab.vote(0, block))
            watch.note_fc(lab.fc(block))
            watch.note_tc(lab.tc(block.leaf.view, block.leaf.justify_qc, voters=(3,)))
            watch.note_proposal(OFFENDER, block.leaf.view, SignedLeaf(block.commitment, bytes(64)))
        before = len(watch)
        watch.forget_below(View(3))
        assert len(watch) == before / 3
        watch.note_vote(lab.vote(1, blocks[0]))
        watch.note_qc(lab.qc(blocks[1]))
        watch.note_fc(lab.fc(blocks[1]))
        watch.note_tc(lab.tc(2, lab.qc(blocks[0])))
        watch.note_timeout(lab.timeout(0, 2, lab.qc(blocks[0])))
        watch.note_finalize(lab.finalize(1, blocks[1]))
        watch.note_unjustified(make_unjustified(lab, 2))
        assert len(watch) == before / 3
        watch.forget_below(View(4))
        assert len(watch) == 0

    def test_e4_the_latest_finalize_vote_of_each_validator_is_remembered(self, lab: Lab, watch: Watch) -> None:
        blocks = lab.chain(3)
        for number, view in ((0, 1), (0, 2), (1, 3)):
            watch.note_finalize(lab.finalize(number, blocks[view - 1]))
        watch.forget_below(View(60))
        (proof,) = watch.note_timeout(lab.timeout(0, 70, lab.qc(blocks[0])))
        assert (proof.offender, get_view(proof)) == (OFFENDER, 70)
        assert watch.note_timeout(lab.timeout(1, 70, lab.qc(blocks[2]))) == []

    @pytest.mark.parametrize("junk_views", [(60,), (6,), tuple(range(6, 29)), tuple(range(6, 90))])
    @pytest.mark.parametrize("is_certified", [True, False])
    def test_e4_nobody_erases_a_finality_by_later_votes_that_are_none(
        self, lab: Lab, watch: Watch, junk_views: tuple[int, ...], is_certified: bool
    ) -> None:
        """Inside the window or below it, one or many: what was genuinely finalized last can still be proven."""
        chain = lab.chain(5)
        watch.note_finalize(lab.finalize(0, chain[4]))
        if is_certified:
            watch.note_fc(lab.fc(chain[4]))
        for view in junk_views:
            junk = replace(lab.finalize(0, chain[4]), view=View(view), signature=bytes(64))
            watch.note_finalize(junk)
            watch.forget_below(View(max(1, view - 3)))
        watch.forget_below(View(30))
        proofs = watch.note_timeout(lab.timeout(0, 95, lab.genesis_qc))
        assert [type(proof) for proof in proofs] == [ForgottenFinalize]

    def test_e4_nobody_erases_a_finality_by_a_vote_that_is_none_in_a_view_that_others_finalized(
        self, lab: Lab, watch: Watch
    ) -> None:
        """The FC of that view vouches for those who are in it, and for nobody else."""
        chain = lab.chain(5)
        watch.note_finalize(lab.finalize(0, chain[2]))
        watch.note_fc(lab.fc(chain[4], voters=(1, 2, 3)))
        watch.note_finalize(replace(lab.finalize(0, chain[4]), signature=bytes(64)))
        watch.forget_below(View(6 + watch_module.THINNING_VIEWS))
        proofs = watch.note_timeout(lab.timeout(0, 95, lab.genesis_qc))
        assert [type(proof) for proof in proofs] == [ForgottenFinalize]

    def test_l4_old_finality_is_kept_in_bounds_and_what_a_certificate_holds_replaces_it(
        self, lab: Lab, watch: Watch
    ) -> None:
        chain = lab.chain(60)
        for block in chain:
            for number in range(4):
                watch.note_finalize(lab.finalize(number, block))
            watch.forget_below(block.leaf.view)
            assert len(watch) <= 4 * (watch_module.OLD_FINALIZES_MAX + watch_module.THINNING_VIEWS + 1)
        watch.note_fc(lab.fc(chain[-1], voters=(1, 2, 3)))
        watch.forget_below(View(61 + watch_module.THINNING_VIEWS))
        assert len(watch) <= 3 + watch_module.OLD_FINALIZES_MAX

    def test_l4_one_statement_of_each_validator_and_few_certificates_of_a_view(self, lab: Lab, watch: Watch) -> None:
        blocks = [lab.block(lab.genesis, 1, payload=bytes([number])) for number in range(20)]
        for block in blocks:
            watch.note_vote(replace(lab.vote(0, block), signature=bytes(64)))
        assert len(watch) == 1
        for block in blocks:
            watch.note_qc(lab.qc(block))
        assert len(watch) == 1 + watch_module.CERTIFICATES_MAX
        for block in blocks:
            high_qc = lab.qc(block, voters=(1, 2))
            votes = {ALONE: (View(1), lab.timeout(ALONE, 2, high_qc).signature)}
            watch.note_tc(assemble_timeout_certificate(lab.scheme, lab.table, EPOCH, View(2), votes, high_qc))
        assert len(watch) == 1 + 2 * watch_module.CERTIFICATES_MAX

    def test_l4_headers_one_of_each_proposer_and_view_and_only_so_many_bytes(
        self, lab: Lab, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        size = 512 + 2 * (3 * 64 + 1) + 3 * 8  # a TC of three signers, and its QC
        monkeypatch.setattr(watch_module, "HEADER_BYTES_MAX", 3 * size)
        kept = [make_unjustified(lab, view) for view in (10, 11, 12)]
        for header in kept:
            watch.note_unjustified(header)
            watch.note_unjustified(replace(header, timestamp_ms=header.timestamp_ms + 1))
        assert len(watch) == 3
        watch.note_unjustified(make_unjustified(lab, 9))
        assert not vote_for(lab, watch, 9, 0)
        assert vote_for(lab, watch, 10, 1)
        watch.note_unjustified(make_unjustified(lab, 20))
        assert not vote_for(lab, watch, 10, 2)
        assert vote_for(lab, watch, 20, 3)
        monkeypatch.setattr(watch_module, "HEADER_BYTES_MAX", size - 1)
        assert watch.note_unjustified(make_unjustified(lab, 30)) == []
        assert not vote_for(lab, watch, 30, 0)

    def test_e5_a_justified_header_or_one_of_another_epoch_is_not_kept(self, lab: Lab, watch: Watch) -> None:
        watch.note_unjustified(make_header(lab.chain(1)[0].leaf))
        watch.note_unjustified(replace(make_unjustified(lab, 3), epoch=EPOCH + 1))
        assert len(watch) == 0


def make_unjustified(lab: Lab, view: int) -> LeafHeader:
    """On genesis, although its TC knows of a QC of view 1."""
    (first,) = lab.chain(1)
    tc = lab.tc(view - 1, lab.qc(first))
    return make_header(lab.block(lab.genesis, view, justify=lab.genesis_qc, tc=tc).leaf)


def vote_for(lab: Lab, watch: Watch, view: int, voter: int) -> list[Evidence]:
    """For the unjustified leaf of this view."""
    header = make_unjustified(lab, view)
    leaf = lab.block(lab.genesis, view, justify=lab.genesis_qc, tc=header.timeout_certificate)
    found = watch.note_vote(lab.vote(voter, leaf))
    assert all(isinstance(proof, UnjustifiedVote) and proof.header == header for proof in found)
    return found
