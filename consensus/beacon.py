"""The beacon: a value that nobody can choose, since nobody can compute it in time to try twice (T4).

A chain of `difficulty` hash steps over the commitment of the last leaf of the epoch before. Each step is one iteration
of PBKDF2-HMAC-SHA-256, which cannot be taken in parallel and runs in C without holding up the other threads.
Checkpoints cut the chain into equal parts, each of which is verified independently of the others.
"""

from hashlib import pbkdf2_hmac, sha256

from consensus.leaf import BeaconResult
from consensus.ledger.parameters import EpochParameters
from consensus.types import Commitment

_SALT = b"sequencer/beacon/1\0"
_SKIPPED_TAG = b"sequencer/beacon-skipped/1\0"


def compute_beacon(origin: Commitment, parameters: EpochParameters) -> BeaconResult:
    """The whole chain, from the last leaf of the epoch before. Takes as long as the difficulty says."""
    steps = parameters.beacon_difficulty // parameters.beacon_checkpoints
    checkpoints: list[Commitment] = []
    value = origin
    for _ in range(parameters.beacon_checkpoints):
        value = _advance(value, steps)
        checkpoints.append(value)
    return BeaconResult(tuple(checkpoints))


def is_beacon_right(origin: Commitment, result: BeaconResult, parameters: EpochParameters) -> bool:
    """As much work as computing it, part by part; a node that has its own result compares instead."""
    if len(result.checkpoints) != parameters.beacon_checkpoints:
        return False
    steps = parameters.beacon_difficulty // parameters.beacon_checkpoints
    starts = (origin, *result.checkpoints)
    return all(_advance(start, steps) == end for start, end in zip(starts, result.checkpoints, strict=False))


def skip_beacon(seed: Commitment) -> Commitment:
    """What takes the place of a result that came too late: the hash of the one before."""
    return Commitment(sha256(_SKIPPED_TAG + seed).digest())


def _advance(value: Commitment, steps: int) -> Commitment:
    return Commitment(pbkdf2_hmac("sha256", value, _SALT, steps))
