"""Who watches a simulation: the checkers and the recorder of figures. Watching changes nothing."""

from collections.abc import Callable, Iterable, MutableSequence, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, overload

from consensus.effects import Decide, EnteredView, LedgerChanges, TimedOut
from consensus.epochs import EpochStart
from consensus.evidence import Evidence
from consensus.leaf import Block
from consensus.ledger import Ledger, LedgerChange
from consensus.messages import Message
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId

if TYPE_CHECKING:
    from netsim.process import Process

OnSend: TypeAlias = Callable[[Microseconds, ValidatorId, Message], None]


class Observer:
    """Every hook is called at the moment when the thing happens, in the order in which things happen."""

    heard: ClassVar[frozenset[type] | None] = None
    """Kinds of messages that `on_send` looks at; None: all of them."""

    def on_begin(self, processes: "Sequence[Process]") -> None:
        """The nodes, before any of them has started: for those who look into them on the way."""

    def on_end(self, now: Microseconds, processes: "Sequence[Process]", submitted: int) -> None:
        """The scenario is over, see `netsim.cluster.Cluster.finish`: what can only be said of a whole run."""

    def on_start(self, now: Microseconds, node: ValidatorId, record: SafetyRecord, decided: Sequence[Block]) -> None:
        """A process starts, for the first time or again, from this record and these decided blocks (genesis first).

        A crash between a write and its release leaves blocks on disk that the process has never reported.
        """

    def on_crash(self, now: Microseconds, node: ValidatorId) -> None:
        """A process is gone, with everything that it had not synced."""

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        """A message leaves its node; once for a broadcast. What is signed in it is visible from now on."""

    def on_enter(self, now: Microseconds, node: ValidatorId, entered: EnteredView) -> None:
        """A replica has entered a view."""

    def on_timeout(self, now: Microseconds, node: ValidatorId, timed_out: TimedOut) -> None:
        """A replica has given up on a view."""

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        """A replica has decided blocks."""

    def on_ledger(self, now: Microseconds, node: ValidatorId, ledger: Ledger, changes: LedgerChanges) -> None:
        """Decided leaves have changed the ledger of this node; by height, what is worth telling.

        Also at each start, right after `on_start`: the ledger with which the process begins.
        """

    def on_epoch(
        self, now: Microseconds, node: ValidatorId, start: EpochStart, changes: Sequence[LedgerChange]
    ) -> None:
        """A node has the proof that an epoch is over, durably, and begins the next one."""

    def on_report(self, now: Microseconds, node: ValidatorId, evidence: Evidence) -> None:
        """A replica accuses a validator."""


class Audience(MutableSequence[Observer]):
    """All who watch one simulation, and of the moments that come in every view only those who care.

    There are a dozen oracles and each looks at two or three kinds of moments: calling the others costs more than most
    of them do.
    """

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = list(observers)
        self._find_hooks()

    @classmethod
    def of(cls, observers: Sequence[Observer]) -> "Audience":
        """This very audience, if it is one: whoever joins it later is heard everywhere."""
        return observers if isinstance(observers, cls) else cls(observers)

    def __len__(self) -> int:
        return len(self._observers)

    @overload
    def __getitem__(self, index: int) -> Observer: ...
    @overload
    def __getitem__(self, index: slice) -> list[Observer]: ...
    def __getitem__(self, index: int | slice) -> Observer | list[Observer]:
        return self._observers[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._observers[index] = value
        self._find_hooks()

    def __delitem__(self, index: int | slice) -> None:
        del self._observers[index]
        self._find_hooks()

    def insert(self, index: int, value: Observer) -> None:
        self._observers.insert(index, value)
        self._find_hooks()

    def _find_hooks(self) -> None:
        watching = self._observers
        self.on_send = _ByKind([one for one in watching if type(one).on_send is not Observer.on_send])
        self.on_enter = [one.on_enter for one in watching if type(one).on_enter is not Observer.on_enter]
        self.on_decide = [one.on_decide for one in watching if type(one).on_decide is not Observer.on_decide]


class _ByKind(dict[type, list[OnSend]]):
    """Hooks of those who look at a kind of message, found when the first of that kind is sent."""

    def __init__(self, watching: Sequence[Observer]) -> None:
        super().__init__()
        self._watching = watching

    def __missing__(self, kind: type) -> list[OnSend]:
        hooks: list[OnSend] = [one.on_send for one in self._watching if one.heard is None or kind in one.heard]
        self[kind] = hooks
        return hooks
