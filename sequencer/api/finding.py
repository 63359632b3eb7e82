"""Which finalized block an address means: a height, a hash, or `latest`."""

from typing import Final

from consensus.types import Commitment, Height
from sequencer.api.encoding import HASH_DIGITS, parse_hash
from sequencer.api.node_view import BlockReader
from sequencer.api.parameters import parse_integer
from sequencer.api.problems import BAD_BLOCK_ID, BLOCK_NOT_FOUND, Problem
from sequencer.api.route import PathParameter

BLOCK_ID: Final = PathParameter(
    "block_id",
    "A height such as 17, the 64 hexadecimal digits of a block's hash (with or without 0x), or latest.",
    {"type": "string", "pattern": "^([0-9]{1,19}|(0x)?[0-9a-fA-F]{64}|latest)$"},
    "latest",
)


def find_height(storage: BlockReader, block_id: str) -> Height:
    """Of a finalized block, or of one that may have been: a height is not looked up. Raises `Problem`."""
    if block_id == "latest":
        return storage.latest_height
    height = parse_integer(block_id)
    if height is not None:
        return Height(height)
    if len(block_id.removeprefix("0x")) != HASH_DIGITS:
        raise Problem(
            BAD_BLOCK_ID,
            f"{block_id[:80]!r} is none of: a height such as 17, {HASH_DIGITS} hexadecimal digits, latest.",
        )
    found = storage.find_decided(Commitment(parse_hash(block_id)))
    if found is None:
        raise make_not_found(storage, block_id)
    return found


def make_not_found(storage: BlockReader, block_id: str) -> Problem:
    """With the heights that are here: nobody needs to guess whether to wait or to ask another node."""
    first, latest, height = storage.first_height, storage.latest_height, parse_integer(block_id)
    hint = "If it is to come, ask again later."
    if first > 1 and (height is None or height < first):
        hint = f"This node joined later and has no block below height {first}: ask one that has been there longer."
    return Problem(
        BLOCK_NOT_FOUND,
        f"No finalized block {block_id[:80]}; the latest has height {latest}. {hint}",
        first=first,
        latest=latest,
    )
