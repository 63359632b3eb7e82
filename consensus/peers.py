"""What a replica knows of its peers: how far they are, whose connection is gone, whom it has answered lately (R1, L2,
L3).
"""

from consensus.types import Microseconds, ValidatorId, View


class Peers:
    """One entry per validator; the stake table bounds it."""

    def __init__(self, answer_interval: Microseconds) -> None:
        self.lost: set[ValidatorId] = set()
        """Whose connection is gone."""
        self._answer_interval = answer_interval
        self._views: dict[ValidatorId, View] = {}
        self._next_answer: dict[ValidatorId, Microseconds] = {}

    def on_view(self, peer: ValidatorId, view: View) -> None:
        """A message of this view came from the peer, so it is there at least."""
        if view > self._views.get(peer, -1):
            self._views[peer] = view

    def get_behind(self, view: View) -> list[ValidatorId]:
        """Connected peers whose last word was of a view below this one. Those never heard are not known to be
        behind.
        """
        return [peer for peer, known in self._views.items() if known < view and peer not in self.lost]

    def may_answer(self, peer: ValidatorId, now: Microseconds) -> bool:
        """Whether certificates may go to this peer now (L3); notes that they do."""
        if self._next_answer.get(peer, 0) > now:
            return False
        self._next_answer[peer] = Microseconds(now + self._answer_interval)
        return True
