"""What holds for the ledger whatever its leaves say: random chains of gaps, operations, evidence and roll-overs."""

import hypothesis.strategies as st
import msgspec
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from consensus.evidence import Evidence
from consensus.leaf import Leaf
from consensus.ledger import (
    EpochParameters,
    LeadershipParameters,
    Ledger,
    LedgerState,
    SlashingParameters,
    Status,
    apply_leaf,
    begin_epoch,
)
from consensus.ledger.changes import Jailed, Slashed, Tombstoned
from consensus.ledger.state import ValidatorState, compute_supply
from consensus.operations import Operation
from consensus.types import Commitment, ValidatorId
from tests.bookkeeping import Books, make_signer

HONEST = ValidatorId(0)
"""Leads whenever it is its turn, and signs nothing twice."""
LEADERSHIP = LeadershipParameters(primary_size=4, fallback_size=2, handback_after=2, handback_doublings_max=2)
SLASHING = SlashingParameters(
    leader_window=6, jail_after=3, outage_window=2, liveness_fraction_ppm=50_000, liveness_event_max_ppm=300_000
)
EPOCHS = EpochParameters(epoch_blocks=1000, min_stake=5)
ACCOUNTS = st.sampled_from([f"owner-{number}" for number in range(9)])
KEYS = st.sampled_from([*(f"validator-{number}" for number in range(8)), "x", "y", "z"])
NUMBERS = st.integers(0, 9)
AMOUNTS = st.one_of(st.integers(1, 2_000), st.integers(1, 2**62))


def get_owner(member: ValidatorState) -> str:
    """Name of the account that owns it."""
    return member.owner.rstrip(b".").decode()


