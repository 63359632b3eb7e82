"""Validators: what they have at stake, how they stand and why, and how they have led."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from consensus.ledger import Ledger
from consensus.ledger.state import ValidatorState
from consensus.stake_table import StakeTable
from consensus.types import Epoch, ValidatorId
from sequencer.api.encoding import answer_json, to_hex
from sequencer.api.node_view import NodeView
from sequencer.api.parameters import Query, parse_integer
from sequencer.api.problems import VALIDATOR_NOT_FOUND, Problem
from sequencer.api.route import Answer, PathParameter, Route
from sequencer.directory import Directory
from sequencer.schema.validators import LeaderJson, OffenceJson, UnbondingJson, ValidatorJson, ValidatorsJson
from sequencer.standing import describe_standing

NAME: Final = PathParameter(
    "name", "Name of a validator, or its number.", {"type": "string", "minLength": 1, "maxLength": 80}, "n0"
)


class Validators:
    """The routes under /v1/validators."""

    def __init__(self, node: NodeView, directory: Directory) -> None:
        self._node = node
        self._directory = directory

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/v1/validators",
                handler=self.list,
                name="listValidators",
                tag="Stake",
                summary="All validators",
                description="What each has at stake, what its vote counts, how it stands and why, and how it has led.",
                answers=(Answer((ValidatorsJson,)),),
            ),
            Route(
                method="GET",
                path="/v1/validators/{name}",
                handler=self.get,
                name="getValidator",
                tag="Stake",
                summary="One validator",
                description="By its name or its number.",
                path_parameters=(NAME,),
                answers=(Answer((ValidatorJson,)),),
                problems=(VALIDATOR_NOT_FOUND,),
            ),
        )

    async def list(self, _request: Request, _query: Query) -> Response:
        ledger = self._look()
        table, following = ledger.table, ledger.find_table(Epoch(ledger.epoch + 1))
        described = [self._describe(validator, ledger, table, following) for validator in ledger.state.validators]
        answer = ValidatorsJson(
            ledger.epoch, table.total, table.success_threshold, table.one_honest_threshold, described
        )
        return answer_json(answer)

    async def get(self, request: Request, _query: Query) -> Response:
        ledger, name = self._look(), request.path_params["name"]
        validator_id = self._directory.id_of(name)
        number = parse_integer(name)
        if validator_id is None and number is not None:
            validator_id = ValidatorId(number)
        validator = None if validator_id is None else ledger.validators.get(validator_id)
        if validator is None:
            raise Problem(
                VALIDATOR_NOT_FOUND,
                f"{name[:80]!r} is no name or number of a validator. GET /v1/validators lists all of them.",
            )
        following = ledger.find_table(Epoch(ledger.epoch + 1))
        return answer_json(self._describe(validator, ledger, ledger.table, following))

    def _look(self) -> Ledger:
        ledger = self._node.status().ledger
        self._directory.update(ledger)
        return ledger

    def _describe(
        self, validator: ValidatorState, ledger: Ledger, table: StakeTable, following: StakeTable | None
    ) -> ValidatorJson:
        status, reason = describe_standing(validator, ledger)
        record, offence = validator.leader, validator.offence
        is_member = validator.id in table
        address = self._directory.address_of(validator.id)
        return ValidatorJson(
            id=validator.id,
            name=self._directory.name_of(validator.id),
            status=status,
            reason=reason,
            stake=validator.stake,
            weight=_weigh(validator.id, table),
            weight_next=_weigh(validator.id, following),
            owner=to_hex(validator.owner),
            public_key=to_hex(validator.public_key),
            voting_key=to_hex(table.get_validator(validator.id).public_key) if is_member else None,
            address=None if address is None else str(address),
            unbonding=[UnbondingJson(entry.amount, entry.payable) for entry in validator.unbonding],
            jailed_until=validator.jailed_until if status == "jailed" else None,
            offences=validator.offences,
            offence=None
            if offence is None
            else OffenceJson(offence.rule, offence.epoch, offence.stake, offence.slashed),
            leader=LeaderJson(
                missed=record.missed,
                benchings=record.benchings,
                bench_turns=record.bench_turns,
                window_slots=self._node.network.slashing.leader_window,
                window_misses=record.window.bit_count(),
                grace=record.grace,
                probation=record.probation,
            ),
        )


def _weigh(validator: ValidatorId, table: StakeTable | None) -> int:
    return 0 if table is None or validator not in table else table.get_stake(validator)
