"""Errors: problem details (RFC 9457)."""

from typing import Annotated

import msgspec
from msgspec import Meta


class ProblemJson(msgspec.Struct):
    """What went wrong. Some kinds have more members beside these."""

    type: Annotated[str, Meta(description="urn:sequencer:problem: and the code.")]
    title: Annotated[str, Meta(description="What this kind of problem is, always the same for a code.")]
    status: Annotated[int, Meta(ge=400, le=599, description="The HTTP status, always the same for a code.")]
    code: Annotated[str, Meta(description="Stable word for programs.")]
    detail: Annotated[str, Meta(description="What happened in this case, why, and what to do about it.")]
