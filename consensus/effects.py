"""What a replica wants done, as values; and `batch`, which turns one turn's wishes into one write and what may follow
it.

Durability is data (R8): a message that depends on the safety record stands in the `then` of the `Persist` that carries
the record, so no runtime can send it early without going out of its way.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from consensus.certificates import FinalityCertificate
from consensus.epochs import EpochStart
from consensus.events import Timer
from consensus.evidence import Evidence
from consensus.leaf import Block
from consensus.ledger import Ledger, LedgerChange
from consensus.messages import Message
from consensus.safety import SafetyRecord
from consensus.types import Commitment, Epoch, Height, Microseconds, ValidatorId, View


class Send(msgspec.Struct, frozen=True, gc=False):
    to: ValidatorId
    message: Message


class Broadcast(msgspec.Struct, frozen=True, gc=False):
    """To every other validator of the stake table. The replica has handled its own copy already."""

    message: Message


class Persist(msgspec.Struct, frozen=True, gc=False):
    """Make the record and the blocks durable, then release `then` (R8)."""

    record: SafetyRecord
    blocks: tuple[Block, ...] = ()
    then: tuple[Send | Broadcast, ...] = ()


class SetTimer(msgspec.Struct, frozen=True, gc=False):
    """Fire once at `deadline`; replaces an earlier one of the same timer."""

    timer: Timer
    deadline: Microseconds


class BuildPayload(msgspec.Struct, frozen=True, gc=False):
    """This replica leads `view`: answer with `PayloadBuilt`, at once when there are transactions, else at `deadline`
    (L6).

    `ancestors` are the undecided blocks that the proposal will extend, oldest first: what stands in them must not
    stand in the payload again.
    """

    view: View
    parent: Commitment
    ancestors: tuple[Block, ...]
    bytes_max: int
    deadline: Microseconds
    is_closing: bool = False
    """The leaf will only close its epoch (T2): it carries nothing, and is never decided."""


class CheckPayload(msgspec.Struct, frozen=True, gc=False):
    """Ask the application whether it accepts the payload of `block` on top of `ancestors`; answer with `PayloadReady`
    (R3b).
    """

    block: Block
    ancestors: tuple[Block, ...]


class ComputeBeacon(msgspec.Struct, frozen=True, gc=False):
    """T4: compute this epoch's beacon off the consensus path, and answer with `BeaconComputed`."""

    epoch: Epoch
    origin: Commitment


class SendEpochEnd(msgspec.Struct, frozen=True, gc=False):
    """T2: somebody still speaks in an epoch that is over; send it the proof of that from storage."""

    to: ValidatorId
    epoch: Epoch


class Decide(msgspec.Struct, frozen=True, gc=False):
    """These blocks are final: consecutive, oldest first, each reported once (R6).

    `fc` certifies the last of them, or in catch-up a descendant of it.
    """

    blocks: tuple[Block, ...]
    fc: FinalityCertificate


LedgerChanges: TypeAlias = tuple[tuple[Height, tuple[LedgerChange, ...]], ...]


class LedgerAdvanced(msgspec.Struct, frozen=True, gc=False):
    """Decided leaves have changed the ledger: `ledger` is to be stored with them, `changes` are for people.

    `changes` has an entry per leaf that benched or cleared somebody, or moved the lead.
    """

    ledger: Ledger
    changes: LedgerChanges


class BeginEpoch(msgspec.Struct, frozen=True, gc=False):
    """T2: an epoch is over and proven to be; this is what the next one begins with.

    To be stored in the same write as the new record that stands beside it: nothing of the new epoch is signed before.
    """

    start: EpochStart
    changes: tuple[LedgerChange, ...]
    """What the roll-over changed in the ledger."""


class EnteredView(msgspec.Struct, frozen=True, gc=False):
    """For logs, metrics and the mempool's forwarding. `timed_out` tells whether the view before ended by a TC."""

    view: View
    leader: ValidatorId | None
    """None while the block that the next proposal extends has not arrived."""
    timed_out: bool


class TimedOut(msgspec.Struct, frozen=True, gc=False):
    """This replica has stopped voting in `view`: its timer fired, others timed out, or the leader's connection is
    gone.
    """

    view: View
    cause: str


class Report(msgspec.Struct, frozen=True, gc=False):
    """Proof of an offence (E1 to E3)."""

    evidence: Evidence


class Drop(msgspec.Struct, frozen=True, gc=False):
    """A message was valid by itself but not here: it changed nothing. `reason` is a short stable label."""

    sender: ValidatorId
    reason: str
    detail: str


Effect: TypeAlias = (
    Send
    | Broadcast
    | Persist
    | SetTimer
    | BuildPayload
    | CheckPayload
    | ComputeBeacon
    | SendEpochEnd
    | Decide
    | LedgerAdvanced
    | BeginEpoch
    | EnteredView
    | TimedOut
    | Report
    | Drop
)


class Batch(msgspec.Struct, frozen=True, gc=False):
    """One turn: write all of this in one transaction and sync it, then release in order."""

    record: SafetyRecord | None
    blocks: tuple[Block, ...]
    decides: tuple[Decide, ...]
    release: tuple[Effect, ...]
    ledger: Ledger | None = None
    """After the last decided block, when that differs from what was written before."""
    epochs: tuple[EpochStart, ...] = ()
    """Those that begin with this turn, in order: whoever catches up may leave several behind at once."""

    @property
    def must_sync(self) -> bool:
        """Whether anything in `release` depends on the write. Decided blocks alone can be fetched again."""
        return self.record is not None


_WRITTEN: Final = frozenset((Persist, Decide, LedgerAdvanced, BeginEpoch))
"""Effects that say something about the write."""


def batch(effects: Iterable[Effect]) -> Batch:
    """Effects of one turn -> one write, and what may happen after it. The order of the effects is kept.

    Of several records only the last is written: each contains all that the earlier ones said.
    """
    record: SafetyRecord | None = None
    blocks: dict[Commitment, Block] = {}
    decides: list[Decide] = []
    ledger: Ledger | None = None
    epochs: list[EpochStart] = []
    release: list[Effect] = []
    for effect in effects:
        if type(effect) not in _WRITTEN:
            release.append(effect)
            continue
        if isinstance(effect, Persist):
            record = effect.record
            for block in effect.blocks:
                blocks[block.commitment] = block
            release += effect.then
            continue
        if isinstance(effect, Decide):
            decides.append(effect)
        elif isinstance(effect, LedgerAdvanced):
            ledger = effect.ledger
        elif isinstance(effect, BeginEpoch):
            epochs.append(effect.start)
            ledger = effect.start.ledger
        release.append(effect)
    return Batch(record, tuple(blocks.values()), tuple(decides), tuple(release), ledger, tuple(epochs))
