"""What the ledger admits into a leaf: judged in order, verified by signature, chosen within the bounds."""

import msgspec
import pytest

from consensus.evidence import EVIDENCE_MAX
from consensus.ledger import LedgerParameters
from consensus.ledger import admission as admission_module
from consensus.ledger.admission import Admission
from consensus.operations import OPERATIONS_MAX, Bond, RotateKey
from consensus.signatures.simulated import Simulated
from tests.bookkeeping import NETWORK, PATIENT, Books


class CountingScheme(Simulated):
    """Counts how often a signature is verified."""

    def __init__(self) -> None:
        self.verified = 0

    def verify(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        self.verified += 1
        return super().verify(public_key, statement, signature)


def make_counting_admission() -> tuple[Admission, CountingScheme]:
    scheme = CountingScheme()
    return Admission(NETWORK, scheme, LedgerParameters(PATIENT)), scheme


def test_a_leaf_is_judged_in_order_on_top_of_the_parents_state() -> None:
    books = Books()
    first, second = (books.bond("owner-0", "new", 10, nonce=nonce) for nonce in (0, 1))
    assert books.admission.find_flaw(books.ledger, books.make_leaf(operations=[first, second])) is None
    flaw = books.admission.find_flaw(books.ledger, books.make_leaf(operations=[second, first]))
    assert flaw == "operation 0: nonce 1, the account's next one is 0"
    assert books.state.validators[-1].id == 6, "judging changes nothing"


def test_one_proof_per_offender_may_stand_in_a_leaf() -> None:
    books = Books()
    evidence = books.double_vote(3)
    assert books.admission.find_flaw(books.ledger, books.make_leaf(evidence=[evidence])) is None
    flaw = books.admission.find_flaw(books.ledger, books.make_leaf(evidence=[evidence, evidence]))
    assert flaw == "evidence against validator 3: validator 3 is tombstoned already"


def test_evidence_takes_effect_before_operations() -> None:
    books = Books()
    leaf = books.make_leaf(operations=[books.rotate_key("owner-3", 3, "fresh")], evidence=[books.double_vote(3)])
    flaw = books.admission.find_flaw(books.ledger, leaf)
    assert flaw == "operation 0: validator 3 is tombstoned and never returns"


@pytest.mark.parametrize("field", ["amount", "nonce", "name", "address", "signature"])
def test_a_changed_field_breaks_the_signature(field: str) -> None:
    books = Books()
    bond = books.bond("owner-0", "new", 10)
    assert books.admission.check_operation(books.ledger, bond) is None
    changes = {"amount": 11, "nonce": 0, "name": "other", "address": "127.0.0.1:2", "signature": b"x" * 16}
    if field == "nonce":
        books.include(bond)
        changes["nonce"] = 1
    forged = msgspec.structs.replace(bond, **{field: changes[field]})
    assert books.admission.check_operation(books.ledger, forged) == "the signature is not the account's"


def test_a_key_must_agree_to_be_bonded_or_rotated_to() -> None:
    books = Books()
    for operation in (books.bond("owner-0", "new", 10), books.rotate_key("owner-0", 0, "new")):
        assert isinstance(operation, Bond | RotateKey)
        stolen = books.bond("owner-1", "new", 10)
        assert isinstance(stolen, Bond)
        other = msgspec.structs.replace(operation, possession=stolen.possession, signature=b"")
        resigned = books.sign("owner-0", other)
        flaw = books.admission.check_operation(books.ledger, resigned)
        assert flaw == "the validator's key has not signed for this account"


def test_a_top_up_needs_no_word_of_the_key() -> None:
    books = Books()
    bond = books.bond("owner-0", "validator-0", 10)
    bare = books.sign("owner-0", msgspec.structs.replace(bond, possession=b"", signature=b""))
    assert books.admission.check_operation(books.ledger, bare) is None


def test_forged_evidence_is_refused_and_never_remembered_as_right() -> None:
    books = Books()
    genuine = books.double_vote(3)
    forged = msgspec.structs.replace(genuine, offender=4)
    for _ in range(2):
        assert books.admission.check_evidence(books.ledger, forged) == "a signature in it is not the offender's"
    assert books.admission.check_evidence(books.ledger, genuine) is None


def test_what_was_verified_for_one_key_is_not_right_for_another() -> None:
    books, rotated = Books(), Books()
    rotated.include(rotated.rotate_key("owner-3", 3, "fresh"))
    books.roll_over(2)
    rotated.roll_over(2)
    evidence = books.double_vote(3)
    assert books.admission.check_evidence(books.ledger, evidence) is None
    assert books.admission.check_evidence(rotated.ledger, evidence) == "a signature in it is not the offender's"


def test_a_signature_is_verified_once() -> None:
    books = Books()
    admission, scheme = make_counting_admission()
    leaf = books.make_leaf(operations=[books.bond("owner-0", "new", 10)], evidence=[books.double_vote(3)])
    assert admission.find_flaw(books.ledger, leaf) is None
    verified = scheme.verified
    assert verified == 4, "account, validator's key, two votes"
    assert admission.find_flaw(books.ledger, leaf) is None
    assert admission.check_evidence(books.ledger, leaf.evidence[0]) is None
    assert scheme.verified == verified


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "VERIFIED_MAX", 4)
    books = Books()
    admission, scheme = make_counting_admission()
    unbonds = [books.unbond("owner-0", 0, amount) for amount in range(1, 11)]
    for unbond in unbonds:
        assert admission.check_operation(books.ledger, unbond) is None
    assert scheme.verified == 10
    assert admission.check_operation(books.ledger, unbonds[-1]) is None
    assert scheme.verified == 10, "the newest are remembered"
    assert admission.check_operation(books.ledger, unbonds[0]) is None
    assert scheme.verified == 11, "the oldest are not"


