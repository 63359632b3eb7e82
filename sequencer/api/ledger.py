"""The ledger (S1): epoch, mode, committees, money and accounts, and who leads next and why."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from consensus.epochs import compute_last_height
from consensus.ledger import Ledger
from consensus.ledger.state import compute_supply
from consensus.ledger.transition import compute_handback_term
from consensus.types import Epoch, ValidatorId
from sequencer.api.encoding import JSON_MEDIA_TYPE, parse_public_key, to_hex
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, check_accepts_json
from sequencer.api.problems import ACCOUNT_NOT_FOUND, NOT_READY, Problem
from sequencer.directory import Directory
from sequencer.schedule_view import forecast
from sequencer.schema.ledger import (
    AccountJson,
    CommitteesJson,
    EpochJson,
    LedgerJson,
    MemberJson,
    ModeJson,
    ScheduledJson,
    ScheduleJson,
)
from sequencer.standing import compute_first_height, describe_mode, describe_standing

SCHEDULE_VIEWS_MAX: Final = 256
SCHEDULE_VIEWS_DEFAULT: Final = 16


class LedgerRoutes:
    """The routes /v1/ledger, /v1/accounts, /v1/committees and /v1/schedule."""

    def __init__(self, node: NodeView, directory: Directory) -> None:
        self._node = node
        self._directory = directory
        self._parameters = node.network.ledger_parameters()

    async def ledger(self, request: Request) -> Response:
        check_accepts_json(request)
        Query(request)
        status = self._node.status()
        ledger, state = self._look(), status.ledger.state
        name_of, mode = self._directory.name_of, state.mode
        return _json(
            LedgerJson(
                height=status.decided_height,
                epoch=EpochJson(
                    ledger.epoch,
                    compute_first_height(ledger.epoch, self._parameters),
                    compute_last_height(ledger.epoch, self._parameters),
                ),
                mode=ModeJson(
                    name="fallback" if mode.is_fallback else "normal",
                    since_height=mode.since,
                    clean_leaves=mode.clean_leaves,
                    handback_leaves=compute_handback_term(mode, self._parameters.leadership),
                    relapses=mode.relapses,
                    reason=describe_mode(ledger, self._parameters),
                ),
                primary=list(map(name_of, state.primary)),
                fallback=list(map(name_of, state.fallback)),
                total_stake=ledger.total_stake,
                pool=state.pool,
                burned=state.burned,
                supply=compute_supply(state),
                seed=to_hex(state.seed),
                beacon=None if state.beacon is None else to_hex(state.beacon),
                commitment=to_hex(ledger.commitment),
                trusted=self._find_anchor(ledger.epoch),
            )
        )

    def _find_anchor(self, epoch: Epoch) -> str | None:
        ended = Epoch(epoch - 1)
        proof = self._node.find_epoch_proof(ended) if epoch else None
        return None if proof is None else f"{ended}:{to_hex(proof.leaf)}"

    async def committees(self, request: Request) -> Response:
        check_accepts_json(request)
        Query(request)
        ledger = self._look()
        state = ledger.state
        return _json(
            CommitteesJson(
                epoch=ledger.epoch,
                leading="fallback" if state.mode.is_fallback else "primary",
                turns=len(ledger.cycle),
                primary=[self._describe_member(member, ledger) for member in state.primary],
                fallback=[self._describe_member(member, ledger) for member in state.fallback],
            )
        )

    async def schedule(self, request: Request) -> Response:
        check_accepts_json(request)
        query = Query(request, frozenset({"views"}))
        count = query.read_integer("views", SCHEDULE_VIEWS_DEFAULT, least=1, most=SCHEDULE_VIEWS_MAX)
        outlook = self._node.outlook()
        if outlook is None:
            raise Problem(NOT_READY, "The block that the next proposal extends has not arrived. Ask again in a moment.")
        self._directory.update(outlook.ledger)
        views = forecast(outlook, self._parameters, self._directory, views_max=count)
        return _json(
            ScheduleJson(
                outlook.ledger.epoch,
                outlook.parent.height + 1,
                [ScheduledJson(entry.view, self._directory.name_of(entry.leader), entry.why) for entry in views],
            )
        )

    async def account(self, request: Request) -> Response:
        check_accepts_json(request)
        Query(request)
        public_key = parse_public_key(request.path_params["public_key"])
        ledger = self._look()
        account = ledger.accounts.get(public_key)
        if account is None:
            raise Problem(
                ACCOUNT_NOT_FOUND, f"No account {to_hex(public_key)} ever held anything; its next nonce would be 0."
            )
        name = next(
            (entry.name for entry in self._node.network.accounts if bytes.fromhex(entry.public_key) == public_key), None
        )
        owned = [entry.id for entry in ledger.state.validators if entry.owner == public_key]
        return _json(
            AccountJson(
                to_hex(public_key), name, account.balance, account.nonce, list(map(self._directory.name_of, owned))
            )
        )

    def _look(self) -> Ledger:
        ledger = self._node.status().ledger
        self._directory.update(ledger)
        return ledger

    def _describe_member(self, member: ValidatorId, ledger: Ledger) -> MemberJson:
        status, reason = describe_standing(ledger.validators[member], ledger)
        turns = ledger.cycle.count(member)
        return MemberJson(self._directory.name_of(member), ledger.stakes[member], turns, status, reason)


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type=JSON_MEDIA_TYPE)
