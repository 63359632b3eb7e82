"""The feed of views, which change while and after they are under way."""

from collections.abc import Hashable
from typing import Final, TypeAlias

import msgspec

from consensus.types import Epoch, View
from sequencer.api.node_view import NodeView
from sequencer.api.views import Views
from sequencer.directory import Directory
from sequencer.view_record import Outcome, ViewRecord

CHANGING_VIEWS: Final = 16
"""The newest ones, which are looked at again: a certificate that comes later than that is not told."""

State: TypeAlias = tuple[Epoch, Outcome, bool]
"""Of which a change is worth an event: the epoch, as its last views may be used again by the next one (T2), the
outcome, and whether it is over.
"""


class ViewFeed:
    """Views as this node sees them. Each is told when it begins, when it has ended, and when its outcome changes after
    that, always as it is then; what has changed since is left out. So an event replaces an earlier one of its id, and
    whoever comes back begins with the view that it had last.
    """

    event = "view"
    repeats = True

    def __init__(self, node: NodeView, directory: Directory, views: Views) -> None:
        self._node = node
        self._directory = directory
        self._views = views
        self._changed: dict[int, View] = {}
        """By number, in their order: which view has changed. Those that the history forgets are dropped."""
        self._newest: dict[View, int] = {}
        """The last of these numbers, of each view."""
        self._states: dict[View, State] = {}
        self._told = 0
        self.first = 1
        self.latest = 0

    def find(self, id_: int) -> int:
        self._look()
        return next((number for number, view in self._changed.items() if view >= id_), self.latest + 1)

    def get_id(self, number: int) -> int:
        return self._changed[number]

    def seek(self, number: int) -> int:
        number = max(number, self.first)
        while number <= self.latest and not self._is_worth_telling(number):
            number += 1
        return number

    def _is_worth_telling(self, number: int) -> bool:
        view = self._changed[number]
        return self._newest[view] == number and self._node.views.find(view) is not None

    def render(self, number: int, selection: Hashable) -> bytes:
        record = self._node.views.find(self._changed[number])
        if record is None:
            raise LookupError(f"view {self._changed[number]} was forgotten while it was told")
        self._directory.update(self._node.status().ledger)
        return msgspec.json.encode(self._views.describe(record))

    async def wait_news(self) -> None:
        while self.latest == self._told:
            await self._node.wait_view()
            self._look()
        self._told = self.latest

    def _look(self) -> None:
        """What has changed since the last time."""
        records = self._node.views.read(None, CHANGING_VIEWS)
        states = {record.view: _get_state(record) for record in records}
        for view, state in states.items():
            if self._states.get(view) != state:
                self.latest += 1
                self._changed[self.latest] = view
                self._newest[view] = self.latest
        self._states = states
        while self._changed and self._node.views.find(self._changed[self.first]) is None:
            view = self._changed.pop(self.first)
            if self._newest[view] == self.first:
                del self._newest[view]
            self.first += 1


def _get_state(record: ViewRecord) -> State:
    return record.epoch, record.outcome, record.ended_at is None
