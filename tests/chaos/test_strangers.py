"""What a node does with what is too large is judged by its answer, and a node that takes it fails the run."""

import httpx
import pytest

from sequencer.chaos.strangers import submit_oversize
from sequencer.failures import CommandError

LIMITS = {"transaction_bytes_max": 100, "batch_bytes_max": 1000}


def make_node(status: int, sizes: list[int]) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=LIMITS)
        sizes.append(len(request.content))
        return httpx.Response(status)

    return httpx.MockTransport(answer)


async def test_what_is_refused_is_counted() -> None:
    sizes: list[int] = []
    assert await submit_oversize(["http://n0", "http://n1"], 11, transport=make_node(413, sizes)) == 22
    assert sorted(set(sizes)) == [101, 1001], "a byte more than the node says to take"


@pytest.mark.parametrize("status", [200, 202, 400, 500])
async def test_any_other_answer_fails_the_run(status: int) -> None:
    with pytest.raises(CommandError, match=f"answers {status} to 1001 bytes"):
        await submit_oversize(["http://n0"], 1, transport=make_node(status, []))
