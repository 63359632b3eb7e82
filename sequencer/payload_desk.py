"""What this node proposes when it leads, when it does so, and which payloads of other leaders it votes for.

The member asks (`BuildPayload`, `CheckPayload`); the turn task brings the questions here and the answers back.
"""

import math
from collections.abc import Callable, Sequence

from consensus.effects import BuildPayload
from consensus.events import PayloadBuilt, TransactionsWaiting
from consensus.leaf import Block
from consensus.member import Member
from consensus.types import ValidatorId, View
from sequencer.application import Application
from sequencer.clock import NodeClock
from sequencer.payload import PayloadCache, encode_payload
from sequencer.payload_format import PayloadError
from sequencer.promises import Promises
from sequencer.transactions import Transactions
from sequencer.view_history import ViewHistory


class PayloadDesk:
    """Holds the one question that may be open: a newer one replaces it, and the end of its view withdraws it.

    `drop` is told whose payload was malformed, the reason and its details.
    """

    def __init__(
        self,
        member: Member,
        validator_id: ValidatorId,
        payloads: PayloadCache,
        transactions: Transactions,
        promises: Promises,
        application: Application,
        clock: NodeClock,
        history: ViewHistory,
        drop: Callable[[ValidatorId, str, str], None],
    ) -> None:
        self._member = member
        self._validator_id = validator_id
        self._payloads = payloads
        self._transactions = transactions
        self._promises = promises
        self._application = application
        self._clock = clock
        self._history = history
        self._drop = drop
        self._build: BuildPayload | None = None
        self._pressed_view: View | None = None

    @property
    def deadline(self) -> float:
        """When the open question must be answered with whatever there is (Trio's clock); never when none is open."""
        return math.inf if self._build is None else self._clock.to_trio_time(self._build.deadline)

    def ask(self, build: BuildPayload) -> None:
        self._build = build

    def on_epoch(self) -> None:
        """Another replica has begun; what the former one asked concerns nobody any more."""
        self._build = self._pressed_view = None

    def is_acceptable(self, block: Block, ancestors: Sequence[Block]) -> bool:
        """R3b: well formed, no transaction twice in the chain, and the application agrees."""
        try:
            payload = self._payloads.open(block)
        except PayloadError as error:
            self._drop(block.leaf.proposer, error.reason, error.detail)
            return False
        leaf = block.leaf
        self._history.hear_proposal(leaf, block.commitment)  # the first one of an epoch is known only now
        self._history.on_payload(leaf.epoch, leaf.view, leaf.proposer, len(payload.hashes))
        return self._transactions.may_follow(payload, ancestors) and self._application.accept(payload, leaf)

    def build(self) -> PayloadBuilt | None:
        """L6: the leader proposes as soon as there is something to propose, or when it has waited long enough.

        None when nothing is to be proposed now.
        """
        build = self._build
        if build is None:
            return None
        if build.view != self._member.replica.view:
            self._build = None
            return None
        due = [] if build.is_closing else self._promises.select_due(build.ancestors)
        if due and not build.bytes_max:  # it may not propose what it has promised, so it does not propose
            self._build = None
            return None
        transactions = self._transactions.take(build.bytes_max, build.ancestors, due) if build.bytes_max else []
        if not transactions and self._clock.now() < build.deadline:
            return None
        self._build = None
        self._history.on_payload(self._member.epoch, build.view, self._validator_id, len(transactions))
        return PayloadBuilt(build.view, build.parent, encode_payload(transactions))

    def press(self) -> TransactionsWaiting | None:
        """L6: once per view, that an honest leader has something to propose; None otherwise."""
        replica = self._member.replica
        if self._pressed_view == replica.view or not self._transactions.has_besides(replica.chain.blocks):
            return None
        self._pressed_view = replica.view
        return TransactionsWaiting()
