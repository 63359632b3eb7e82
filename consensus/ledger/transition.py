"""What a leaf changes: one pure function from the state after the parent to the state after the leaf.

It puts the rules together, in this order: the beacon (T4), evidence (J3), operations (J5), leader records and jail (S3,
J1, J2), mode and hand-back (S4, S5). Evidence and operations come first, so they meet the very state that voters have
judged them by. Every step is total: what honest voters refuse is skipped.
"""

import msgspec

from consensus.leaf import Leaf
from consensus.ledger.changes import CommitteesDrawn
from consensus.ledger.committees import draw_order
from consensus.ledger.draft import Draft
from consensus.ledger.liveness import find_missed, judge_leaders, settle_jail
from consensus.ledger.parameters import LeadershipParameters, LedgerParameters
from consensus.ledger.slashing import punish
from consensus.ledger.staking import apply_operation
from consensus.ledger.state import Ledger, Mode
from consensus.types import Height, ValidatorId

__all__ = ["apply_leaf", "compute_handback_term", "find_missed"]


def apply_leaf(ledger: Ledger, parent: Leaf, leaf: Leaf, parameters: LedgerParameters) -> Ledger:
    """The ledger after `leaf`, which follows `parent`. The same object when nothing changes.

    Closing leaves change nothing (T2), and the last leaf of an epoch does not begin the next: see `begin_epoch`.
    """
    if leaf.height > (leaf.epoch + 1) * parameters.epochs.epoch_blocks or _is_healthy(ledger, parent, leaf):
        return ledger
    state = ledger.state
    draft = Draft(ledger)
    beacon = state.beacon or (leaf.beacon.output if leaf.beacon is not None else None)
    punished = [punish(draft, evidence, leaf.proposer, parameters) for evidence in leaf.evidence]
    for operation in leaf.operations:
        apply_operation(draft, operation, parameters)
    charges = judge_leaders(draft, parent, leaf, parameters)
    if charges or any(punished):
        settle_jail(draft, ledger.stakes, charges, parameters.slashing)
    mode = _compute_mode(state.mode, leaf, leaf.view - parent.view - 1, parameters.leadership)
    primary = state.primary
    if state.mode.is_fallback and not mode.is_fallback:
        primary = _replace_barred(draft, leaf.height)
    return draft.finish(beacon=beacon, mode=mode, primary=primary)


def _is_healthy(ledger: Ledger, parent: Leaf, leaf: Leaf) -> bool:
    """Whether a leaf changes nothing, decided in a microsecond: nearly all leaves do."""
    if leaf.view != parent.view + 1 or leaf.operations or leaf.evidence or leaf.beacon is not None:
        return False
    record = ledger.records.get(leaf.proposer)
    is_calm = not ledger.benched and not ledger.state.mode.is_fallback
    return is_calm and (record is None or record.is_clean)


def _compute_mode(mode: Mode, leaf: Leaf, gap: int, parameters: LeadershipParameters) -> Mode:
    if not mode.is_fallback:
        return _activate(mode, leaf, parameters) if gap >= parameters.fallback_after else mode
    clean_leaves = mode.clean_leaves + 1 if gap == 0 else 0
    if clean_leaves < compute_handback_term(mode, parameters):
        return msgspec.structs.replace(mode, clean_leaves=clean_leaves)
    return Mode(is_fallback=False, since=leaf.height, clean_leaves=0, relapses=mode.relapses)


def _activate(mode: Mode, leaf: Leaf, parameters: LeadershipParameters) -> Mode:
    """S4, S5: a leaf with such a gap gives the fallback committee the lead; soon after a hand-back it is a relapse."""
    longest = parameters.handback_after << parameters.handback_doublings_max
    is_relapse = mode.since > 0 and leaf.height - mode.since <= longest
    relapses = min(mode.relapses + 1, parameters.handback_doublings_max) if is_relapse else 0
    return Mode(is_fallback=True, since=leaf.height, clean_leaves=0, relapses=relapses)


def compute_handback_term(mode: Mode, parameters: LeadershipParameters) -> int:
    """S5: leaves without a skipped view that end the fallback; each relapse doubles it, up to a cap."""
    return parameters.handback_after << mode.relapses


def _replace_barred(draft: Draft, height: Height) -> tuple[ValidatorId, ...]:
    """S5: the primary committee that gets the lead back, barred members replaced by stake-weighted draws.

    Drawn from members of the table that are in neither committee and not barred themselves, as long as there are any.
    """
    ledger = draft.before
    state = ledger.state
    seated = {*state.primary, *state.fallback}
    free = [member for member in ledger.table if member.id not in seated and not draft.validators[member.id].is_barred]
    drawn = iter(draw_order(free, state.seed + height.to_bytes(8, "big")))
    primary = tuple(next(drawn, member) if draft.validators[member].is_barred else member for member in state.primary)
    if primary != state.primary:
        draft.events.append(CommitteesDrawn(primary, state.fallback))
    return primary
