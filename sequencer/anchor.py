"""What somebody trusts in place of genesis: which leaf ended an epoch. Joining nodes and light clients use it."""

import re
from dataclasses import dataclass
from typing import Final

from consensus.types import Commitment, Epoch

_ANCHOR: Final = re.compile(r"([0-9]{1,18}):(?:0x)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Anchor:
    """What an operator trusts: this leaf is the last one of this epoch."""

    epoch: Epoch
    leaf: Commitment

    def __str__(self) -> str:
        return f"{self.epoch}:0x{self.leaf.hex()}"


def parse_anchor(text: str) -> Anchor:
    """`EPOCH:COMMITMENT`, as `sequencer stake show -o json` tells it. Raises `ValueError`."""
    found = _ANCHOR.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not of the form EPOCH:COMMITMENT, such as 7:0x and 64 hex digits')
    return Anchor(Epoch(int(found[1])), Commitment(bytes.fromhex(found[2])))
