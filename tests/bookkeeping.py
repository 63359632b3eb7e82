"""A ledger whose leaves the tests make up: no votes, no certificates, only what the ledger's rules look at.

Validators and stakers hold keys of the simulated scheme, so evidence and operations carry genuine signatures that cost
next to nothing.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from consensus.evidence import BrokenPromise, DoubleVote, Evidence, SignedLeaf, make_pair
from consensus.leaf import BeaconResult, Leaf, make_genesis
from consensus.ledger import (
    Account,
    EpochParameters,
    LeadershipParameters,
    Ledger,
    LedgerChange,
    LedgerParameters,
    LedgerSchedule,
    LedgerState,
    Profile,
    SlashingParameters,
    apply_leaf,
    begin_epoch,
    describe_changes,
    make_genesis_ledger,
)
from consensus.ledger.admission import Admission
from consensus.ledger.changes import Jailed, Released
from consensus.ledger.state import ValidatorState
from consensus.operations import Bond, Operation, RotateKey, Unbond, Unjail, prove_possession, sign_operation
from consensus.promises import Promise, make_promise_statement
from consensus.signatures import Domain, Signer, make_statement
from consensus.signatures.simulated import Simulated
from consensus.stake_table import StakeTable, Validator
from consensus.types import Commitment, Epoch, Height, NetworkId, ValidatorId, View

NETWORK: Final = NetworkId(b"B" * 32)
PATIENT: Final = LeadershipParameters(primary_size=1000, fallback_size=1, bench_after=1000, fallback_after=1000)
"""Nobody is benched and no committee is replaced: every own slot is counted by J1 alone."""
BALANCE: Final = 1_000_000


def make_signer(name: str) -> Signer:
    return Signer(Simulated(), name.encode().ljust(32, b"."))


class Books:
    """Validator n has the key "validator-n" and is owned by the account "owner-n", which has a balance besides."""

    def __init__(
        self,
        stakes: Sequence[int] = (1_000_000,) * 7,
        *,
        leadership: LeadershipParameters = PATIENT,
        slashing: SlashingParameters | None = None,
        epochs: EpochParameters | None = None,
    ) -> None:
        self.parameters = LedgerParameters(leadership, slashing or SlashingParameters(), epochs or EpochParameters())
        self.schedule = LedgerSchedule(leadership)
        self.admission = Admission(NETWORK, Simulated(), self.parameters)
        numbers = [ValidatorId(number) for number in range(len(stakes))]
        table = StakeTable.of(
            Validator(number, make_signer(f"validator-{number}").public_key, stake)
            for number, stake in zip(numbers, stakes, strict=True)
        )
        owners = {number: make_signer(f"owner-{number}").public_key for number in numbers}
        self.ledger = make_genesis_ledger(
            table,
            leadership,
            NETWORK,
            profiles={number: Profile(f"v{number}") for number in numbers},
            owners=owners,
            accounts=[Account(owner, BALANCE) for owner in owners.values()],
        )
        self.leaf = make_genesis(Epoch(0), 0, self.ledger.commitment).leaf
        self.told: list[LedgerChange] = []
        """All changes, in order."""

    @property
    def state(self) -> LedgerState:
        return self.ledger.state

    def validator(self, number: int) -> ValidatorState:
        return self.ledger.validators[ValidatorId(number)]

    def account(self, name: str) -> Account:
        return self.ledger.accounts[make_signer(name).public_key]

    def get_leader(self, view: int) -> ValidatorId:
        return self.schedule.leader(View(view), self.leaf, self.ledger)

    def make_leaf(
        self,
        view: int | None = None,
        *,
        operations: Iterable[Operation] = (),
        evidence: Iterable[Evidence] = (),
        beacon: Commitment | None = None,
        proposer: int | None = None,
    ) -> Leaf:
        """The leaf of this view on top of the newest one; the next view by default."""
        view = self.leaf.view + 1 if view is None else view
        return msgspec.structs.replace(
            self.leaf,
            epoch=self.state.epoch,
            view=View(view),
            height=Height(self.leaf.height + 1),
            proposer=self.get_leader(view) if proposer is None else ValidatorId(proposer),
            operations=tuple(operations),
            evidence=tuple(evidence),
            beacon=None if beacon is None else BeaconResult((beacon,)),
        )

    def append(self, leaf: Leaf) -> Ledger:
        after = apply_leaf(self.ledger, self.leaf, leaf, self.parameters)
        self.told += describe_changes(self.ledger, after, leaf.view - self.leaf.view - 1)
        self.ledger, self.leaf = after, leaf
        return after

    def lead(self, leaves: int = 1, dead: Collection[int] = ()) -> None:
        """So many leaves; views whose leader is dead are skipped."""
        for _ in range(leaves):
            view = self.leaf.view + 1
            while self.get_leader(view) in dead:
                view += 1
            self.append(self.make_leaf(view))

    def lead_until_jailed(self, number: int) -> None:
        """The others lead until this one is charged: jailed, or released instead (J2)."""
        before = len(self.told)
        while not any(
            isinstance(change, Jailed | Released) and change.validator == number for change in self.told[before:]
        ):
            self.lead(dead={number})

    def include(self, *items: Operation | Evidence, proposer: int | None = None) -> None:
        """One leaf with these operations and this evidence."""
        operations = [item for item in items if isinstance(item, Operation)]
        evidence = [item for item in items if not isinstance(item, Operation)]
        self.append(self.make_leaf(operations=operations, evidence=evidence, proposer=proposer))

    def roll_over(self, epochs: int = 1) -> None:
        """To the beginning of a later epoch, as if all its leaves had been healthy."""
        for _ in range(epochs):
            blocks = self.parameters.epochs.epoch_blocks
            height = Height((self.state.epoch + 1) * blocks)
            view = View(self.leaf.view + height - self.leaf.height)
            self.leaf = msgspec.structs.replace(self.leaf, epoch=self.state.epoch, height=height, view=view)
            after = begin_epoch(self.ledger, self.parameters)
            self.told += describe_changes(self.ledger, after, 0)
            self.ledger = after

    # What stakers sign

    def sign(self, account: str, operation: Operation) -> Operation:
        return sign_operation(operation, make_signer(account), NETWORK)

    def bond(self, account: str, validator: str, amount: int, *, name: str = "", nonce: int | None = None) -> Operation:
        """Bonds to the validator that holds this key; `name` defaults to the key's."""
        signer, key = make_signer(account), make_signer(validator)
        possession = prove_possession(signer.public_key, key, NETWORK)
        bond = Bond(
            signer.public_key,
            self._next(account, nonce),
            b"",
            key.public_key,
            amount,
            name or validator,
            "127.0.0.1:1",
            possession,
        )
        return sign_operation(bond, signer, NETWORK)

    def unbond(self, account: str, validator: int, amount: int, *, nonce: int | None = None) -> Operation:
        signer = make_signer(account)
        unbond = Unbond(signer.public_key, self._next(account, nonce), b"", ValidatorId(validator), amount)
        return sign_operation(unbond, signer, NETWORK)

    def unjail(self, account: str, validator: int, *, nonce: int | None = None) -> Operation:
        signer = make_signer(account)
        unjail = Unjail(signer.public_key, self._next(account, nonce), b"", ValidatorId(validator))
        return sign_operation(unjail, signer, NETWORK)

    def rotate_key(self, account: str, validator: int, key: str, *, nonce: int | None = None) -> Operation:
        signer, new = make_signer(account), make_signer(key)
        possession = prove_possession(signer.public_key, new, NETWORK)
        nonce = self._next(account, nonce)
        rotation = RotateKey(signer.public_key, nonce, b"", ValidatorId(validator), new.public_key, possession)
        return sign_operation(rotation, signer, NETWORK)

    # What offenders sign

    def double_vote(self, number: int, epoch: int | None = None, *, key: str | None = None) -> Evidence:
        """E2, by the key that the validator began with unless another is named."""
        signer = make_signer(key or f"validator-{number}")
        when = self.state.epoch if epoch is None else Epoch(epoch)
        halves = []
        for name in (b"a", b"b"):
            leaf = Commitment(name * 32)
            halves.append(
                SignedLeaf(leaf, signer.sign(make_statement(NETWORK, Domain.QUORUM_VOTE, when, View(1), leaf)))
            )
        return make_pair(DoubleVote, ValidatorId(number), when, View(1), *halves)

    def broken_promise(self, number: int, beneficiary: bytes) -> Evidence:
        draft = Promise(
            ValidatorId(number), self.state.epoch, View(1), View(2), Commitment(b"t" * 32), beneficiary, b""
        )
        signature = make_signer(f"validator-{number}").sign(make_promise_statement(draft, NETWORK))
        return BrokenPromise(msgspec.structs.replace(draft, signature=signature), Height(1))

    def _next(self, account: str, nonce: int | None) -> int:
        if nonce is not None:
            return nonce
        known = self.ledger.accounts.get(make_signer(account).public_key)
        return known.nonce if known else 0
