"""Blocks, certificates and batches for the tests of storage, which keeps what consensus has checked."""

from collections.abc import Sequence

import msgspec

from consensus.certificates import FinalityCertificate, QuorumCertificate, make_genesis_certificate
from consensus.effects import Batch, Decide
from consensus.epochs import EpochStart
from consensus.leaf import Block, EpochProof, make_genesis, make_leaf
from consensus.ledger import Ledger, make_genesis_ledger
from consensus.ledger.parameters import LeadershipParameters
from consensus.messages import QuorumVote
from consensus.safety import SafetyRecord
from consensus.stake_table import StakeTable, Validator
from consensus.types import Commitment, Epoch, NetworkId, ValidatorId, View
from sequencer.payload import DEFAULT_NAMESPACE, compute_transaction_hash, encode_payload, make_transaction

EPOCH = Epoch(0)
LEDGER = Commitment(bytes(32))
GENESIS = make_genesis(EPOCH, 0, LEDGER)
NETWORK = NetworkId(b"\x01" * 32)
VALIDATOR = ValidatorId(2)
RECORD = SafetyRecord.initial(make_genesis_certificate(EPOCH, View(0), GENESIS.commitment))
TABLE = StakeTable((Validator(VALIDATOR, bytes(32), 1),))


def make_block(
    parent: Block, transactions: Sequence[bytes] = (), *, view: int | None = None, epoch: int | None = None
) -> Block:
    """In its parent's epoch and the view after the parent's, unless told. `transactions` are data of the default
    namespace.
    """
    view_ = View(parent.leaf.view + 1 if view is None else view)
    payload = encode_payload([make_transaction(DEFAULT_NAMESPACE, data) for data in transactions])
    leaf = make_leaf(
        parent,
        epoch=parent.leaf.epoch if epoch is None else Epoch(epoch),
        view=view_,
        proposer=VALIDATOR,
        timestamp_ms=0,
        payload=payload,
        ledger=LEDGER,
        justify_qc=make_qc(parent),
        timeout_certificate=None,
    )
    return Block(leaf, payload)


def make_chain(parent: Block, length: int, label: bytes = b"", *, epoch: int | None = None) -> list[Block]:
    """Each block with two transactions of its own."""
    blocks = []
    for _ in range(length):
        name = label + str(parent.leaf.height + 1).encode()
        parent = make_block(parent, [b"first of " + name, b"second of " + name], epoch=epoch)
        blocks.append(parent)
    return blocks


def hashes_of(*data: bytes) -> list[bytes]:
    """Names of the transactions that `make_block` makes of these."""
    return [compute_transaction_hash(DEFAULT_NAMESPACE, each) for each in data]


def make_qc(block: Block) -> QuorumCertificate:
    leaf = block.leaf
    return QuorumCertificate(leaf.epoch, leaf.view, b"\x07", b"signatures", block.commitment)


def make_fc(block: Block) -> FinalityCertificate:
    leaf, qc = block.leaf, make_qc(block)
    return FinalityCertificate(leaf.epoch, leaf.view, b"\x07", b"more signatures", block.commitment, qc)


def make_record(block: Block) -> SafetyRecord:
    """After a vote for this block, and its QC."""
    epoch, view, qc = block.leaf.epoch, block.leaf.view, make_qc(block)
    vote = QuorumVote(epoch, view, block.commitment, VALIDATOR, b"signature")
    return SafetyRecord(epoch, view, View(0), View(0), View(0), None, qc, qc, vote, None, None)


def make_ledger(epoch: int, pool: int = 0) -> Ledger:
    state = make_genesis_ledger(TABLE, LeadershipParameters(), NETWORK).state
    return Ledger(msgspec.structs.replace(state, epoch=Epoch(epoch), pool=pool))


def make_start(last: Block, *closing: Block) -> EpochStart:
    """What the epoch after `last` begins with; its proof is an FC of `last`, or of the end of these closing blocks."""
    epoch, height = last.leaf.epoch, last.leaf.height
    proof = EpochProof(make_fc([last, *closing][-1]), tuple(block.leaf for block in closing))
    return EpochStart(last, proof, make_ledger(epoch, height), make_ledger(epoch + 1, height))


def make_first_record(start: EpochStart) -> SafetyRecord:
    """Of a key that has not signed in the epoch that begins."""
    last = start.block
    return SafetyRecord.initial(make_genesis_certificate(start.ledger.epoch, last.leaf.view, last.commitment))


def voted(block: Block) -> Batch:
    return Batch(make_record(block), (block,), (), ())


def decided(*blocks: Block, fc: FinalityCertificate | None = None) -> Batch:
    return Batch(None, (), (Decide(blocks, make_fc(blocks[-1]) if fc is None else fc),), ())


def caught_up(*blocks: Block, fc: FinalityCertificate | None = None) -> Batch:
    """Decided without a vote; the FC has raised `high_qc`, which the record says in the same turn."""
    return Batch(make_record(blocks[-1]), (), decided(*blocks, fc=fc).decides, ())


def began(start: EpochStart, *decides: Decide) -> Batch:
    """The turn in which an epoch begins, with what it still decides of the one before."""
    return Batch(make_first_record(start), (), decides, (), start.ledger, (start,))
