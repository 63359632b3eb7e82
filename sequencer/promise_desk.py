"""Who is asked for a promise, and who is answered: between clients, this node and the next leader."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from consensus.member import Member
from consensus.messages import PromiseRequest, PromiseResponse, encode
from consensus.promises import Promise
from consensus.types import ValidatorId
from sequencer.metrics import NodeMetrics
from sequencer.payload import Hash, Transaction, compute_hashes
from sequencer.promise_watch import PromiseWatch
from sequencer.promises import ASKED_LEADERS, PromiseRefusedError, Promises
from sequencer.transport import Transport

ANSWER_SECONDS: Final = 1.0
"""For the leader's answer: a round trip and a sync take a tenth of it. A dead leader's view is over by then."""
WAITING_MAX: Final = 256
"""Requests that wait for an answer; more are left unanswered."""
REFUSAL_MAX: Final = 200


@dataclass(slots=True)
class _Question:
    leader: ValidatorId
    hash: Hash
    answered: trio.Event = field(default_factory=trio.Event)
    answer: PromiseResponse | None = None


class PromiseDesk:
    """Decides at once, and answers when that is written: what waits meanwhile shares the next write.

    This node's own clients are served as peers are. `accept` puts a transaction among the pending ones, or says why it
    does not.
    """

    def __init__(
        self,
        promises: Promises,
        watch: PromiseWatch,
        member: Member,
        validator_id: ValidatorId,
        transport: Transport,
        metrics: NodeMetrics,
        accept: Callable[[Transaction, Hash], str | None],
    ) -> None:
        self._promises = promises
        self._watch = watch
        self._member = member
        self._validator_id = validator_id
        self._transport = transport
        self._metrics = metrics
        self._accept = accept
        self._questions: dict[int, _Question] = {}
        self._next_number = 0
        self._send_answers, self._answers = trio.open_memory_channel[tuple[ValidatorId, PromiseResponse]](WAITING_MAX)

    async def ask(self, transaction: Transaction, hash_: Hash, beneficiary: bytes) -> Promise:
        """The promise of whoever proposes next, this node or a peer. Raises `PromiseRefusedError`."""
        question = _Question(self._choose_leader(), hash_)
        self._next_number += 1
        request = PromiseRequest(self._next_number, transaction, beneficiary)
        self._questions[request.number] = question
        try:
            if question.leader != self._validator_id:
                self._transport.send(question.leader, encode(request))
            elif not self.on_request(self._validator_id, request):
                raise PromiseRefusedError("too many wait for a promise of this node")
            with trio.move_on_after(ANSWER_SECONDS):
                await question.answered.wait()
        finally:
            del self._questions[request.number]
        if question.answer is None:
            raise PromiseRefusedError(f"the next leader has not answered within {ANSWER_SECONDS:g} s")
        promise = question.answer.promise
        if promise is None:
            raise PromiseRefusedError(question.answer.refusal)
        if question.leader != self._validator_id:
            self._watch.hold(promise, question.leader, hash_, beneficiary)
        return promise

    def on_request(self, sender: ValidatorId, request: PromiseRequest) -> bool:
        """What is promised here binds at once, before anything else is proposed. False when too many wait already."""
        if self._send_answers.statistics().current_buffer_used >= WAITING_MAX:
            return False
        self._send_answers.send_nowait((sender, self._answer(request)))
        return True

    def on_response(self, sender: ValidatorId, response: PromiseResponse) -> None:
        """What nobody asked for is forgotten."""
        question = self._questions.get(response.number)
        if question is not None and question.leader == sender:
            question.answer = response
            question.answered.set()

    async def run(self) -> None:
        """Answer until cancelled. Any exception that leaves here is fatal for the process (R8)."""
        async for asker, answer in self._answers:
            await self._promises.write()  # with everything that was promised meanwhile
            self._metrics.promises["given" if answer.promise else "refused"].inc()
            if asker == self._validator_id:
                self.on_response(asker, answer)
            else:
                self._transport.send(asker, encode(answer))

    def _choose_leader(self) -> ValidatorId:
        leaders = self._member.replica.compute_next_leaders(ASKED_LEADERS)
        if not leaders:
            raise PromiseRefusedError("this node does not know yet who leads")
        reachable = self._transport.connected | {self._validator_id}
        for leader in leaders:
            if leader in reachable:
                return leader
        raise PromiseRefusedError("none of the next leaders can be reached from this node")

    def _answer(self, request: PromiseRequest) -> PromiseResponse:
        """To be sent when it is written."""
        (hash_,) = compute_hashes([request.transaction])
        refusal = self._accept(request.transaction, hash_)
        if refusal is None:
            try:
                promise = self._promises.bind(request.transaction, hash_, request.beneficiary)
            except PromiseRefusedError as error:
                refusal = str(error)
            else:
                return PromiseResponse(request.number, promise, "")
        return PromiseResponse(request.number, None, refusal[:REFUSAL_MAX])
