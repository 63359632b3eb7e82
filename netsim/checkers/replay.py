"""R8: what is on a node's disk is the node. Whoever starts from it is where the one was that wrote it.

Three looks: at each start, whether the record holds all that others have seen signed; at the end, whether a fresh
`Member` made from the disk stands where the running one stands; and whether the decided leaves, applied one by one to
the network's first ledger, lead to the ledger that is stored.
"""

from collections.abc import Container, Sequence
from itertools import pairwise

from consensus.context import EpochContext
from consensus.docket import Docket
from consensus.leaf import Block
from consensus.ledger import Ledger, LedgerSchedule, apply_leaf, begin_epoch
from consensus.ledger.admission import Admission
from consensus.member import Credentials, Member
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, TimeoutVote
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId
from netsim.checkers.commitments import compute_commitment, compute_ledger_commitment
from netsim.checkers.violation import Violation
from netsim.disk import DiskFailure
from netsim.observer import Observer
from netsim.process import Process

_FIELDS: dict[type[Message], str] = {
    QuorumVote: "voted_view",
    FinalizeVote: "finalized_view",
    TimeoutVote: "timed_out_view",
    QuorumProposal: "proposed_view",
}
"""Where the record remembers each kind of statement."""


class Replay(Observer):
    def __init__(self, context: EpochContext, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self._context = context
        self._signed: dict[tuple[ValidatorId, str], tuple[int, int]] = {}
        """The highest (epoch, view) in which others have seen a statement of each kind."""
        self.replays = 0

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        field = _FIELDS.get(type(message))
        if field is None:
            return
        said = message.leaf if isinstance(message, QuorumProposal) else message
        view = (said.epoch, said.view)  # type: ignore[union-attr]
        key = (node, field)
        if view > self._signed.get(key, (0, 0)):
            self._signed[key] = view

    def on_start(self, now: Microseconds, node: ValidatorId, record: SafetyRecord, decided: Sequence[Block]) -> None:
        if node in self._byzantine:
            return
        for field in _FIELDS.values():
            signed, kept = self._signed.get((node, field), (0, 0)), (int(record.epoch), int(getattr(record, field)))
            if kept < signed:
                raise Violation("R8", f"node {node} starts with {field} {kept}, others have seen {signed}")

    def on_end(self, now: Microseconds, processes: Sequence[Process], submitted: int) -> None:
        honest = [process for process in processes if process.id not in self._byzantine]
        for process in honest:
            if process.is_alive:
                self._start_again(process)
        whole = [process for process in honest if process.disk.decided[0].leaf.height == 0]
        if whole:
            self._apply_again(max(whole, key=lambda process: len(process.disk.decided)))

    def _start_again(self, process: Process) -> None:
        """Everything written counts, synced or not: it is what the running node has done by now.

        Of a disk that cannot be read nobody starts, which is right.
        """
        try:
            found = process.disk.load()
        except DiskFailure:
            return
        context, live = self._context, process.member
        admission = Admission(context.network_id, context.scheme, context.ledger_parameters)
        credentials = Credentials(process.id, tuple(process.signers))
        schedule = LedgerSchedule(context.ledger_parameters.leadership)
        fresh = Member(context, credentials, schedule, Docket(admission), found)
        self.replays += 1
        restored, running = _describe(fresh), _describe(live)
        for what in running:
            if restored[what] != running[what]:
                raise Violation(
                    "R8", f"node {process.id}, started from its disk: {what} {restored[what]!r}, not {running[what]!r}"
                )
        high_qc, known = fresh.replica.high_qc, live.replica.high_qc
        # One that comes late, beside a TC, is kept in memory: nothing is signed on it before it is written.
        if high_qc != known and high_qc.view >= known.view:
            raise Violation("R8", f"node {process.id}, started from its disk, has another high_qc in view {known.view}")

    def _apply_again(self, process: Process) -> None:
        stored = process.disk.take_image().ledger
        ledger = _replay(self._context, process.disk.decided)
        if stored is None or process.disk.record.epoch != ledger.epoch:
            stored = self._context.genesis_ledger
        if compute_ledger_commitment(ledger.state) != compute_ledger_commitment(stored.state):
            raise Violation("R8", f"node {process.id} stores another ledger than its leaves lead to")


def _describe(member: Member) -> dict[str, object]:
    replica = member.replica
    record = replica._safety.record
    fields: dict[str, object] = {name: getattr(record, name) for name in record.__struct_fields__ if name != "high_qc"}
    return fields | {
        "view": replica.view,
        "tip": compute_commitment(replica.tip.leaf),
        "ledger": compute_ledger_commitment(member.ledger.state),
    }


def _replay(context: EpochContext, chain: Sequence[Block]) -> Ledger:
    ledger, parameters = context.genesis_ledger, context.ledger_parameters
    for parent, block in pairwise(chain):
        ledger = apply_leaf(ledger, parent.leaf, block.leaf, parameters)
        if block.leaf.height % parameters.epochs.epoch_blocks == 0:
            ledger = begin_epoch(ledger, parameters)
    return ledger
