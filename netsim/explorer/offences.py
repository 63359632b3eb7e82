"""Whether an honest validator could be accused, by what it has signed (section 4, E1 to E5).

Asked twice: of the definition, in own arithmetic, and of the watch that real nodes run. They must agree.
"""

from itertools import combinations, product
from typing import TypeAlias

from consensus.evidence import Evidence, SignedLeaf, get_rule
from consensus.leaf import Block, make_header
from consensus.messages import FinalizeVote, QuorumProposal, QuorumVote, TimeoutVote
from consensus.watch import Watch
from netsim.explorer.material import Material
from netsim.explorer.model import NO_TC, Kind, LeafId, Signed

SignedMessage: TypeAlias = QuorumProposal | QuorumVote | FinalizeVote | TimeoutVote

_PAIRS = {Kind.PROPOSE: "E1", Kind.VOTE: "E2", Kind.FINALIZE: "E3"}


def find_frame(material: Material, signed: frozenset[Signed], messages: tuple[SignedMessage, ...]) -> str | None:
    """None for a validator against which there can be no proof; else what the proof would be."""
    offences, proofs = find_offences(material, signed), find_proofs(material, messages)
    if offences == proofs:
        return ", ".join(sorted(offences)) if offences else None
    return f"{sorted(offences)} by definition, {sorted(proofs)} by the watch"


def find_offences(material: Material, signed: frozenset[Signed]) -> set[str]:
    """E1 to E5 as protocol section 4 defines them."""
    found: set[str] = set()
    for one, other in combinations(signed, 2):
        if one.kind is other.kind and one.view == other.view and one.leaf != other.leaf and one.kind in _PAIRS:
            found.add(_PAIRS[one.kind])
    finalizes = [statement for statement in signed if statement.kind is Kind.FINALIZE]
    timeouts = [statement for statement in signed if statement.kind is Kind.TIME_OUT]
    for finalize, timeout in product(finalizes, timeouts):
        if timeout.view >= finalize.view > timeout.high_qc_view:
            found.add("E4")
    if any(vote.kind is Kind.VOTE and not _is_justified(material, vote.leaf) for vote in signed):
        found.add("E5")
    return found


def find_proofs(material: Material, messages: tuple[SignedMessage, ...]) -> set[str]:
    """What the watch of a real node makes of the messages themselves."""
    context = material.context
    watch = Watch(context.network_id, context.epoch, context.stake_table, context.scheme, exhaustive=True)
    found: list[Evidence] = []
    for message in messages:
        match message:
            case QuorumProposal(leaf=leaf):
                signed = SignedLeaf(Block(leaf, message.payload).commitment, message.signature)
                found += watch.note_proposal(leaf.proposer, leaf.view, signed)
            case QuorumVote(leaf=voted):
                found += watch.note_unjustified(make_header(material.blocks[material.find_leaf(voted)].leaf))
                found += watch.note_vote(message)
            case FinalizeVote():
                found += watch.note_finalize(message)
            case TimeoutVote():
                found += watch.note_timeout(message)
    return {get_rule(evidence) for evidence in found}


def _is_justified(material: Material, leaf: LeafId) -> bool:
    """R3c."""
    content = material.contents[leaf]
    justify_view = material.contents[content.parent].view
    if justify_view == content.view - 1:
        return True
    if content.tc == NO_TC:
        return False
    tc = material.tcs[content.tc]
    return tc.view == content.view - 1 and justify_view >= tc.highest
