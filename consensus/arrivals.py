"""Blocks that come late or by request, and the proofs that wait for them (L3, L5, T2)."""

from collections.abc import Sequence

from consensus.certificates import FinalityCertificate, QuorumCertificate, decode_signers
from consensus.chain import Chain
from consensus.context import EpochContext
from consensus.errors import InvariantViolation
from consensus.fetch import RANGE_GAP, Fetcher
from consensus.leaf import Block, EpochProof
from consensus.messages import RangeResponse
from consensus.proposals import Proposals
from consensus.types import Height, Microseconds, ValidatorId


class Arrivals:
    """What is certified and not here yet: leaves are asked for, and certificates that need them are kept."""

    def __init__(self, context: EpochContext, chain: Chain, fetcher: Fetcher, proposals: Proposals) -> None:
        self._context = context
        self._chain = chain
        self._fetcher = fetcher
        self._proposals = proposals
        self._fc: FinalityCertificate | None = None
        self._epoch_proof: EpochProof | None = None

    @property
    def is_behind(self) -> bool:
        """Whether decided blocks are known to be missing here."""
        return self._fetcher.is_catching_up or self._fc is not None or self._epoch_proof is not None

    def want(self, qc: QuorumCertificate, now: Microseconds) -> Sequence[Block]:
        """L3: its proposal may wait here for its parent, or be on its way; then ask for it, its signers first.

        Returns blocks that are on the chain now and were not before.
        """
        waiting = self._proposals.take_waiting(qc.leaf)
        if waiting is not None:
            return self.accept(waiting.leaf.proposer, waiting, now)
        signers = decode_signers(self._context.stake_table, qc.signers)
        due = Microseconds(now + self._context.parameters.fetch_interval)
        self._fetcher.want(qc.leaf, qc.view, signers, due)
        return ()

    def accept(self, sender: ValidatorId, block: Block, now: Microseconds) -> Sequence[Block]:
        """A certified block is here, asked for or late. Returns what is on the chain now and was not before."""
        fc, tip = self._fc, self._chain.tip
        if fc is not None and fc.leaf == block.commitment and block.leaf.height <= tip.leaf.height:
            raise InvariantViolation(f"conflicting finality: {block} has an FC, {tip} was decided")
        return self._fetcher.accept(sender, block, now)

    def take_range(self, response: RangeResponse) -> tuple[Block, ...]:
        """L5: its FC and its parent links have been checked; returns what continues our chain, possibly nothing."""
        tip = self._chain.tip
        blocks = tuple(
            Block(entry.leaf, entry.payload)
            for entry in response.blocks
            if tip.leaf.height < entry.leaf.height and not self._context.is_closing(entry.leaf.height)
        )
        if not blocks or blocks[0].leaf.height != tip.leaf.height + 1:
            return ()
        if blocks[0].leaf.parent != tip.commitment:
            raise InvariantViolation(f"conflicting finality: {blocks[0]} is certified, its parent is not {tip}")
        return blocks

    def on_range(self, response: RangeResponse, now: Microseconds) -> None:
        """That range has been decided: go on to what its FC proves."""
        proven = response.blocks[-1].leaf.height + len(response.path)
        self._fetcher.on_range(Height(min(proven, self._context.last_height)), now)

    def keep_fc(self, fc: FinalityCertificate) -> bool:
        """Its leaf is not here: whether it is the newest such, so that the leaf is to be asked for."""
        if self._fc is not None and self._fc.view >= fc.view:
            return False
        self._fc = fc
        return True

    def keep_epoch_proof(self, proof: EpochProof, now: Microseconds) -> None:
        """T2: the epoch is over, and its last leaf is not here: fetch everything up to it.

        A path shows the height of the leaf below it. Without one, that the leaf is the last shows only when it is here:
        every other decided leaf has a lower view, but a closing leaf that is sold as the last one has a higher one.
        """
        kept = self._epoch_proof
        if kept is not None and kept.path:
            return
        if proof.path:
            is_better = proof.path[0].height == self._context.last_height + 1
        else:
            is_better = proof.fc.view > (self._chain.tip.leaf.view if kept is None else kept.fc.view)
        if not is_better:
            return
        self._epoch_proof = proof
        if self._context.last_height - self._chain.tip.leaf.height > RANGE_GAP:
            self._fetcher.want_range(self._context.last_height, now)

    def take_fc(self) -> FinalityCertificate | None:
        """The FC that was kept, once its leaf has come."""
        fc = self._fc
        if fc is None or fc.leaf not in self._chain:
            return None
        self._fc = None
        return fc

    def take_epoch_proof(self) -> EpochProof | None:
        """The epoch proof that was kept, once the leaf has come and is the last one."""
        proof = self._epoch_proof
        block = None if proof is None else self._chain.get(proof.leaf)
        if block is None:
            return None
        self._epoch_proof = None
        if block.leaf.height == self._context.last_height:
            return proof
        self._fetcher.forget_range(self._context.last_height)
        return None

    def on_decide(self) -> Sequence[Block]:
        """The tip has risen, and the epoch is not over. Returns the blocks that it connects."""
        view = self._chain.tip.leaf.view
        if self._fc is not None and self._fc.view <= view:
            self._fc = None
        if self._epoch_proof is not None and self._epoch_proof.fc.view <= view:  # the leaf was not the last one
            self._epoch_proof = None
            self._fetcher.forget_range(self._context.last_height)
        return self._fetcher.on_decide()
