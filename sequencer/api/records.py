"""What happened: changes of the ledger, slashings among them, and evidence (J4). The node remembers the newest ones."""

from collections.abc import Callable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from consensus.evidence import Evidence, compute_evidence_id, get_rule
from consensus.types import Height
from sequencer.api.encoding import answer_json, to_hex
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query
from sequencer.api.proofs import describe_contradiction, describe_messages
from sequencer.api.record_cursor import FROM, LIMIT, take_page
from sequencer.api.route import Answer, Route
from sequencer.directory import Directory
from sequencer.ledger_log import CHANGES_KEPT_MAX, ChangeEntry
from sequencer.schema.records import ChangeJson, ChangesJson, EvidenceJson, EvidenceListJson

_SLASHING_KINDS: Final = frozenset({"slashed", "jailed", "tombstoned", "released", "unjailed", "compensated"})
"""Changes by which somebody loses stake or liberty, or gets them back."""


class Records:
    """The routes /v1/changes, /v1/slashings and /v1/evidence."""

    def __init__(self, node: NodeView, directory: Directory) -> None:
        self._node = node
        self._directory = directory
        self._included: dict[tuple[int, str], EvidenceJson] = {}
        """Proofs in decided leaves by height and offender: as many as there are changes to tell of."""

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/v1/changes",
                handler=self.changes,
                name="listChanges",
                tag="Records",
                summary="Changes of the ledger",
                description="Benchings, slashings, bonds, switches between the committees and all else that the "
                "ledger did, with the reason in words. The node remembers the newest ones since it "
                "started.",
                parameters=(FROM, LIMIT),
                answers=(Answer((ChangesJson,)),),
            ),
            Route(
                method="GET",
                path="/v1/slashings",
                handler=self.slashings,
                name="listSlashings",
                tag="Records",
                summary="Who lost stake or liberty, or got them back",
                description="Of the changes: slashed, jailed, tombstoned, released, unjailed and compensated.",
                parameters=(FROM, LIMIT),
                answers=(Answer((ChangesJson,)),),
            ),
            Route(
                method="GET",
                path="/v1/evidence",
                handler=self.evidence,
                name="listEvidence",
                tag="Records",
                summary="Proofs of broken rules",
                description="Those that wait for a leaf, all of them, and page by page those that have been punished "
                "since the node started.",
                parameters=(FROM, LIMIT),
                answers=(Answer((EvidenceListJson,)),),
            ),
        )

    async def changes(self, _request: Request, query: Query) -> Response:
        return self._answer(query, lambda entry: True)

    async def slashings(self, _request: Request, query: Query) -> Response:
        return self._answer(query, lambda entry: entry.kind in _SLASHING_KINDS)

    async def evidence(self, _request: Request, query: Query) -> Response:
        self._directory.update(self._node.status().ledger)
        punished = [entry for entry in self._node.recent_changes() if entry.kind == "tombstoned"]
        keys = {(entry.height, str(entry.fields["validator"])) for entry in punished}
        self._included = {key: proof for key, proof in self._included.items() if key in keys}
        page, following = take_page(punished, query.read(FROM), query.read(LIMIT))
        pending = [self._describe(proof) for proof in self._node.pending_evidence()]
        return answer_json(EvidenceListJson(pending, [self._find_included(entry) for entry in page], following))

    def _answer(self, query: Query, is_wanted: Callable[[ChangeEntry], bool]) -> Response:
        kept = self._node.recent_changes()
        page, following = take_page(list(filter(is_wanted, kept)), query.read(FROM), query.read(LIMIT))
        shown = [ChangeJson(entry.height, entry.kind, entry.fields, entry.reason) for entry in page]
        # Of the oldest height some changes may have been forgotten, once the memory is full.
        complete_from = kept[0].height + (len(kept) >= CHANGES_KEPT_MAX) if kept else None
        return answer_json(ChangesJson(complete_from, shown, following))

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
