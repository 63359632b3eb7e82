"""Routes of the API, as one ASGI application over a node."""

from typing import Final

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from sequencer.api.blocks import Blocks
from sequencer.api.faults import Faults
from sequencer.api.ledger import LedgerRoutes
from sequencer.api.light import LightRoutes
from sequencer.api.node_view import NodeView
from sequencer.api.operations import Operations
from sequencer.api.page import Page
from sequencer.api.problems import Problem, on_client_gone, on_error, on_http_exception, on_problem
from sequencer.api.records import Records
from sequencer.api.status import Status
from sequencer.api.submit import Submit
from sequencer.api.validators import Validators
from sequencer.directory import Directory
from sequencer.fault_log import FaultLog

_GET: Final = ["GET"]
_POST: Final = ["POST"]


def make_app(node: NodeView, closing: trio.Event, fault_log: FaultLog | None = None) -> Starlette:
    """`closing` tells requests that wait for finality that the node is going down: they answer at once."""
    directory = Directory(node.network)
    submit, blocks, status = Submit(node, directory, closing), Blocks(node, directory), Status(node, directory)
    ledger, validators = LedgerRoutes(node, directory), Validators(node, directory)
    operations, records = Operations(node, directory, closing), Records(node, directory)
    faults = Faults(fault_log)
    page, light = Page(), LightRoutes(node, directory)
    app = Starlette(
        routes=[
            Route("/v1/transactions", submit.one, methods=_POST),
            Route("/v1/transactions/batch", submit.batch, methods=_POST),
            Route("/v1/transactions/{hash}", submit.find, methods=_GET),
            Route("/v1/blocks", blocks.range, methods=_GET),
            Route("/v1/blocks/{block_id}", blocks.get, methods=_GET),
            Route("/v1/blocks/{block_id}/finality", light.finality, methods=_GET),
            Route("/v1/leaves/{block_id}", light.leaf, methods=_GET),
            Route("/v1/payloads/{block_id}", light.payload, methods=_GET),
            Route("/v1/epochs/{epoch}", light.epoch, methods=_GET),
            Route("/v1/epochs/{epoch}/snapshot", light.snapshot, methods=_GET),
            Route("/v1/status", status.status, methods=_GET),
            Route("/v1/ledger", ledger.ledger, methods=_GET),
            Route("/v1/accounts/{public_key}", ledger.account, methods=_GET),
            Route("/v1/committees", ledger.committees, methods=_GET),
            Route("/v1/schedule", ledger.schedule, methods=_GET),
            Route("/v1/validators", validators.list, methods=_GET),
            Route("/v1/validators/{name}", validators.get, methods=_GET),
            Route("/v1/operations", operations.submit, methods=_POST),
            Route("/v1/operations", operations.list, methods=_GET),
            Route("/v1/operations/{id}", operations.find, methods=_GET),
            Route("/v1/evidence", records.evidence, methods=_GET),
            Route("/v1/slashings", records.slashings, methods=_GET),
            Route("/v1/changes", records.changes, methods=_GET),
            Route("/v1/faults", faults.list, methods=_GET),
            Route("/", page.index, methods=_GET),
            Route("/web/{file}", page.file, methods=_GET),
            Route("/livez", status.livez, methods=_GET),
            Route("/readyz", status.readyz, methods=_GET),
            Route("/metrics", status.metrics, methods=_GET),
        ],
        exception_handlers={
            Problem: on_problem,
            HTTPException: on_http_exception,
            ClientDisconnect: on_client_gone,
            Exception: on_error,
        },
    )
    # One address for one thing: a trailing slash is another address, not a redirection.
    app.router.redirect_slashes = False
    return app