def test_a_selection_keeps_the_order_and_leaves_out_what_is_not_acceptable() -> None:
    books = Books()
    good = [books.unbond("owner-0", 0, 10, nonce=nonce) for nonce in range(2)]
    stale, others = books.unbond("owner-0", 0, 10, nonce=7), books.unbond("owner-1", 0, 10)
    proofs = [books.double_vote(3), books.broken_promise(3, b""), books.double_vote(4)]
    operations, evidence = books.admission.select(books.ledger, [good[0], stale, others, good[1]], proofs)
    assert operations == tuple(good)
    assert evidence == (proofs[0], proofs[2])
    leaf = books.make_leaf(operations=operations, evidence=evidence)
    assert books.admission.find_flaw(books.ledger, leaf) is None


def test_a_selection_fits_into_a_leaf() -> None:
    books = Books((10**6,) * 20)
    operations = [books.unbond("owner-0", 0, 1, nonce=nonce) for nonce in range(OPERATIONS_MAX + 5)]
    evidence = [books.double_vote(number) for number in range(1, EVIDENCE_MAX + 4)]
    chosen_operations, chosen_evidence = books.admission.select(books.ledger, operations, evidence)
    assert chosen_operations == tuple(operations[:OPERATIONS_MAX])
    assert chosen_evidence == tuple(evidence[:EVIDENCE_MAX])


def test_what_is_admitted_takes_effect_even_in_a_leaf_that_skips_views() -> None:
    """Operations meet the state that voters judged them by, whatever the same leaf does to leaders."""
    books = Books()
    books.lead()
    unbond = books.unbond("owner-2", 2, 1_000_000)
    view = books.leaf.view + 2
    assert books.get_leader(view - 1) == 2
    leaf = books.make_leaf(view, operations=[unbond])
    assert books.admission.find_flaw(books.ledger, leaf) is None
    books.append(leaf)
    assert books.account("owner-2").nonce == 1
    assert books.validator(2).leader.missed == 1
