"""Faults that were done to the cluster of this node, from the log that its node.toml names."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sequencer.api.encoding import JSON_MEDIA_TYPE
from sequencer.api.parameters import Query, check_accepts_json
from sequencer.fault_log import FaultLog, read_now_ms
from sequencer.schema.faults import FaultsJson

LIMIT_MAX: Final = 1000
LIMIT_DEFAULT: Final = 200


class Faults:
    """The route /v1/faults."""

    def __init__(self, log: FaultLog | None) -> None:
        self._log = log

    async def list(self, request: Request) -> Response:
        check_accepts_json(request)
        query = Query(request, frozenset({"limit"}))
        limit = query.read_integer("limit", LIMIT_DEFAULT, least=1, most=LIMIT_MAX)
        if self._log is None:
            answer = FaultsJson(read_now_ms(), has_log=False, faults=[])
        else:
            # The end of a file of this machine, and mostly not even that: not worth a thread.
            answer = FaultsJson(self._log.now_ms(), has_log=True, faults=[*self._log.read()[-limit:]])
        return Response(msgspec.json.encode(answer), media_type=JSON_MEDIA_TYPE)
