"""A typed client of the HTTP API, blocking and awaited, for one node or for several that stand in for each other.

    from sequencer.client import Client

    with Client(["http://127.0.0.1:27700", "http://127.0.0.1:27701"]) as client:
        client.submit(b"a transaction", wait_seconds=30)
        for block in client.stream_blocks(from_height=1, transactions="full"):
            ...

`calls` describes every request once; `blocking` and `awaited` make them over httpx. Answers are the shapes of
`sequencer.schema`. Importing this imports httpx, which takes a tenth of a second: commands do it when they need it.
"""

from sequencer.client.awaited import AsyncClient
from sequencer.client.batches import split_batches
from sequencer.client.blocking import Client
from sequencer.client.errors import ApiProblem, UnexpectedAnswer, Unreachable

__all__ = ["ApiProblem", "AsyncClient", "Client", "UnexpectedAnswer", "Unreachable", "split_batches"]
