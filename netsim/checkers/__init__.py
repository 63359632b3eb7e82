"""Oracles: one a file, each with its own arithmetic, all of them always on.

They share no code with what they check beyond the wire types: a commitment, a threshold or a statement is computed here
again, from protocol.md's text, so that a mistake in `consensus` cannot hide itself.
"""

from collections.abc import Container

from consensus.context import EpochContext
from consensus.types import ValidatorId
from netsim.checkers.accusations import OnlyByzantineAccused
from netsim.checkers.agreement import Agreement
from netsim.checkers.certificates import Certificates
from netsim.checkers.epochs import EpochBoundaries
from netsim.checkers.ledgers import LedgerCommitments
from netsim.checkers.memory import MemoryBudget
from netsim.checkers.order import DecideOrder
from netsim.checkers.replay import Replay
from netsim.checkers.supply import SupplyConserved
from netsim.checkers.timeouts import FinalizeBeforeTimeout
from netsim.checkers.transactions import TransactionsOnce
from netsim.checkers.views import ViewsAdvance
from netsim.checkers.violation import Violation
from netsim.checkers.votes import OneVotePerView
from netsim.observer import Observer

__all__ = ["Violation", "make_checkers"]


def make_checkers(context: EpochContext, byzantine: Container[ValidatorId] = ()) -> list[Observer]:
    """A fresh set for one simulation. What a Byzantine validator signs or decides is held against nobody."""
    certificates = Certificates(context, byzantine)
    return [
        EpochBoundaries(context, certificates, byzantine),
        Agreement(context.genesis, byzantine),
        OneVotePerView(byzantine),
        FinalizeBeforeTimeout(byzantine),
        DecideOrder(byzantine),
        ViewsAdvance(byzantine),
        certificates,
        TransactionsOnce(byzantine),
        LedgerCommitments(context, byzantine),
        SupplyConserved(context, byzantine),
        OnlyByzantineAccused(byzantine),
        MemoryBudget(byzantine),
        Replay(context, byzantine),
    ]
