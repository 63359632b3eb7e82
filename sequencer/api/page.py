"""The live page: the files of sequencer/web, read once, and answered from memory.

The page is shown next to whatever else an operator has open, and draws texts that other people chose (names, reasons,
transactions). So the browser is told to run nothing and load nothing but these files, and to talk to this node alone.
"""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from sequencer.api.parameters import Query
from sequencer.api.problems import NOT_FOUND, Problem
from sequencer.api.route import Answer, PathParameter, Route

FOLDER: Final = Path(__file__).parent.parent / "web"
INDEX: Final = "index.html"

MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No inline script or style, nothing from another origin, no frame around it."""

_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-cache",  # may be kept, but is asked for again: a node that was upgraded shows its own page
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}

FILE: Final = PathParameter(
    "file", "Name of a file.", {"type": "string", "pattern": "^[a-z][a-z0-9-]*\\.(html|css|js|svg)$"}, INDEX
)
_FILE: Final = {"type": "string"}
_FILES: Final = (
    *(
        Answer(description="The file.", media_type=media_type.partition(";")[0], schema=_FILE)
        for media_type in MEDIA_TYPES.values()
    ),
    Answer(description="As the reader has it (If-None-Match).", status=304),
)


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file, as it is and compressed. The tags differ: they name the bytes that are sent."""

    media_type: str
    plain: bytes
    packed: bytes
    plain_tag: str
    packed_tag: str


def load_page(folder: Path = FOLDER) -> dict[str, PageFile]:
    """By name: every file of a known kind. What is not in it is not served, whatever the address looks like."""
    return {path.name: _load(path) for path in sorted(folder.iterdir()) if path.suffix in MEDIA_TYPES}


def _load(path: Path) -> PageFile:
    plain = path.read_bytes()
    digest = sha256(plain).hexdigest()[:32]
    packed = gzip.compress(plain, mtime=0)
    return PageFile(MEDIA_TYPES[path.suffix], plain, packed, f'"{digest}"', f'"{digest}-gzip"')


class Page:
    """The routes / and /web/{file}."""

    def __init__(self) -> None:
        self._files = load_page()

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/",
                handler=self.index,
                name="getPage",
                tag="Node",
                summary="The live page",
                description="For people: how the cluster is at a glance. It is made of the files under /web and asks"
                " this API.",
                answers=(
                    Answer(description="The page.", media_type="text/html", schema=_FILE),
                    Answer(description="As the reader has it (If-None-Match).", status=304),
                ),
                is_probe=True,
            ),
            Route(
                method="GET",
                path="/web/{file}",
                handler=self.file,
                name="getPageFile",
                tag="Node",
                summary="A file of the live page",
                description="Scripts, styles and pictures.",
                path_parameters=(FILE,),
                answers=_FILES,
                problems=(NOT_FOUND,),
                is_probe=True,
            ),
        )

    async def index(self, request: Request, _query: Query) -> Response:
        return self._answer(request, self._files[INDEX])

    async def file(self, request: Request, _query: Query) -> Response:
        found = self._files.get(request.path_params["file"])
        if found is None:
            raise Problem(NOT_FOUND, f"The live page has no file {request.path_params['file'][:80]!r}; it begins at /.")
        return self._answer(request, found)

    @staticmethod
    def _answer(request: Request, file: PageFile) -> Response:
        is_packed = _accepts_gzip(request.headers.get("accept-encoding", ""))
        body, tag = (file.packed, file.packed_tag) if is_packed else (file.plain, file.plain_tag)
        headers = {**_HEADERS, "ETag": tag}
        if is_packed:
            headers["Content-Encoding"] = "gzip"
        if _matches(request.headers.get("if-none-match", ""), tag):
            return Response(status_code=304, headers=headers)
        # The media type is whole already: the framework would add a charset of its own to some.
        return Response(body, headers={**headers, "Content-Type": file.media_type})


def _accepts_gzip(accept_encoding: str) -> bool:
    for part in accept_encoding.lower().split(","):
        coding, _, quality = part.replace(" ", "").partition(";")
        if coding == "gzip":
            return quality not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _matches(if_none_match: str, tag: str) -> bool:
    """RFC 9110, 13.1.2: weak comparison, a list of tags or a star."""
    tags = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return tag in tags or "*" in tags
