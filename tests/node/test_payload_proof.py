"""What a payload holds of a namespace is proven against its leaf alone: nothing missing, added, moved or changed."""

import struct
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.payload_tree import CHUNK_BYTES, Piece, compute_payload_commitment, cut_pieces, prove_pieces
from sequencer.light.errors import ProofError
from sequencer.light.payload_proof import (
    PayloadProof,
    check_namespace,
    check_transaction,
    parse_proof,
    prove_namespace,
    prove_transaction,
    verify_namespace,
    verify_transaction,
    write_proof,
)
from sequencer.payload import compute_transaction_hash, encode_payload, make_transaction
from sequencer.payload_format import NAMESPACE_MAX, PayloadError, encode_regions
from sequencer.schema.namespaces import NamespaceJson, TransactionProofJson

Groups = dict[int, list[bytes]]

NAMES = st.integers(0, 9) | st.just(NAMESPACE_MAX)


@st.composite
def payloads(draw: st.DrawFn) -> tuple[Groups, bytes]:
    """Up to some thirty chunks: small transactions, and some that are longer than a chunk."""
    groups: Groups = {}
    number = 0
    for namespace in sorted(draw(st.sets(NAMES, min_size=1, max_size=6))):
        for size in draw(st.lists(st.integers(4, 60) | st.integers(900, 3000), min_size=1, max_size=5)):
            number += 1
            groups.setdefault(namespace, []).append(number.to_bytes(4, "big") * (size // 4))
    return groups, encode_payload([make_transaction(name, data) for name, group in groups.items() for data in group])


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def is_proven(payload: bytes, namespace: int, proof: PayloadProof) -> bool:
    try:
        verify_namespace(compute_payload_commitment(payload), len(payload), namespace, proof)
    except ProofError:
        return False
    return True


@given(payloads(), NAMES)
def test_all_transactions_of_a_namespace_or_their_absence(case: tuple[Groups, bytes], namespace: int) -> None:
    groups, payload = case
    transactions, proof = prove_namespace(payload, namespace)
    commitment = compute_payload_commitment(payload)
    assert transactions == groups.get(namespace, [])
    assert verify_namespace(commitment, len(payload), namespace, proof) == transactions
    assert parse_proof(write_proof(proof)) == proof


@given(payloads(), st.data())
def test_one_transaction(case: tuple[Groups, bytes], data: st.DataObject) -> None:
    groups, payload = case
    namespace = data.draw(st.sampled_from(sorted(groups)))
    position = data.draw(st.integers(0, len(groups[namespace]) - 1))
    found, proof = prove_transaction(payload, namespace, position)
    commitment = compute_payload_commitment(payload)
    assert found == groups[namespace][position]
    assert verify_transaction(commitment, len(payload), namespace, position, proof) == found


@given(payloads(), NAMES, st.data())
def test_the_proof_of_one_namespace_proves_nothing_false_of_another(
    case: tuple[Groups, bytes], namespace: int, data: st.DataObject
) -> None:
    """It may hold all that another one needs, as small payloads do; then that is true as well."""
    groups, payload = case
    _, proof = prove_namespace(payload, namespace)
    other = data.draw(NAMES)
    try:
        transactions = verify_namespace(compute_payload_commitment(payload), len(payload), other, proof)
    except ProofError:
        return
    assert transactions == groups.get(other, [])


@given(payloads(), NAMES, st.data())
def test_a_changed_byte_is_refused(case: tuple[Groups, bytes], namespace: int, data: st.DataObject) -> None:
    """Of the content, of the hashes, of the commitment."""
    _, payload = case
    _, proof = prove_namespace(payload, namespace)
    parts = [*(piece.content for piece in proof.pieces), *proof.nodes, compute_payload_commitment(payload)]
    number = data.draw(st.integers(0, len(parts) - 1))
    changed = bytearray(parts[number])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    parts[number] = bytes(changed)
    contents, nodes = parts[: len(proof.pieces)], parts[len(proof.pieces) : -1]
    pieces = [Piece(piece.first, content) for piece, content in zip(proof.pieces, contents, strict=True)]
    forged = PayloadProof(tuple(pieces), tuple(nodes))  # type: ignore[arg-type]
    with pytest.raises(ProofError) as raised:
        verify_namespace(parts[-1], len(payload), namespace, forged)  # type: ignore[arg-type]
    assert (raised.value.rule, raised.value.reason) == ("P3", "bad_payload_proof")


@given(payloads(), NAMES)
def test_a_proof_has_nothing_that_is_not_needed(case: tuple[Groups, bytes], namespace: int) -> None:
    """One object, one encoding: true pieces of the payload beside those that were looked at are refused."""
    _, payload = case
    _, proof = prove_namespace(payload, namespace)
    whole = cut_pieces(payload, [(0, len(payload))])
    everything = PayloadProof(whole, prove_pieces(payload, whole))
    assert is_proven(payload, namespace, everything) == (proof == everything)


@given(payloads(), NAMES, st.data())
def test_a_proof_that_lacks_a_piece_is_refused(case: tuple[Groups, bytes], namespace: int, data: st.DataObject) -> None:
    """True as far as it goes, but not all that there is."""
    _, payload = case
    _, proof = prove_namespace(payload, namespace)
    chunks = sorted(chunk for piece in proof.pieces for chunk in range(piece.first, piece.end))
    chunks.remove(data.draw(st.sampled_from(chunks)))
    spans = [(chunk * CHUNK_BYTES, min((chunk + 1) * CHUNK_BYTES, len(payload))) for chunk in chunks]
    pieces = cut_pieces(payload, spans)
    assert not is_proven(payload, namespace, PayloadProof(pieces, prove_pieces(payload, pieces)))


def test_a_transaction_that_looks_like_others_proves_nothing_of_them() -> None:
    """Whoever writes a region into a transaction of his own has written a transaction."""
    inner = encode_regions({7: [b"pay me"]})
    payload = encode_regions({3: [inner, inner[12:]], 9: [b"x"]})
    commitment = compute_payload_commitment(payload)
    for namespace, expected in ((7, []), (3, [inner, inner[12:]])):
        _, proof = prove_namespace(payload, namespace)
        assert verify_namespace(commitment, len(payload), namespace, proof) == expected


def test_an_empty_payload_has_nothing_of_anybody() -> None:
    empty = PayloadProof((), ())
    assert prove_namespace(b"", 7) == ([], empty)
    assert verify_namespace(compute_payload_commitment(b""), 0, 7, empty) == []
    with pytest.raises(ProofError):
        verify_namespace(compute_payload_commitment(b"x"), 0, 7, empty)
    with pytest.raises(PayloadError, match="no transaction of namespace 7"):
        prove_transaction(b"", 7, 0)


def test_what_is_not_there_cannot_be_asked_for() -> None:
    payload = encode_regions({3: [b"one", b"two"]})
    with pytest.raises(PayloadError, match="has 2 transactions"):
        prove_transaction(payload, 3, 2)
    _, proof = prove_transaction(payload, 3, 1)
    for namespace, position in ((3, 2), (3, -1), (4, 0)):
        with pytest.raises(ProofError):
            verify_transaction(compute_payload_commitment(payload), len(payload), namespace, position, proof)


@pytest.mark.parametrize(
    "payload",
    [
        words(2, 7, 29, 3, 38) + 2 * (words(1, 1) + b"a"),
        words(2, 7, 29, 7, 38) + 2 * (words(1, 1) + b"a"),
        words(3, 7, 46, 8, 37, 9, 55) + (words(1, 10) + words(1, 1) + b"ac") + (words(1, 1) + b"b"),
        words(2, 7, 29, 8, 20) + (words(1, 1) + b"a"),
        words(2**32 - 1, 7),
        b"\0",
    ],
    ids=["descending", "twice", "overlapping", "back", "lying", "short"],
)
def test_a_payload_that_no_voter_accepts_proves_nothing(payload: bytes) -> None:
    """A namespace could stand in a second region there: what is complete would not be known."""
    whole = PayloadProof((Piece(0, payload),), ())
    with pytest.raises(ProofError) as raised:
        verify_namespace(compute_payload_commitment(payload), len(payload), 7, whole)
    assert raised.value.rule == "P4"


@pytest.mark.parametrize("ends", [(3, 1), (1, 1), (1, 9)], ids=["back", "empty", "beyond"])
def test_a_transaction_that_no_voter_accepts_is_not_proven(ends: tuple[int, int]) -> None:
    """Its proof shows it alone, so it alone is looked at, and must lie within its region."""
    payload = words(2, 7, 35, 8, 44) + (words(2, *ends) + b"abc") + (words(1, 1) + b"z")
    whole = PayloadProof((Piece(0, payload),), ())
    with pytest.raises(ProofError) as raised:
        verify_transaction(compute_payload_commitment(payload), len(payload), 7, 1, whole)
    assert (raised.value.rule, raised.value.reason) == ("P4", "malformed_payload")


def test_a_proof_of_one_transaction_is_small() -> None:
    """Of two megabytes some four chunks and their paths, and not the transactions of the same namespace around it."""
    payload = encode_payload([make_transaction(5, number.to_bytes(4, "big") * 32) for number in range(15_000)])
    found, proof = prove_transaction(payload, 5, 7_777)
    assert verify_transaction(compute_payload_commitment(payload), len(payload), 5, 7_777, proof) == found
    assert len(msgspec.msgpack.encode(proof)) < 6 * 1024


# The answers of the API


@pytest.fixture(scope="module")
def payload() -> bytes:
    return encode_payload(
        [make_transaction(number % 4, number.to_bytes(4, "big") * 40) for number in range(200)]
        + [make_transaction(8, b"8" * 5000)]
    )


def make_answer(payload: bytes, namespace: int) -> NamespaceJson:
    transactions, proof = prove_namespace(payload, namespace)
    commitment = "0x" + compute_payload_commitment(payload).hex()
    shown = ["0x" + each.hex() for each in transactions]
    return NamespaceJson(3, "0x" + "ab" * 32, commitment, len(payload), namespace, shown, write_proof(proof))


def make_transaction_answer(payload: bytes, namespace: int, position: int) -> tuple[bytes, TransactionProofJson]:
    data, proof = prove_transaction(payload, namespace, position)
    name, commitment = compute_transaction_hash(namespace, data), compute_payload_commitment(payload)
    return data, TransactionProofJson(
        hash="0x" + name.hex(),
        namespace=namespace,
        transaction="0x" + data.hex(),
        height=3,
        block="0x" + "ab" * 32,
        payload_hash="0x" + commitment.hex(),
        payload_bytes=len(payload),
        position=position,
        position_in_namespace=position,
        proof=write_proof(proof),
    )


def change(value: object, data: st.DataObject) -> object:
    match value:
        case str():
            position = data.draw(st.integers(2, len(value) - 1))
            digit = data.draw(st.sampled_from([each for each in "0123456789abcdef" if each != value[position]]))
            return value[:position] + digit + value[position + 1 :]
        case int():
            return data.draw(st.integers(0, 100).filter(lambda other: other != value))
        case _:
            raise AssertionError(value)


def walk(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every number and text of a JSON value that is not empty."""
    items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    if isinstance(value, int) or (isinstance(value, str) and len(value) > 2):
        yield path
    for key, item in items:
        yield from walk(item, (*path, key))


def forge(answer: msgspec.Struct, data: st.DataObject, unproven: set[str]) -> object:
    """Its JSON with one digit of one text, or one number, changed."""
    built = msgspec.to_builtins(answer)
    path = data.draw(st.sampled_from([each for each in walk(built) if each[0] not in unproven]))
    holder = built
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = change(holder[path[-1]], data)
    return built


@settings(max_examples=300)
@given(st.sampled_from([0, 2, 3, 7, 8]), st.data())
def test_whatever_is_changed_in_an_answer_is_refused(payload: bytes, namespace: int, data: st.DataObject) -> None:
    """But for height and hash of the block, which whoever asked has from the leaf."""
    commitment, answer = compute_payload_commitment(payload), make_answer(payload, namespace)
    assert len(check_namespace(commitment, len(payload), namespace, answer)) == {7: 0, 8: 1}.get(namespace, 50)
    forged = msgspec.convert(forge(answer, data, {"height", "hash"}), NamespaceJson)
    with pytest.raises(ProofError):
        check_namespace(commitment, len(payload), namespace, forged)


@settings(max_examples=300)
@given(st.integers(0, 3), st.integers(0, 49), st.data())
def test_whatever_is_changed_in_the_answer_about_a_transaction_is_refused(
    payload: bytes, namespace: int, position: int, data: st.DataObject
) -> None:
    commitment = compute_payload_commitment(payload)
    transaction, answer = make_transaction_answer(payload, namespace, position)
    check_transaction(commitment, len(payload), namespace, transaction, answer)
    unproven = {"height", "block", "position"}
    forged = msgspec.convert(forge(answer, data, unproven), TransactionProofJson)
    with pytest.raises(ProofError):
        check_transaction(commitment, len(payload), namespace, transaction, forged)


def rewrite(answer: NamespaceJson, form: Callable[[str], str]) -> None:
    answer.proof.pieces[0].content = form(answer.proof.pieces[0].content)


BENDS: dict[str, Callable[[NamespaceJson], object]] = {
    "a transaction is left out": lambda answer: answer.transactions.pop(),
    "a transaction is added": lambda answer: answer.transactions.append("0x00"),
    "two are exchanged": lambda answer: answer.transactions.reverse(),
    "a hash is added": lambda answer: answer.proof.nodes.append("0x" + "00" * 32),
    "a hash is left out": lambda answer: answer.proof.nodes.pop(),
    "a piece stands there twice": lambda answer: answer.proof.pieces.append(answer.proof.pieces[-1]),
    "a piece is left out": lambda answer: answer.proof.pieces.pop(),
    "large digits": lambda answer: rewrite(answer, lambda content: "0x" + content[2:].upper()),
    "no 0x": lambda answer: rewrite(answer, lambda content: content[2:]),
    "blanks in it": lambda answer: rewrite(answer, lambda content: f"0x {content[2:]}"),
    "no digits": lambda answer: answer.proof.nodes.append("0xzz"),
}


@pytest.mark.parametrize("bend", list(BENDS.values()), ids=list(BENDS))
def test_an_answer_of_another_form_is_refused(payload: bytes, bend: Callable[[NamespaceJson], object]) -> None:
    answer = make_answer(payload, 2)
    bend(answer)
    with pytest.raises(ProofError):
        check_namespace(compute_payload_commitment(payload), len(payload), 2, answer)


def test_the_proof_of_another_transaction_is_refused(payload: bytes) -> None:
    commitment = compute_payload_commitment(payload)
    transaction, _ = make_transaction_answer(payload, 2, 5)
    _, other = make_transaction_answer(payload, 2, 6)
    with pytest.raises(ProofError, match="another transaction"):
        check_transaction(commitment, len(payload), 2, transaction, other)
