"""Blocks, certificates and batches for the tests of storage, which keeps what consensus has checked."""

from collections.abc import Sequence

from consensus.certificates import FinalityCertificate, QuorumCertificate, make_genesis_certificate
from consensus.effects import Batch, Decide
from consensus.leaf import Block, make_genesis, make_leaf
from consensus.messages import QuorumVote
from consensus.safety import SafetyRecord
from consensus.types import Commitment, Epoch, NetworkId, ValidatorId, View
from sequencer.payload import encode_payload

EPOCH = Epoch(0)
LEDGER = Commitment(bytes(32))
GENESIS = make_genesis(EPOCH, 0, LEDGER)
NETWORK = NetworkId(b"\x01" * 32)
VALIDATOR = ValidatorId(2)
RECORD = SafetyRecord.initial(make_genesis_certificate(EPOCH, View(0), GENESIS.commitment))


def make_block(parent: Block, transactions: Sequence[bytes] = (), *, view: int | None = None) -> Block:
    view_ = View(parent.leaf.view + 1 if view is None else view)
    payload = encode_payload(transactions)
    leaf = make_leaf(
        parent,
        epoch=EPOCH,
        view=view_,
        proposer=VALIDATOR,
        timestamp_ms=0,
        payload=payload,
        ledger=LEDGER,
        justify_qc=make_qc(parent),
        timeout_certificate=None,
    )
    return Block(leaf, payload)


def make_chain(parent: Block, length: int, label: bytes = b"") -> list[Block]:
    """Each block with two transactions of its own."""
    blocks = []
    for _ in range(length):
        name = label + str(parent.leaf.height + 1).encode()
        parent = make_block(parent, [b"first of " + name, b"second of " + name])
        blocks.append(parent)
    return blocks


def make_qc(block: Block) -> QuorumCertificate:
    return QuorumCertificate(EPOCH, block.leaf.view, b"\x07", b"signatures", block.commitment)


def make_fc(block: Block) -> FinalityCertificate:
    qc = make_qc(block)
    return FinalityCertificate(EPOCH, block.leaf.view, b"\x07", b"more signatures", block.commitment, qc)


def make_record(block: Block) -> SafetyRecord:
    """After a vote for this block, and its QC."""
    vote = QuorumVote(EPOCH, block.leaf.view, block.commitment, VALIDATOR, b"signature")
    qc, view = make_qc(block), block.leaf.view
    return SafetyRecord(EPOCH, view, View(0), View(0), View(0), None, qc, qc, vote, None, None)


def voted(block: Block) -> Batch:
    return Batch(make_record(block), (block,), (), ())


def decided(*blocks: Block, fc: FinalityCertificate | None = None) -> Batch:
    return Batch(None, (), (Decide(blocks, make_fc(blocks[-1]) if fc is None else fc),), ())


def caught_up(*blocks: Block, fc: FinalityCertificate | None = None) -> Batch:
    """Decided without a vote; the FC has raised `high_qc`, which the record says in the same turn."""
    return Batch(make_record(blocks[-1]), (), decided(*blocks, fc=fc).decides, ())
