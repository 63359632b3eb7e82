"""What happened: changes of the ledger, slashings among them, and evidence (J4). The node remembers the newest ones."""

from collections.abc import Callable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from consensus.evidence import Evidence, compute_evidence_id, get_rule
from consensus.types import Height
from sequencer.api.encoding import JSON_MEDIA_TYPE, to_hex
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, check_accepts_json
from sequencer.api.proofs import describe_contradiction, describe_messages
from sequencer.directory import Directory
from sequencer.ledger_log import CHANGES_KEPT_MAX, ChangeEntry
from sequencer.schema.records import ChangeJson, ChangesJson, EvidenceJson, EvidenceListJson

_HEIGHT_MAX: Final = 2**63 - 1
_SLASHING_KINDS: Final = frozenset({"slashed", "jailed", "tombstoned", "released", "unjailed", "compensated"})
"""Changes by which somebody loses stake or liberty, or gets them back."""


class Records:
    """The routes /v1/changes, /v1/slashings and /v1/evidence."""

    def __init__(self, node: NodeView, directory: Directory) -> None:
        self._node = node
        self._directory = directory
        self._included: dict[tuple[int, str], EvidenceJson] = {}
        """Proofs in decided leaves by height and offender: as many as there are changes to tell of."""

    async def changes(self, request: Request) -> Response:
        return self._answer(request, lambda entry: True)

    async def slashings(self, request: Request) -> Response:
        return self._answer(request, lambda entry: entry.kind in _SLASHING_KINDS)

    async def evidence(self, request: Request) -> Response:
        check_accepts_json(request)
        Query(request)
        self._directory.update(self._node.status().ledger)
        punished = [entry for entry in self._node.recent_changes() if entry.kind == "tombstoned"]
        keys = {(entry.height, str(entry.fields["validator"])) for entry in punished}
        self._included = {key: proof for key, proof in self._included.items() if key in keys}
        included = [self._find_included(entry) for entry in punished]
        answer = EvidenceListJson([self._describe(proof) for proof in self._node.pending_evidence()], included)
        return Response(msgspec.json.encode(answer), media_type=JSON_MEDIA_TYPE)

    def _answer(self, request: Request, is_wanted: Callable[[ChangeEntry], bool]) -> Response:
        check_accepts_json(request)
        query = Query(request, frozenset({"from_height", "limit"}))
        start = query.read_integer("from_height", 0, least=0, most=_HEIGHT_MAX)
        limit = query.read_integer("limit", CHANGES_KEPT_MAX, least=1, most=CHANGES_KEPT_MAX)
        kept = self._node.recent_changes()
        wanted = [entry for entry in kept if entry.height >= start and is_wanted(entry)][-limit:]
        shown = [ChangeJson(entry.height, entry.kind, entry.fields, entry.reason) for entry in wanted]
        # Of the oldest height some changes may have been forgotten, once the memory is full.
        complete_from = kept[0].height + (len(kept) >= CHANGES_KEPT_MAX) if kept else None
        return Response(msgspec.json.encode(ChangesJson(complete_from, shown)), media_type=JSON_MEDIA_TYPE)

    def _find_included(self, entry: ChangeEntry) -> EvidenceJson:
        """Who was tombstoned, with the proof from the leaf that did it: looked up once, as it never changes."""
        offender = str(entry.fields["validator"])
        known = self._included.get((entry.height, offender))
        if known is not None:
            return known
        block = self._node.storage.read_decided_at(entry.height)
        for proof in () if block is None else block.leaf.evidence:
            if self._directory.name_of(proof.offender) == offender and get_rule(proof) == entry.fields["rule"]:
                found = self._included[entry.height, offender] = self._describe(proof, entry.height)
                return found
        told = {"offender": offender, "rule": entry.fields["rule"], "epoch": entry.fields["offence_epoch"]}
        without = {"id": None, "height": entry.height, "contradiction": None, "messages": ()}
        return msgspec.convert(told | without, EvidenceJson)

    def _describe(self, proof: Evidence, height: Height | None = None) -> EvidenceJson:
        return EvidenceJson(
            offender=self._directory.name_of(proof.offender),
            rule=get_rule(proof),
            epoch=proof.epoch,
            id=to_hex(compute_evidence_id(proof)),
            height=height,
            contradiction=describe_contradiction(proof),
            messages=describe_messages(proof),
        )
