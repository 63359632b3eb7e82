"""What goes wrong between a client and its nodes. Each says what to do next, and with which code a command ends."""

from typing import Any

from sequencer.failures import CommandError, ExitCode

JsonObject = dict[str, Any]

STANDARD_MEMBERS = frozenset({"type", "title", "status", "code", "detail"})


class Unreachable(CommandError):
    """Nothing answers at this URL, or not in time. With several nodes: at none of them."""

    def __init__(self, url: str, reason: str) -> None:
        message = f"cannot reach {url}: {reason}. Is the node running? `sequencer devnet` starts some on this machine."
        super().__init__(message, ExitCode.UNREACHABLE)
        self.url = url
        self.reason = reason


class ApiProblem(CommandError):
    """The node refused, with a problem document (RFC 9457). `code` is stable, `detail` says why and what to do,
    `members` are those beside the standard ones.
    """

    def __init__(self, url: str, status: int, body: JsonObject) -> None:
        self.url = url
        self.status = status
        self.code = str(body.get("code", "unknown"))
        self.detail = str(body.get("detail") or body.get("title") or f"HTTP status {status}")
        self.body = body
        self.members = {name: value for name, value in body.items() if name not in STANDARD_MEMBERS}
        super().__init__(f"{url} refused ({self.code}): {self.detail}")


class UnexpectedAnswer(CommandError):
    """A node, or what stands before it, answers in a shape that this version does not know."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(f"{url} answers in a form that is not known here: {what}. Is it a node of this version?")
        self.url = url
