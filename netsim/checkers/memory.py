"""L4: nothing that a peer sends makes memory grow without bound.

Read-only looks into a running node, now and then and at the end: what it keeps, buffer by buffer, against the bound
that the rule names or that follows from it. Most are in validators and in views; what is undecided may grow with the
views that pass without a decide, and with nothing else.
"""

from collections import Counter
from collections.abc import Container, Iterator, Sequence

from consensus.certificates import VERIFIED_CERTIFICATES_MAX
from consensus.docket import ACCOUNT_OPERATIONS_MAX, OPERATIONS_PENDING_MAX
from consensus.effects import EnteredView
from consensus.fetch import ORPHANS_MAX, WANTED_MAX
from consensus.proposals import UNDECIDED_BYTES_JUDGED_MAX
from consensus.types import Microseconds, ValidatorId
from consensus.watch import CERTIFICATES_MAX, OLD_FINALIZES_MAX, THINNING_VIEWS
from netsim.checkers.violation import Violation
from netsim.observer import Observer
from netsim.process import Process

VIEWS_BETWEEN_LOOKS = 61
"""Views that are entered, by anybody, between two looks at whoever enters the next: no multiple of common sizes."""


class MemoryBudget(Observer):
    def __init__(self, byzantine: Container[ValidatorId] = ()) -> None:
        self._byzantine = byzantine
        self._processes: Sequence[Process] = ()
        self._entered = 0
        self.looks = 0

    def on_begin(self, processes: Sequence[Process]) -> None:
        self._processes = processes

    def on_enter(self, now: Microseconds, node: ValidatorId, entered: EnteredView) -> None:
        self._entered += 1
        if self._entered % VIEWS_BETWEEN_LOOKS == 0 and self._processes:
            self._check(self._processes[node])

    def on_end(self, now: Microseconds, processes: Sequence[Process], submitted: int) -> None:
        for process in processes:
            self._check(process)

    def _check(self, process: Process) -> None:
        if process.id in self._byzantine or not process.is_alive:
            return
        self.looks += 1
        for name, size, bound in _measure(process, peers=len(self._processes)):
            if size > bound:
                raise Violation("L4", f"node {process.id} keeps {size} {name}, the bound is {bound}")


def _measure(process: Process, *, peers: int) -> Iterator[tuple[str, int, int]]:
    """What is kept, how much of it, and how much may be."""
    member, replica = process.member, process.replica
    context = member.context
    validators, window = len(context.stake_table), context.parameters.view_window
    undecided_views = int(replica.view) - int(replica.tip.leaf.view)
    views = 2 * window + 1  # from one window back to one ahead
    certified_views = max(window, undecided_views) + 1

    certifier, proposals, fetcher = replica._certifier, replica._proposals, replica._fetcher
    yield "quorum votes", len(certifier._votes), validators * views
    yield "finalize votes", len(certifier._finalizes), validators * views
    yield "timeout votes", len(certifier._timeouts._votes), validators
    yield "QCs", len(certifier._qcs), certified_views
    yield "FCs", len(certifier._fcs), certified_views
    # Statements of three kinds and a header of each validator, and certificates of three kinds, in each view.
    watched = (views + 1) * (4 * validators + 3 * CERTIFICATES_MAX) + OLD_FINALIZES_MAX * validators
    watched += THINNING_VIEWS * (validators + CERTIFICATES_MAX)
    yield "watched statements", len(certifier._watch), watched
    yield "verified certificates", len(member._validator.certificates._verified), VERIFIED_CERTIFICATES_MAX

    # A candidate and a certified leaf in each view.
    yield "undecided blocks", len(replica.chain), 2 * undecided_views + 1
    bytes_max = UNDECIDED_BYTES_JUDGED_MAX + ORPHANS_MAX * context.parameters.payload_bytes_max
    yield "undecided bytes", replica.chain.undecided_bytes, bytes_max
    yield "proposals that wait for their parent", len(proposals._waiting), validators
    yield "signed proposals", len(proposals._signed), 3 * validators
    yield "wanted leaves", len(fetcher._wanted), WANTED_MAX
    yield "orphans", len(fetcher._orphans), ORPHANS_MAX

    yield "peers' views", len(replica._peers._views), peers
    yield "peers' turns", len(replica._peers._next_answer), peers

    docket = member.docket
    by_account = Counter(operation.account for operation in docket.operations)
    yield "pending operations", len(docket.operations), OPERATIONS_PENDING_MAX
    yield "pending operations of one account", max(by_account.values(), default=0), ACCOUNT_OPERATIONS_MAX
    yield "pending proofs", len(docket.evidence), len(member.ledger.validators)
