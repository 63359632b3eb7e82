"""Leaves and certificates as JSON: signers by name, as the stake table of their epoch has them."""

from collections.abc import Sequence

from consensus.catchup import RANGE_PATH_BYTES_MAX
from consensus.certificates import QuorumCertificate, TimeoutCertificate, decode_signers
from consensus.evidence import get_rule
from consensus.leaf import EpochProof, Leaf, encode_leaf
from consensus.messages import RANGE_PATH_MAX
from consensus.stake_table import StakeTable
from consensus.types import Commitment, Epoch
from sequencer.anchor import Anchor
from sequencer.api.encoding import to_hex
from sequencer.api.node_view import NodeView
from sequencer.api.problems import EPOCH_NOT_FOUND, FINALITY_NOT_FOUND, Problem
from sequencer.directory import Directory
from sequencer.light.finality import Finality
from sequencer.operation_codec import describe_operation
from sequencer.schema.light import (
    CertificateJson,
    EpochEndJson,
    FinalityJson,
    LeafEvidenceJson,
    LeafJson,
    TimeoutCertificateJson,
)


class Tables:
    """The stake tables that a node knows. Those of epochs long past are on its disk, and the last one read is kept."""

    def __init__(self, node: NodeView) -> None:
        self._node = node
        self._kept: tuple[Epoch, StakeTable] | None = None

    def find(self, epoch: Epoch) -> StakeTable | None:
        """None for one that is not drawn up yet, or was never known here."""
        table = self._node.status().ledger.find_table(epoch)
        if table is not None:
            return table
        if self._kept is None or self._kept[0] != epoch:
            table = self._read(epoch)
            if table is None:
                return None
            self._kept = epoch, table
        return self._kept[1]

    def _read(self, epoch: Epoch) -> StakeTable | None:
        """An epoch begins with its own table, and keeps that of the one before (J5)."""
        if not epoch:
            return self._node.network.stake_table()
        for number in (epoch, Epoch(epoch + 1)):
            ledger = self._node.storage.read_ledger(number)
            if ledger is not None:
                return ledger.find_table(epoch)
        return None

    def get(self, epoch: Epoch) -> StakeTable:
        """Raises `Problem`."""
        table = self.find(epoch)
        if table is None:
            raise Problem(
                EPOCH_NOT_FOUND,
                f"This node does not know the stake table of epoch {epoch}: it is not drawn up yet, or the node joined "
                "later; then ask one that has been there longer.",
            )
        return table


def find_finality(node: NodeView, leaf: Leaf) -> Finality:
    """Of the block of a decided leaf. Raises `Problem`."""
    if leaf.height == 0:
        raise Problem(
            FINALITY_NOT_FOUND,
            "The block at height 0 has no certificate: everyone computes it from the network file.",
        )
    found = node.storage.read_finality_proof(leaf.height, leaves_max=RANGE_PATH_MAX)
    if found is None or not _is_short(found[0]):
        raise Problem(
            FINALITY_NOT_FOUND,
            f"The block at height {leaf.height} is final, but the certificate that shows it is about a later block "
            "that has not arrived here, or is far away. Ask again in a moment, or ask another node.",
        )
    above, fc = found
    return Finality((leaf, *above), fc)


def _is_short(leaves: Sequence[Leaf]) -> bool:
    """What nodes send each other, and no more."""
    return len(leaves) == 1 or sum(len(encode_leaf(leaf)) for leaf in leaves) <= RANGE_PATH_BYTES_MAX


class CertificateWriter:
    """Leaves, certificates and proofs -> their JSON."""

    def __init__(self, node: NodeView, directory: Directory) -> None:
        self._directory = directory
        self.tables = Tables(node)

    def write_leaf(self, leaf: Leaf, commitment: Commitment) -> LeafJson:
        name_of, tc = self._directory.name_of, leaf.timeout_certificate
        return LeafJson(
            version=leaf.version,
            epoch=leaf.epoch,
            view=leaf.view,
            height=leaf.height,
            hash=to_hex(commitment),
            parent=to_hex(leaf.parent),
            proposer=name_of(leaf.proposer),
            timestamp_ms=leaf.timestamp_ms,
            payload_hash=to_hex(leaf.payload),
            payload_bytes=leaf.payload_bytes,
            ledger=to_hex(leaf.ledger),
            operations=list(map(describe_operation, leaf.operations)),
            evidence=[LeafEvidenceJson(name_of(each.offender), get_rule(each), each.epoch) for each in leaf.evidence],
            beacon=None if leaf.beacon is None else to_hex(leaf.beacon.output),
            justify_qc=CertificateJson(
                leaf.justify_qc.view, to_hex(leaf.justify_qc.leaf), self._list_signers(leaf.justify_qc)
            ),
            timeout_certificate=(
                None if tc is None else TimeoutCertificateJson(tc.view, tc.highest_view, self._list_signers(tc))
            ),
            epoch_end=None if leaf.epoch_proof is None else self.write_end(leaf.epoch_proof),
            encoding=to_hex(encode_leaf(leaf)),
        )

    def write_end(self, proof: EpochProof) -> EpochEndJson:
        return EpochEndJson(
            leaf=to_hex(proof.leaf),
            view=proof.fc.view,
            closing_leaves=len(proof.path),
            trusted=str(Anchor(proof.fc.epoch, proof.leaf)),
            proof=to_hex(encode_leaf(proof)),
        )

    def write_finality(self, commitment: Commitment, finality: Finality, *, of: Leaf | None = None) -> FinalityJson:
        """Of the block with this commitment and the first leaf in `finality`, or, without the path to it, of the block
        with the leaf `of` below.
        """
        first, certified, fc = finality.leaves[0], finality.leaves[-1], finality.fc
        leaf = first if of is None else of
        is_whole = of is None or finality.leaves == (of,)
        table = self.tables.get(fc.epoch)
        signers = decode_signers(table, fc.signers)
        return FinalityJson(
            height=leaf.height,
            hash=to_hex(commitment),
            epoch=fc.epoch,
            certified_height=certified.height,
            certified_hash=to_hex(fc.leaf),
            certified_view=fc.view,
            signers=list(map(self._directory.name_of, signers)),
            stake=table.compute_stake(signers),
            threshold=table.success_threshold,
            total_stake=table.total,
            certificate=to_hex(encode_leaf(fc)),
            leaves=[to_hex(encode_leaf(each)) for each in finality.leaves] if is_whole else [],
        )

    def _list_signers(self, certificate: QuorumCertificate | TimeoutCertificate) -> list[str]:
        if not certificate.signers:
            return []
        return list(
            map(self._directory.name_of, decode_signers(self.tables.get(certificate.epoch), certificate.signers))
        )
