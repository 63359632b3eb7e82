"""Whose fault it was, as a type.

`InvalidMessage` is the peer's fault: it is counted and the message dropped. `Unsafe` is no fault at all: a value that
says which rule forbids a signature, with the numbers. `InvariantViolation` is ours: the process ends.
"""

from dataclasses import dataclass


class InvalidMessage(Exception):
    """A peer sent something that no honest node sends.

    `reason` is a short stable label (it becomes a metric label), `detail` is for people. `retry` says that the
    same bytes might be acceptable later; otherwise the fault is permanent.
    """

    def __init__(self, reason: str, detail: str, *, retry: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry = retry


@dataclass(frozen=True, slots=True)
class Unsafe:
    """The safety rules forbid this signature: rule id and the numbers that broke it."""

    rule: str
    detail: str


class InvariantViolation(Exception):
    """Something that the protocol proves impossible has happened here; continuing could only make it worse."""
