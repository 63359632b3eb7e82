"""The ledger: a deterministic state machine over leaves (S1).

`state` says what it holds, `leadership` who may propose on top of it. `transition` says what a leaf changes and puts
the rules together: `liveness` (bench, jail), `slashing` (evidence), `staking` (operations). `rollover` leads into the
next epoch, `admission` judges what may stand in a leaf, `changes` and `describe` tell people. Every leaf commits to the
state after its parent, so whoever accepts the parent agrees on all of it. Integers only: the same leaves give the same
state on every machine.
"""

from consensus.ledger.changes import LedgerChange
from consensus.ledger.describe import describe_changes
from consensus.ledger.leadership import LedgerSchedule
from consensus.ledger.parameters import EpochParameters, LeadershipParameters, LedgerParameters, SlashingParameters
from consensus.ledger.rollover import begin_epoch
from consensus.ledger.state import Account, Ledger, LedgerState, Profile, Status, make_genesis_ledger
from consensus.ledger.transition import apply_leaf

__all__ = [
    "Account",
    "EpochParameters",
    "LeadershipParameters",
    "Ledger",
    "LedgerChange",
    "LedgerParameters",
    "LedgerSchedule",
    "LedgerState",
    "Profile",
    "SlashingParameters",
    "Status",
    "apply_leaf",
    "begin_epoch",
    "describe_changes",
    "make_genesis_ledger",
]
