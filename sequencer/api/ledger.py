"""The ledger (S1): epoch, mode, committees, money and accounts, and who leads next and why."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from consensus.epochs import compute_last_height
from consensus.ledger import Ledger
from consensus.ledger.state import compute_supply
from consensus.ledger.transition import compute_handback_term
from consensus.types import Epoch, ValidatorId
from sequencer.api.encoding import answer_json, parse_public_key, to_hex
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, integer
from sequencer.api.problems import ACCOUNT_NOT_FOUND, BAD_PUBLIC_KEY, NOT_READY, Problem
from sequencer.api.route import Answer, PathParameter, Route
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

PUBLIC_KEY: Final = PathParameter(
    "public_key",
    "Hexadecimal digits of an account's public key, with or without 0x; of Ed25519 there are 64.",
    {"type": "string", "pattern": "^(0x)?([0-9a-fA-F]{2}){16,96}$"},
    "0x3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29",
)
_VIEWS: Final = integer(
    "views", "How many views to tell.", default=SCHEDULE_VIEWS_DEFAULT, least=1, most=SCHEDULE_VIEWS_MAX, example=4
)


class LedgerRoutes:
    """The routes /v1/ledger, /v1/accounts, /v1/committees and /v1/schedule."""

    def __init__(self, node: NodeView, directory: Directory) -> None:
        self._node = node
        self._directory = directory
        self._parameters = node.network.ledger_parameters()

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/v1/ledger",
                handler=self.ledger,
                name="getLedger",
                tag="Ledger",
                summary="The ledger",
                description="After the latest finalized block: epoch, who has the lead and why, committees, and "
                "where all the money is.",
                answers=(Answer((LedgerJson,)),),
            ),
            Route(
                method="GET",
                path="/v1/accounts/{public_key}",
                handler=self.account,
                name="getAccount",
                tag="Ledger",
                summary="One account",
                description="What it has, and the nonce that its next operation must bear.",
                path_parameters=(PUBLIC_KEY,),
                answers=(Answer((AccountJson,)),),
                problems=(BAD_PUBLIC_KEY, ACCOUNT_NOT_FOUND),
            ),
            Route(
                method="GET",
                path="/v1/committees",
                handler=self.committees,
                name="getCommittees",
                tag="Consensus",
                summary="Both committees of this epoch",
                description="Who may lead, with what weight, how many turns each has in one round, and how each "
                "stands.",
                answers=(Answer((CommitteesJson,)),),
            ),
            Route(
                method="GET",
                path="/v1/schedule",
                handler=self.schedule,
                name="getSchedule",
                tag="Consensus",
                summary="Who leads next, and why",
                description="The next views, provided that each succeeds: a view that is skipped may change all that"
                " follow.",
                parameters=(_VIEWS,),
                answers=(Answer((ScheduleJson,)),),
                problems=(NOT_READY,),
            ),
        )

    async def ledger(self, _request: Request, _query: Query) -> Response:
        status = self._node.status()
        ledger, state = self._look(), status.ledger.state
        name_of, mode = self._directory.name_of, state.mode
        return answer_json(
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

    async def committees(self, _request: Request, _query: Query) -> Response:
        ledger = self._look()
        state = ledger.state
        return answer_json(
            CommitteesJson(
                epoch=ledger.epoch,
                leading="fallback" if state.mode.is_fallback else "primary",
                turns=len(ledger.cycle),
                primary=[self._describe_member(member, ledger) for member in state.primary],
                fallback=[self._describe_member(member, ledger) for member in state.fallback],
            )
        )

    async def schedule(self, _request: Request, query: Query) -> Response:
        count = query.read(_VIEWS)
        outlook = self._node.outlook()
        if outlook is None:
            raise Problem(NOT_READY, "The block that the next proposal extends has not arrived. Ask again in a moment.")
        self._directory.update(outlook.ledger)
        views = forecast(outlook, self._parameters, self._directory, views_max=count)
        return answer_json(
            ScheduleJson(
                outlook.ledger.epoch,
                outlook.parent.height + 1,
                [ScheduledJson(entry.view, self._directory.name_of(entry.leader), entry.why) for entry in views],
            )
        )

    async def account(self, request: Request, _query: Query) -> Response:
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
        return answer_json(
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
