"""One simulated node: the production replica, its disk, its timers and its mempool.

A turn is what the node does too: events -> effects -> one write, a sync when something depends on it, and only then the
release (R8). While a sync is under way events wait in the inbox and become the next turn together.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, assert_never

from consensus.beacon import compute_beacon
from consensus.catchup import answer
from consensus.context import EpochContext
from consensus.docket import Docket
from consensus.effects import (
    Batch,
    BeginEpoch,
    Broadcast,
    BuildPayload,
    CheckPayload,
    ComputeBeacon,
    Decide,
    Drop,
    Effect,
    EnteredView,
    LedgerAdvanced,
    Persist,
    Report,
    Send,
    SendEpochEnd,
    SetTimer,
    TimedOut,
    batch,
)
from consensus.errors import InvariantViolation
from consensus.events import (
    BeaconComputed,
    Event,
    OperationSubmitted,
    PayloadBuilt,
    PayloadReady,
    Started,
    TimerFired,
    TransactionsWaiting,
)
from consensus.leaf import BeaconResult
from consensus.ledger import EpochParameters
from consensus.ledger.admission import Admission
from consensus.member import Credentials, Member, ValidatorMaker
from consensus.messages import EpochEnd
from consensus.operations import Operation
from consensus.replica import Replica
from consensus.schedule import LeaderSchedule
from consensus.signatures import Signer
from consensus.types import Commitment, Epoch, Height, ValidatorId, View
from netsim.clock import Timers
from netsim.disk import Disk, DiskFailure, Loss
from netsim.observer import Audience, Observer
from netsim.simulation import Simulation, make_tag
from netsim.wire import Arrival, Refused, Request, Wire
from netsim.workload import Pool, Workload

KIND_SYNCED = 4
KIND_LOCAL = 5
KIND_BUILD = 6
KIND_PRESS = 7

LEAF_MICROSECONDS = 1000
"""What the leaf of the next view takes, when the same leader makes it at the same moment. Nothing else here takes time:
without it a validator that is a quorum by itself would make a chain without end in an instant."""


@dataclass(frozen=True)
class World:
    """What all processes of one simulation share."""

    simulation: Simulation
    context: EpochContext
    """Of the first epoch."""
    schedule: LeaderSchedule
    wire: Wire
    workload: Workload
    observers: Sequence[Observer]
    lost_connections_seen: bool


class Saboteur(Protocol):
    """Ends a process in the middle of a turn; asked in every one."""

    @property
    def loss(self) -> Loss:
        """What the end does to the turns that were not synced."""
        ...

    def ends_before_write(self, turn: Batch) -> bool: ...
    def ends_before_sync(self, turn: Batch) -> bool:
        """The turn is written."""
        ...


class Process:
    """A node that can crash, start again from its disk, and freeze."""

    def __init__(
        self, world: World, validator_id: ValidatorId, signer: Signer, make_validator: ValidatorMaker, disk: Disk
    ) -> None:
        self._world = world
        self._simulation = world.simulation
        self._audience = Audience.of(world.observers)
        self.id = validator_id
        self.signers = [signer]
        """Every key that this validator holds."""
        self._make_validator = make_validator
        self.disk = disk
        self._member: Member | None = None
        self._pool = Pool(world.workload, ())
        self.oldest_pending = 0
        """Number of the oldest transaction that this node has not told to be decided; of a dead one, when it died."""
        self._inbox: deque[Event | Request] = deque()
        self._is_blocked = False
        self._is_syncing = False
        self.is_paused = False
        self._written: Batch | None = None
        self._timers = Timers(world.simulation, validator_id, lambda timer: self._handle(TimerFired(timer)))
        self._incarnation = 0
        self._building: BuildPayload | None = None
        self._built = (-1, View(0))
        """When the last payload was ready, and of which view it was."""
        self._pressed_view: View | None = None
        self._is_press_due = False
        self.turn_microseconds = 0
        """What every turn takes, besides its sync."""
        self.slow_turns = 0
        self.restarts_with_journal = 0
        """Starts after an end that left something written and not synced."""
        self.saboteur: Saboteur | None = None
        self.drops: dict[str, int] = {}
        """Messages that changed nothing, by reason."""

    def __repr__(self) -> str:
        state = "down" if self._member is None else "paused" if self.is_paused else f"view {self.view}"
        return f"node {self.id} ({state}, height {self.height})"

    @property
    def is_alive(self) -> bool:
        """Paused counts as alive: its connections stay up."""
        return self._member is not None

    @property
    def epoch(self) -> Epoch:
        """Epoch of the running node; of a dead one the epoch that its disk knows."""
        return self.disk.record.epoch if self._member is None else self._member.epoch

    @property
    def view(self) -> View:
        """View of the running replica; of a dead one the view that its disk knows."""
        return View(self.disk.record.entry.view + 1) if self._member is None else self._member.replica.view

    @property
    def leader(self) -> ValidatorId | None:
        """Who leads this node's view, as far as it knows."""
        return None if self._member is None else self._member.replica.leader

    @property
    def height(self) -> Height:
        """Height of the last decided block that this node has written."""
        return Height(len(self.disk.decided) - 1)

    @property
    def replica(self) -> Replica:
        """The running replica. Raises `InvariantViolation` when the process is down."""
        return self.member.replica

    @property
    def member(self) -> Member:
        """The running node's part in the protocol. Raises `InvariantViolation` when the process is down."""
        if self._member is None:
            raise InvariantViolation(f"node {self.id} is down, it takes no part")
        return self._member

    def start(self) -> None:
        """Start, or start again, from what the disk holds. With a disk that cannot be read it stays down."""
        if self._member is not None:
            raise InvariantViolation(f"node {self.id} is running already; crash it first")
        try:
            found = self.disk.load()
        except DiskFailure:
            return  # it refuses to start
        self.restarts_with_journal += self.disk.has_lost_sync
        context = self._world.context
        admission = Admission(context.network_id, context.scheme, context.ledger_parameters)
        self._member = Member(
            context,
            Credentials(self.id, tuple(self.signers)),
            self._world.schedule,
            Docket(admission),
            found,
            make_validator=self._make_validator,
        )
        self._world.wire.begin_epoch(self._member.context)
        self._pool = Pool(self._world.workload, self.disk.decided)
        self.oldest_pending = self._pool.oldest
        for observer in self._world.observers:
            if found.epoch is not None:  # its process may have died between the write and telling anybody
                observer.on_epoch(self._simulation.now, self.id, found.epoch, ())
            observer.on_start(self._simulation.now, self.id, found.record, self.disk.decided)
            observer.on_ledger(self._simulation.now, self.id, self._member.ledger, ())
        self._simulation.changed = True
        self._take_turn([Started()])

    def crash(self, loss: Loss = Loss.PREFIX) -> None:
        """Die at once: memory is gone, unsynced writes may be, and the peers' connections break."""
        if self._member is None:
            raise InvariantViolation(f"node {self.id} is down already; restart it first")
        self._member = None
        self._incarnation += 1
        self._inbox.clear()
        self._timers.on_crash()
        self._building = self._written = self._pressed_view = None
        self._is_press_due = False
        self._is_blocked = self._is_syncing = self.is_paused = False
        self.disk.crash(loss)
        self._simulation.changed = True
        for observer in self._world.observers:
            observer.on_crash(self._simulation.now, self.id)
        if self._world.lost_connections_seen:
            self._world.wire.break_connections(self.id)

    restart = start

    def pause(self) -> None:
        """Freeze (SIGSTOP): nothing is handled and nothing leaves, while connections stay up and messages queue."""
        if self._member is None:
            raise InvariantViolation(f"node {self.id} is down, only a running process can freeze")
        self.is_paused = self._is_blocked = True

    def resume(self) -> None:
        """Thaw: what has queued is handled as one turn."""
        self.is_paused = False
        self._is_blocked = self._is_syncing
        if not self._is_syncing:
            self._release_written()
            self._drain()
        self.on_submit()

    @property
    def wrong_times(self) -> int:
        """How often it has read a wrong time from its clock."""
        return 0 if self._timers.clock is None else self._timers.clock.wrong_times

    def set_clock(self, skew_microseconds: int = 0, drift: float = 1.0) -> None:
        """This node's clock is off from now on, see `netsim.clock`; without arguments it is right again."""
        self._timers.set_clock(skew_microseconds, drift)
        if self._building is not None and not self.is_paused:
            self._build(self._building)

    def on_submit(self) -> None:
        """Transactions have arrived: a leader that waits for some need not wait longer, nor need others (L6)."""
        if self._building is not None and not self.is_paused:
            self._build(self._building)
        if self._member is not None and not self._is_blocked:
            self._commit([])

    def submit_operation(self, operation: Operation) -> str | None:
        """A staker's operation comes in at this node: None when it is taken, else why not."""
        flaw = self.member.find_operation_flaw(operation)
        if flaw is None:
            self._handle(OperationSubmitted(operation))
        return flaw

    def receive(self, arrival: Arrival) -> None:
        """From the wire."""
        member = self._member
        if member is None:
            return
        if isinstance(arrival, Refused):
            self.drops[arrival.reason] = self.drops.get(arrival.reason, 0) + 1
        elif self._is_blocked:
            self._inbox.append(arrival)
        elif isinstance(arrival, Request):
            self._serve(arrival)
        else:
            now, clock = self._simulation.now, self._timers.clock
            effects = member.handle(arrival, now if clock is None else clock.read(now))
            if effects or self._pressed_view != member.replica.view or self.turn_microseconds:  # else: a vote counted
                self._commit(effects)

    def _take_turn(self, events: Sequence[Event]) -> None:
        effects: list[Effect] = []
        now = self._timers.read_clock()
        for event in events:
            effects += self.member.handle(event, now)
        self._commit(effects)

    def _press(self) -> list[Effect]:
        """L6: tell the replica that an honest leader has something to propose; once per view is enough."""
        replica, now = self.replica, self._simulation.now
        if self._pool.has_besides(replica.chain.blocks, now):
            self._pressed_view = replica.view
            return self.member.handle(TransactionsWaiting(), self._timers.read_clock())
        arrival = self._world.workload.next_arrival(now)
        if arrival is not None and not self._is_press_due:
            self._is_press_due = True
            self._simulation.schedule(arrival, self._on_press, self._incarnation, make_tag(KIND_PRESS, self.id))
        return []

    def _on_press(self, incarnation: int) -> None:
        if incarnation != self._incarnation:
            return
        self._is_press_due = False
        if not self._is_blocked:  # else it is looked at again when the inbox is
            self._commit([])

    def _commit(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Decide):  # known to the pool at once, although nobody is told before the write
                self._pool.on_decide(effect.blocks)
        if self._pressed_view != self.view:
            effects += self._press()
        if not effects and not self.turn_microseconds:
            return
        self._simulation.changed = True
        turn = batch(effects)
        saboteur = self.saboteur
        if saboteur is not None and saboteur.ends_before_write(turn):
            self.crash(saboteur.loss)
            return
        if turn.record is not None or turn.blocks or turn.decides:
            self.disk.append(turn)
        if saboteur is not None and saboteur.ends_before_sync(turn):
            self.crash(saboteur.loss)
            return
        latency = self.turn_microseconds
        if latency:
            self.slow_turns += 1
        must_sync = turn.must_sync
        if must_sync:
            latency += self.disk.sample_sync_latency()
        if latency:
            self._is_blocked = self._is_syncing = True
            self._written = turn
            at = self._simulation.now + latency
            self._simulation.schedule(at, self._on_synced, self._incarnation, make_tag(KIND_SYNCED, self.id))
            return
        if must_sync:
            self.disk.sync()
        self._release(turn.release)

    def _on_synced(self, incarnation: int) -> None:
        if incarnation != self._incarnation:
            return
        if self._written is not None and self._written.must_sync:
            self.disk.sync()
        self._is_syncing = False
        self._is_blocked = self.is_paused
        if not self.is_paused:
            self._release_written()
            self._drain()

    def _release_written(self) -> None:
        turn, self._written = self._written, None
        if turn is not None:
            self._release(turn.release)

    def _drain(self) -> None:
        """Everything that has queued becomes one turn."""
        events: list[Event] = []
        while self._inbox:
            item = self._inbox.popleft()
            if isinstance(item, Request):
                self._serve(item)
            else:
                events.append(item)
        if not self._is_blocked and self._member is not None:
            self._take_turn(events)

    def _serve(self, request: Request) -> None:
        try:
            response = answer(request.message, self.disk)
        except DiskFailure:
            self.crash()
            return
        if response is not None:
            self._world.wire.send(self.id, request.sender, response)

    # Releasing effects

    def _release(self, effects: Sequence[Effect]) -> None:  # noqa: C901 - one flat match over all effects
        now, observers = self._simulation.now, self._world.observers
        for effect in effects:
            match effect:
                case Broadcast():  # what every view has comes first, without captures: they cost more than the match
                    self._world.wire.broadcast(self.id, effect.message)
                case SetTimer():
                    self._timers.set(effect.timer, effect.deadline)
                case Decide():
                    self._on_decide(effect)
                case EnteredView():
                    self._building = None
                    for on_enter in self._audience.on_enter:
                        on_enter(now, self.id, effect)
                case CheckPayload():
                    accepted = self._pool.accepts(effect.block, effect.ancestors)
                    self._answer(PayloadReady(effect.block.commitment, accepted))
                case BuildPayload():
                    self._build(effect)
                case Send(to, message):
                    self._world.wire.send(self.id, to, message)
                case LedgerAdvanced(ledger, changes):
                    for observer in observers:
                        observer.on_ledger(now, self.id, ledger, changes)
                case BeginEpoch(start, changes):
                    self._building = None
                    self._world.wire.begin_epoch(self.member.context)
                    for observer in observers:
                        observer.on_epoch(now, self.id, start, changes)
                case ComputeBeacon(epoch, origin):
                    result = _compute_beacon(origin, self._world.context.ledger_parameters.epochs)
                    self._answer(BeaconComputed(epoch, result))
                case SendEpochEnd(to, epoch):
                    proof = self.disk.read_epoch_proof(epoch)
                    if proof is not None:
                        self._world.wire.send(self.id, to, EpochEnd(epoch, proof))
                case TimedOut():
                    for observer in observers:
                        observer.on_timeout(now, self.id, effect)
                case Report(evidence):
                    for observer in observers:
                        observer.on_report(now, self.id, evidence)
                case Drop(reason=reason):
                    self.drops[reason] = self.drops.get(reason, 0) + 1
                case Persist():
                    raise InvariantViolation("a batch has left a Persist among what it releases")
                case _:
                    assert_never(effect)

    def _on_decide(self, decide: Decide) -> None:
        self.oldest_pending = self._pool.oldest
        for block in decide.blocks:
            self._simulation.note(block.commitment)
        for on_decide in self._audience.on_decide:
            on_decide(self._simulation.now, self.id, decide)

    def _build(self, request: BuildPayload) -> None:
        """L6: at once when there are transactions, else when the next one arrives or the deadline has come."""
        now = self._simulation.now
        payload = self._pool.build(request.ancestors, request.bytes_max, now)
        if payload or self._timers.read_clock() >= request.deadline or request.bytes_max == 0:
            self._building = None
            at, view = self._built
            takes = LEAF_MICROSECONDS if now == at and request.view > view else 0
            self._built = (now + takes, request.view)
            self._answer(PayloadBuilt(request.view, request.parent, payload), takes)
            return
        self._building = request
        arrival = self._world.workload.next_arrival(now)
        moments = [at for at in (arrival, self._timers.compute_true_time(request.deadline)) if at is not None]
        if moments:
            self._simulation.schedule(min(moments), self._on_build, request, make_tag(KIND_BUILD, self.id))

    def _on_build(self, request: BuildPayload) -> None:
        if self._building is request and not self.is_paused:
            self._build(request)

    def _answer(self, event: Event, takes: int = 0) -> None:
        """The application answers at once, but as an event of its own: a turn is never entered from within another."""
        at, argument = self._simulation.now + takes, (self._incarnation, event)
        self._simulation.schedule(at, self._on_answer, argument, make_tag(KIND_LOCAL, self.id))

    def _on_answer(self, argument: tuple[int, Event]) -> None:
        incarnation, event = argument
        if incarnation == self._incarnation:
            self._handle(event)

    def _handle(self, event: Event) -> None:
        if self._is_blocked:
            self._inbox.append(event)
        else:
            self._take_turn([event])


@lru_cache(maxsize=64)
def _compute_beacon(origin: Commitment, parameters: EpochParameters) -> BeaconResult:
    """Every node of a simulation computes the same one."""
    return compute_beacon(origin, parameters)
