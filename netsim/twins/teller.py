"""What one node of a scenario does, in lines that can be read; for whoever replays one."""

from collections.abc import Callable, Sequence

from consensus.effects import Decide, EnteredView, TimedOut
from consensus.evidence import Evidence, get_rule
from consensus.leaf import Block, compute_leaf_commitment
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, TimeoutVote
from consensus.safety import SafetyRecord
from consensus.types import Microseconds, ValidatorId
from netsim.observer import Observer


class Teller(Observer):
    """Watches the node that is called `name`, and no other: the two nodes of a twin have one id and two tellers."""

    def __init__(self, name: str, tell: Callable[[str], None]) -> None:
        self._name = name
        self._tell = tell
        self._start: int | None = None

    def on_start(self, now: Microseconds, node: ValidatorId, record: SafetyRecord, decided: Sequence[Block]) -> None:
        self._start = now

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        match message:
            case QuorumProposal(leaf=leaf):
                on_top = f"on top of view {leaf.justify_qc.view} {leaf.parent.hex()[:8]}"
                self._say(now, f"proposes {compute_leaf_commitment(leaf).hex()[:8]} in view {leaf.view}, {on_top}")
            case QuorumVote(view=view, leaf=commitment):
                self._say(now, f"votes for {commitment.hex()[:8]} in view {view}")
            case FinalizeVote(view=view, leaf=commitment):
                self._say(now, f"finalizes {commitment.hex()[:8]} in view {view}")
            case TimeoutVote(view=view, high_qc_view=high):
                self._say(now, f"signs a timeout of view {view} with a high_qc of view {high}")
            case _:
                pass

    def on_enter(self, now: Microseconds, node: ValidatorId, entered: EnteredView) -> None:
        how = "a timeout" if entered.timed_out else "a quorum"
        self._say(now, f"enters view {entered.view} by {how}")

    def on_timeout(self, now: Microseconds, node: ValidatorId, timed_out: TimedOut) -> None:
        self._say(now, f"gives up on view {timed_out.view}: {timed_out.cause}")

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        blocks = ", ".join(f"{block.commitment.hex()[:8]} at height {block.leaf.height}" for block in decide.blocks)
        self._say(now, f"decides {blocks}")

    def on_report(self, now: Microseconds, node: ValidatorId, evidence: Evidence) -> None:
        self._say(now, f"proves {get_rule(evidence)} against validator {evidence.offender}")

    def _say(self, now: Microseconds, what: str) -> None:
        elapsed_ms = (now - (self._start or now)) / 1000
        self._tell(f"{elapsed_ms:9.3f} ms  {self._name:2} {what}")
