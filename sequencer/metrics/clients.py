"""What clients ask of the API, and how long they wait for it."""

from typing import Final

from prometheus_client import CollectorRegistry

from sequencer.metrics.entries import OTHER, Entry, Section

METHODS: Final = ("GET", "POST")
NO_ANSWER: Final = "none"
"""The client has gone before there was one."""
CODES: Final = ("2xx", "3xx", "4xx", "5xx", NO_ANSWER)

REQUESTS: Final = Entry(
    "sequencer_http_requests",
    "counter",
    "Requests to the API that are over, by method and class of the answer; none: the client had gone.",
    "5xx are trouble of the node: it goes down, is not ready, or has a defect that its log tells. 4xx are clients'.",
    ("method", "code"),
)
REQUEST_SECONDS: Final = Entry(
    "sequencer_http_request_seconds",
    "histogram",
    "From a request's head to the end of its answer. Streams, and requests that wait for finality, are not in it.",
    "Some milliseconds. More: the node's one core is busy, see the lag of its scheduler; or clients read slowly.",
    ("method",),
)
STREAM_READERS: Final = Entry(
    "sequencer_stream_readers",
    "gauge",
    "Readers of streams that are connected, over SSE and WebSocket together.",
    "At `streams_max` of /v1/status further ones are refused: follow another node.",
)

SECTION: Final = Section("Clients", (REQUESTS, REQUEST_SECONDS, STREAM_READERS))


class Clients:
    def __init__(self, registry: CollectorRegistry) -> None:
        requests = REQUESTS.counter(registry)
        seconds = REQUEST_SECONDS.histogram(registry)
        self._requests = {
            (method, code): requests.labels(method, code) for method in (*METHODS, OTHER) for code in CODES
        }
        self._seconds = {method: seconds.labels(method) for method in (*METHODS, OTHER)}
        self.stream_readers = STREAM_READERS.gauge(registry)

    def on_request(self, method: str, status: int | None, seconds: float | None) -> None:
        """One is over. `status` is None when there was no answer, `seconds` when its length says nothing."""
        known = method if method in METHODS else OTHER
        self._requests[known, NO_ANSWER if status is None else CODES[min(max(status // 100, 2), 5) - 2]].inc()
        if seconds is not None:
            self._seconds[known].observe(seconds)
