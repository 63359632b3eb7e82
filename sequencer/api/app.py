"""The API as one ASGI application over a node: the table of its routes, and all that is made from it."""

from typing import Final

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from sequencer.api.blocks import Blocks
from sequencer.api.dispatch import make_fallback, make_routes
from sequencer.api.documents import Documents
from sequencer.api.faults import Faults
from sequencer.api.ledger import LedgerRoutes
from sequencer.api.light import LightRoutes
from sequencer.api.measuring import Measured
from sequencer.api.namespaces import Namespaces
from sequencer.api.node_view import NodeView
from sequencer.api.operations import Operations
from sequencer.api.origins import AnyOrigin
from sequencer.api.page import Page
from sequencer.api.problems import Problem, on_client_gone, on_error, on_http_exception, on_problem
from sequencer.api.records import Records
from sequencer.api.route import Route
from sequencer.api.status import Status
from sequencer.api.streaming.pump import Pump
from sequencer.api.streaming.routes import Streams
from sequencer.api.submit import Submit
from sequencer.api.validators import Validators
from sequencer.api.views import Views
from sequencer.directory import Directory
from sequencer.fault_log import FaultLog

_HANDLERS: Final = {
    Problem: on_problem,
    HTTPException: on_http_exception,
    ClientDisconnect: on_client_gone,
    Exception: on_error,
}


def make_table(
    node: NodeView, closing: trio.Event, fault_log: FaultLog | None = None, pump: Pump | None = None
) -> tuple[Route, ...]:
    """Everything that a node serves, in the order in which the document shows it."""
    directory = Directory(node.network)
    blocks, views = Blocks(node, directory), Views(node, directory)
    groups = (
        Submit(node, directory, closing),
        blocks,
        Namespaces(node),
        LightRoutes(node, directory),
        views,
        Streams(node, directory, blocks, views, pump or Pump()),
        LedgerRoutes(node, directory),
        Validators(node, directory),
        Operations(node, directory, closing),
        Records(node, directory),
        Faults(fault_log),
        Status(node, directory),
        Page(),
    )
    described = tuple(route for group in groups for route in group.routes())
    return described + Documents(node.version, described).routes()


def make_app(
    node: NodeView, closing: trio.Event, fault_log: FaultLog | None = None, pump: Pump | None = None
) -> ASGIApp:
    """`closing` tells requests that wait for finality that the node is going down: they answer at once. Streams begin,
    and flow as long as `pump` runs.
    """
    table = make_table(node, closing, fault_log, pump)
    app = Starlette(routes=make_routes(table), exception_handlers=dict(_HANDLERS))
    # One address for one thing: a trailing slash is another address, not a redirection.
    app.router.redirect_slashes = False
    app.router.default = make_fallback(table)
    # Around everything: also a page that meets a defect of ours is to hear of it.
    return Measured(AnyOrigin(app), node.metrics.clients)
