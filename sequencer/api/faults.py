"""Faults that were done to the cluster of this node, from the log that its node.toml names."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from sequencer.api.encoding import answer_json
from sequencer.api.parameters import Query, integer
from sequencer.api.route import Answer, Route
from sequencer.fault_log import FaultLog, read_now_ms
from sequencer.schema.faults import FaultsJson

LIMIT_MAX: Final = 1000
LIMIT_DEFAULT: Final = 200

_LIMIT: Final = integer(
    "limit", "How many of the last ones.", default=LIMIT_DEFAULT, least=1, most=LIMIT_MAX, example=10
)


class Faults:
    """The route /v1/faults."""

    def __init__(self, log: FaultLog | None) -> None:
        self._log = log

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/v1/faults",
                handler=self.list,
                name="listFaults",
                tag="Records",
                summary="Faults of the cluster",
                description="What was done to the nodes on purpose, and processes that ended by themselves, as far "
                "as the cluster keeps a log of it.",
                parameters=(_LIMIT,),
                answers=(Answer((FaultsJson,)),),
            ),
        )

    async def list(self, _request: Request, query: Query) -> Response:
        limit = query.read(_LIMIT)
        if self._log is None:
            answer = FaultsJson(read_now_ms(), has_log=False, faults=[])
        else:
            # The end of a file of this machine, and mostly not even that: not worth a thread.
            answer = FaultsJson(self._log.now_ms(), has_log=True, faults=[*self._log.read()[-limit:]])
        return answer_json(answer)
