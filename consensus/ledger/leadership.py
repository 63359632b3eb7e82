"""Who leads: a pure function of the certified chain (section 6, S2 to S5)."""

from consensus.leaf import Leaf
from consensus.ledger.parameters import LeadershipParameters
from consensus.ledger.state import Ledger
from consensus.types import ValidatorId, View


class LedgerSchedule:
    """Implements `LeaderSchedule`. `gap` is the number of views that were skipped since the parent."""

    def __init__(self, parameters: LeadershipParameters) -> None:
        self._parameters = parameters

    def leader(self, view: View, parent: Leaf, ledger: Ledger) -> ValidatorId:
        """S2, S4: the committee that has the lead, then the fallback committee, then everyone."""
        gap = view - parent.view - 1
        state = ledger.state
        patience = self._parameters.fallback_after
        if state.mode.is_fallback:
            tries = max(patience, len(state.fallback))
            return self._rotate(view, ledger) if gap < tries else self._last_resort(gap - tries, ledger)
        if gap < patience:
            return self._rotate(view, ledger)
        beyond = gap - patience
        if beyond < len(state.fallback):
            return state.fallback[beyond]
        return self._last_resort(beyond - len(state.fallback), ledger)

    def count_turns(self, first: View, last: View, validator: ValidatorId, ledger: Ledger) -> int:
        """How many of the views from `first` to `last`, both included, are this validator's turn."""
        cycle = ledger.cycle
        rounds, rest = divmod(last - first + 1, len(cycle))
        return rounds * cycle.count(validator) + sum(
            cycle[view % len(cycle)] == validator for view in range(first, first + rest)
        )

    def _rotate(self, view: View, ledger: Ledger) -> ValidatorId:
        """S2: by view, in a stake-weighted order; the turn of a benched or jailed member goes to the next one.

        S3: of a committee that has none left it goes to everyone who is free, in turn: a leaf without a skipped view is
        what ends the fallback, so a dead committee must not cost one for each.
        """
        cycle = ledger.cycle
        start = view % len(cycle)
        if not ledger.sidelined:
            return cycle[start]
        for step in range(len(cycle)):
            validator = cycle[(start + step) % len(cycle)]
            if validator not in ledger.sidelined:
                return validator
        free = [validator for validator in sorted(ledger.records) if validator not in ledger.sidelined]
        return free[view % len(free)] if free else cycle[start]

    def _last_resort(self, turn: int, ledger: Ledger) -> ValidatorId:
        """S4: all validators in turn, benched and jailed ones last but never left out."""
        order = sorted(ledger.records, key=lambda validator: (validator in ledger.sidelined, validator))
        return order[turn % len(order)]
