"""Logs go to stderr: a line of JSON each, or readable text when a person is looking."""

import logging
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def configure_logging(
    level: str, stream: TextIO = sys.stderr, *, names: Mapping[int, str] | None = None, **fields: str
) -> None:
    """Route structlog and the standard library's loggers to `stream`. `fields` stand on every line.

    `level` is the least severity that is written: debug, info, warning or error. `names` are those of the validators,
    which parts of the node know by number.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if stream.isatty():
        last: list[Processor] = [structlog.dev.ConsoleRenderer()]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            _PeerNames(names or {}),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**fields)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class _PeerNames:
    """Puts a validator's name where a line has its number."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = names

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        peer = line.get("peer")
        if isinstance(peer, int):
            line["peer"] = self._names.get(peer, peer)
        return line