class LedgerMachine(RuleBasedStateMachine):
    """Everything may be tried; what the rules forbid must have no effect and break nothing."""

    @initialize(stakes=st.lists(st.integers(5, 2_000), min_size=2, max_size=8))
    def begin(self, stakes: list[int]) -> None:
        self.books = Books(stakes, leadership=LEADERSHIP, slashing=SLASHING, epochs=EPOCHS)
        self.genesis = (self.books.ledger, self.books.leaf)
        self.supply = compute_supply(self.books.state)
        self.steps: list[Leaf | None] = []
        """Leaves, and None for each roll-over."""
        self.operations: list[Operation] = []
        self.evidence: list[Evidence] = []

    @rule(gap=st.integers(0, 9), beacon=st.booleans(), proposer=st.one_of(st.none(), NUMBERS))
    def lead(self, gap: int, beacon: bool, proposer: int | None) -> None:
        books = self.books
        view = books.leaf.view + 1
        while gap and books.get_leader(view) != HONEST:
            view, gap = view + 1, gap - 1
        # Of a leaf that takes over from others the proposer does not matter here; it may be nobody at all.
        leads = None if books.get_leader(view) == HONEST else proposer
        leaf = books.make_leaf(
            view,
            operations=self.operations,
            evidence=self.evidence,
            beacon=Commitment(bytes([view % 256]) * 32) if beacon else None,
            proposer=leads,
        )
        self.operations, self.evidence = [], []
        is_admitted = books.admission.find_flaw(books.ledger, leaf) is None
        nonces = sum(account.nonce for account in books.state.accounts)
        books.append(leaf)
        self.steps.append(leaf)
        taken = sum(account.nonce for account in books.state.accounts) - nonces
        assert 0 <= taken <= len(leaf.operations)
        if is_admitted:
            assert taken == len(leaf.operations), "what is admitted takes effect"

    @rule(leaves=st.integers(1, 40), dead=st.sets(st.integers(1, 9), max_size=4))
    def lead_without(self, leaves: int, dead: set[int]) -> None:
        for _ in range(leaves):
            if dead >= set(self.books.ledger.table.ids):
                return  # the honest one has left, and nobody else is alive
            self.books.lead(dead=dead)
            self.steps.append(self.books.leaf)

    @rule(count=st.integers(1, 3))
    def roll_over(self, count: int) -> None:
        for _ in range(count):
            self.books.roll_over()
            self.steps.append(None)

    @rule(account=ACCOUNTS, key=KEYS, amount=AMOUNTS)
    def bond(self, account: str, key: str, amount: int) -> None:
        self.operations.append(self.books.bond(account, key, amount))

    @rule(account=ACCOUNTS, number=NUMBERS, amount=AMOUNTS)
    def unbond(self, account: str, number: int, amount: int) -> None:
        self.operations.append(self.books.unbond(account, number, amount))

    @rule(number=NUMBERS, everything=st.booleans())
    def unbond_own(self, number: int, everything: bool) -> None:
        member = self.books.ledger.validators.get(ValidatorId(number))
        if member is not None and member.stake:
            amount = member.stake if everything else (member.stake + 1) // 2
            self.operations.append(self.books.unbond(get_owner(member), number, amount))

    @rule()
    def unjail_everyone(self) -> None:
        for member in self.books.state.validators:
            if member.status is Status.JAILED:
                self.operations.append(self.books.unjail(get_owner(member), member.id))

    @rule(number=NUMBERS)
    def unjail(self, number: int) -> None:
        self.operations.append(self.books.unjail(f"owner-{number}", number))

    @rule(number=NUMBERS, key=KEYS)
    def rotate_key(self, number: int, key: str) -> None:
        self.operations.append(self.books.rotate_key(f"owner-{number}", number, key))

    @rule(number=st.integers(1, 9), age=st.integers(0, 3))
    def double_vote(self, number: int, age: int) -> None:
        epoch = max(0, self.books.state.epoch - age)
        self.evidence.append(self.books.double_vote(number, epoch))

    @rule(number=st.integers(1, 9), beneficiary=st.sampled_from(["owner-1", "stranger"]))
    def broken_promise(self, number: int, beneficiary: str) -> None:
        self.evidence.append(self.books.broken_promise(number, make_signer(beneficiary).public_key))

    @precondition(lambda self: hasattr(self, "books"))
    @invariant()
    def the_state_is_sound(self) -> None:
        ledger, state = self.books.ledger, self.books.state
        assert compute_supply(state) == self.supply
        # The decoder checks every bound: nothing is negative, nothing too large.
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=LedgerState) == state
        ids, keys = list(ledger.validators), list(ledger.accounts)
        assert (ids, keys) == (sorted(set(ids)), sorted(set(keys)))
        for table in state.tables:
            assert set(ledger.get_table(table.epoch).ids) <= set(ledger.validators)
        first = max(0, state.epoch - EPOCHS.unbonding_epochs)
        assert [table.epoch for table in state.tables] == list(range(first, state.epoch + 2))
        assert state.primary
        assert state.fallback
        assert {*state.primary, *state.fallback} <= set(ledger.table.ids)
        assert len({member.public_key for member in state.validators}) == len(state.validators)
        assert max(ledger.validators) < state.next_id

    @precondition(lambda self: hasattr(self, "books"))
    @invariant()
    def enough_stake_may_lead(self) -> None:
        ledger = self.books.ledger
        jailed = {number for number in ledger.barred if ledger.validators[number].status is Status.JAILED}
        tombstoned = ledger.barred - jailed
        if jailed:
            out = sum(ledger.stakes[number] for number in jailed | tombstoned)
            assert 3 * (ledger.total_stake - out) >= 2 * ledger.total_stake

    @precondition(lambda self: hasattr(self, "books"))
    @invariant()
    def the_honest_are_not_punished(self) -> None:
        punished = {change.validator for change in self.books.told if isinstance(change, Jailed | Slashed | Tombstoned)}
        assert HONEST not in punished

    @precondition(lambda self: hasattr(self, "books"))
    @invariant()
    def what_people_are_told_adds_up(self) -> None:
        slashes = [change for change in self.books.told if isinstance(change, Slashed)]
        assert sum(change.burned for change in slashes) == self.books.state.burned
        assert all(change.amount == change.to_reporter + change.to_pool + change.burned for change in slashes)

    def teardown(self) -> None:
        """Whoever replays the same leaves, from states that went through storage, gets the same ledger."""
        if not hasattr(self, "books"):
            return
        ledger, parent = self.genesis
        blocks = EPOCHS.epoch_blocks
        for leaf in self.steps:
            stored = Ledger(msgspec.msgpack.decode(msgspec.msgpack.encode(ledger.state), type=LedgerState))
            if leaf is None:
                ledger = begin_epoch(stored, self.books.parameters)
                continue
            # A roll-over skips to the last height of an epoch; the leaf that follows says by how much.
            last = leaf.height - 1
            if last % blocks == 0 and last > parent.height:
                parent = msgspec.structs.replace(parent, height=last, view=parent.view + last - parent.height)
            ledger, parent = apply_leaf(stored, parent, leaf, self.books.parameters), leaf
        assert ledger.commitment == self.books.ledger.commitment


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
