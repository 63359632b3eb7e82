"""The example rollup's rules: a pure function of ordered bytes, which nobody stops by having nonsense ordered."""

from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from examples.rollup.ledger import Ledger, Outcome, make_transfer

NAMESPACE = 7
ALICE, BOB, CAROL = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))
KEYS = (ALICE, BOB, CAROL)


def public(key: SigningKey) -> bytes:
    return bytes(key.verify_key)


def make_ledger() -> Ledger:
    return Ledger(NAMESPACE, {public(ALICE): 100, public(BOB): 50})


def pay(sender: SigningKey, nonce: int, recipient: SigningKey, amount: int, namespace: int = NAMESPACE) -> bytes:
    return make_transfer(sender, nonce, public(recipient), amount, namespace)


def test_coins_move_to_accounts_that_were_there_and_to_new_ones() -> None:
    ledger = make_ledger()
    assert ledger.execute(pay(ALICE, 0, BOB, 30)) is Outcome.APPLIED
    assert ledger.execute(pay(BOB, 0, CAROL, 80)) is Outcome.APPLIED
    assert [ledger.accounts[public(key)].balance for key in KEYS] == [70, 0, 80]


def test_whoever_pays_himself_has_as_much_as_before() -> None:
    ledger = make_ledger()
    assert ledger.execute(pay(ALICE, 0, ALICE, 100)) is Outcome.APPLIED
    assert ledger.accounts[public(ALICE)].balance == 100


def test_what_is_no_valid_transfer_changes_nothing() -> None:
    ledger = make_ledger()
    root = ledger.compute_root()
    good = pay(ALICE, 0, BOB, 30)
    assert ledger.execute(b"") is Outcome.MALFORMED
    assert ledger.execute(b"\xc1garbage") is Outcome.MALFORMED
    assert ledger.execute(good[:-1] + bytes([good[-1] ^ 1])) is Outcome.FORGED
    assert ledger.execute(pay(ALICE, 0, BOB, 30, namespace=8)) is Outcome.FORGED
    assert ledger.execute(pay(ALICE, 1, BOB, 30)) is Outcome.OUT_OF_ORDER
    assert ledger.execute(pay(ALICE, 0, BOB, 101)) is Outcome.UNCOVERED
    assert ledger.execute(pay(CAROL, 0, BOB, 1)) is Outcome.UNCOVERED
    assert ledger.compute_root() == root
    assert ledger.execute(good) is Outcome.APPLIED
    assert ledger.execute(good) is Outcome.OUT_OF_ORDER


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 3), st.sampled_from(KEYS), st.integers(1, 120))))
def test_coins_are_conserved_and_the_same_order_gives_the_same_root(
    orders: list[tuple[SigningKey, int, SigningKey, int]],
) -> None:
    first, second = make_ledger(), make_ledger()
    ordered = [pay(*order) for order in orders]
    assert [first.execute(data) for data in ordered] == [second.execute(data) for data in ordered]
    assert first.compute_root() == second.compute_root()
    assert first.supply == 150
    assert min(account.balance for account in first.accounts.values()) >= 0


@given(st.binary(max_size=300))
def test_any_bytes_are_borne(data: bytes) -> None:
    ledger = make_ledger()
    root = ledger.compute_root()
    assert ledger.execute(data) in (Outcome.MALFORMED, Outcome.FORGED)
    assert ledger.compute_root() == root
