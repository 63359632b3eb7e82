"""Why something is not proven, with the rule of docs/spec.md that it breaks."""

from typing import Final

from consensus.errors import InvalidMessage

_RULES: Final = {
    "wrong_epoch": "T1",
    "bad_bitmap": "P2",
    "bad_certificate": "P2",
    "bad_signature": "P2",
    "no_quorum": "P2",
    "bad_leaf": "P3",
    "malformed": "P4",
    "non_canonical": "P4",
    "bad_range": "R6",
    "bad_epoch_proof": "T2",
    "bad_snapshot": "T5",
}
"""Of the reasons that consensus gives."""


class ProofError(Exception):
    """What somebody presented does not prove what it should: it is wrong, or not what was asked for.

    `rule` is an id of docs/spec.md, `reason` a short stable label, `detail` is for people, without a full stop.
    """

    def __init__(self, rule: str, reason: str, detail: str) -> None:
        super().__init__(f"{rule} ({reason}): {detail}")
        self.rule = rule
        self.reason = reason
        self.detail = detail

    @classmethod
    def of(cls, error: InvalidMessage, what: str) -> "ProofError":
        """`what` is that which was being looked at."""
        return cls(_RULES[error.reason], error.reason, f"{what}: {error.detail}")
