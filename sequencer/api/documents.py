"""The API's own description: /openapi.json for programs, /docs for people, both from the table of routes."""

from collections.abc import Sequence
from functools import cached_property
from html import escape
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sequencer.api.docs_page import BASE_MARK, STYLE_HASH, render_page
from sequencer.api.openapi import write_document
from sequencer.api.parameters import Query
from sequencer.api.route import JSON, Answer, Route

HTML: Final = "text/html"

_HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
}


class Documents:
    """The routes /openapi.json and /docs. Both are written when somebody asks for the first time, and kept."""

    def __init__(self, version: str, described: Sequence[Route]) -> None:
        self._version = version
        self._described = described

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/openapi.json",
                handler=self.openapi,
                name="getOpenapi",
                tag="Node",
                summary="This document",
                description="OpenAPI 3.1: every address, parameter, answer and problem of this node.",
                answers=(Answer(description="The document.", schema={"type": "object", "required": ["openapi"]}),),
            ),
            Route(
                method="GET",
                path="/docs",
                handler=self.docs,
                name="getDocs",
                tag="Node",
                summary="This document, for people",
                description="One page without scripts, which loads nothing from anywhere.",
                answers=(Answer(description="The page.", media_type=HTML, schema={"type": "string"}),),
                is_probe=True,
            ),
        )

    async def openapi(self, _request: Request, _query: Query) -> Response:
        return Response(self._encoded, media_type=JSON)

    async def docs(self, request: Request, _query: Query) -> Response:
        # Examples name the node as its reader does, so that they can be pasted as they stand.
        base = escape(str(request.base_url).rstrip("/"))
        return Response(self._page.replace(BASE_MARK, base), headers=_HEADERS, media_type=HTML)

    @cached_property
    def _document(self) -> dict[str, Any]:
        return write_document(self._version, [*self._described, *self.routes()])

    @cached_property
    def _encoded(self) -> bytes:
        return msgspec.json.encode(self._document)

    @cached_property
    def _page(self) -> str:
        return render_page(self._document)
