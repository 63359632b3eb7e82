"""Who is asked for a promise, and who is answered: between clients, this node and the next leader."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from consensus.member import Member
from consensus.messages import PromiseRequest, PromiseResponse, encode
from consensus.promises import Promise
from consensus.types import ValidatorId
from sequencer.payload import Hash, Transaction, compute_hashes
from sequencer.promises import PromiseRefusedError, Promises
from sequencer.transport import Transport

ANSWER_SECONDS: Final = 1.0
"""For the leader's answer: a round trip and a sync take a tenth of it. A dead leader's view is over by then."""
WAITING_MAX: Final = 256
"""Requests of peers that wait for an answer; more are left unanswered."""
REFUSAL_MAX: Final = 200


@dataclass(slots=True)
class _Question:
    leader: ValidatorId
    hash: Hash
    answered: trio.Event = field(default_factory=trio.Event)
    answer: PromiseResponse | None = None


class PromiseDesk:
    """`accept` puts a transaction among the pending ones, and says why it cannot be promised if that fails."""

    def __init__(
        self,
        promises: Promises,
        member: Member,
        validator_id: ValidatorId,
        transport: Transport,
        accept: Callable[[Transaction, Hash], str | None],
    ) -> None:
        self._promises = promises
        self._member = member
        self._validator_id = validator_id
        self._transport = transport
        self._accept = accept
        self._questions: dict[int, _Question] = {}
        self._next_number = 0
        self._send_requests, self._requests = trio.open_memory_channel[tuple[ValidatorId, PromiseRequest]](WAITING_MAX)

    async def ask(self, transaction: Transaction, hash_: Hash, beneficiary: bytes) -> Promise:
        """The promise of whoever proposes next, this node or a peer. Raises `PromiseRefusedError`."""
        leaders = self._member.replica.compute_next_leaders(1)
        if not leaders:
            raise PromiseRefusedError("this node does not know yet who leads")
        if leaders[0] == self._validator_id:
            return await self._promises.give(transaction, hash_, beneficiary)
        question = _Question(leaders[0], hash_)
        self._next_number += 1
        number = self._next_number
        self._questions[number] = question
        try:
            self._transport.send(question.leader, encode(PromiseRequest(number, transaction, beneficiary)))
            with trio.move_on_after(ANSWER_SECONDS):
                await question.answered.wait()
        finally:
            del self._questions[number]
        if question.answer is None:
            raise PromiseRefusedError(f"the next leader has not answered within {ANSWER_SECONDS:g} s")
        if question.answer.promise is None:
            raise PromiseRefusedError(question.answer.refusal)
        self._promises.hold(question.answer.promise, question.leader, hash_)
        return question.answer.promise

    def on_request(self, sender: ValidatorId, request: PromiseRequest) -> bool:
        """False when too many wait already."""
        try:
            self._send_requests.send_nowait((sender, request))
        except trio.WouldBlock:
            return False
        return True

    def on_response(self, sender: ValidatorId, response: PromiseResponse) -> None:
        """What nobody asked for is forgotten."""
        question = self._questions.get(response.number)
        if question is not None and question.leader == sender:
            question.answer = response
            question.answered.set()

    async def run(self) -> None:
        """Answer peers, one after the other."""
        async for sender, request in self._requests:
            self._transport.send(sender, encode(await self._answer(request)))

    async def _answer(self, request: PromiseRequest) -> PromiseResponse:
        (hash_,) = compute_hashes([request.transaction])
        refusal = self._accept(request.transaction, hash_)
        if refusal is None:
            try:
                promise = await self._promises.give(request.transaction, hash_, request.beneficiary)
            except PromiseRefusedError as error:
                refusal = str(error)
            else:
                return PromiseResponse(request.number, promise, "")
        return PromiseResponse(request.number, None, refusal[:REFUSAL_MAX])
