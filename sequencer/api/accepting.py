"""Which form of an answer a client can read, by its Accept header."""

from collections.abc import Sequence

from starlette.requests import Request

from sequencer.api.problems import NOT_ACCEPTABLE, Problem


def choose_media_type(request: Request, offered: Sequence[str]) -> str:
    """The first of these that the client says it accepts; without a word, the first. Raises `Problem` for none."""
    accept = request.headers.get("accept")
    if accept is None:
        return offered[0]
    ranges = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    for media_type in offered:
        if not ranges.isdisjoint((media_type, f"{media_type.partition('/')[0]}/*", "*/*")):
            return media_type
    raise Problem(
        NOT_ACCEPTABLE, f"The answer is {' or '.join(offered)}; your Accept header says {accept[:200]!r}. Send */*."
    )
