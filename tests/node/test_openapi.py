"""The API's own description: nothing is served that is not in it, and nothing in it is wrong."""

import re
from collections.abc import Iterator
from typing import Any, cast

import jsonschema
import pytest
import trio
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from sequencer.api import problems
from sequencer.api.app import make_app, make_table
from sequencer.api.dispatch import Endpoint
from sequencer.api.examples import make_example
from sequencer.api.measuring import Measured
from sequencer.api.openapi import EVENTS_KEYWORD, list_kinds, write_document
from sequencer.api.origins import AnyOrigin
from sequencer.api.route import TAGS, Route
from tests.node.fake_node import FakeNode, make_client
from tests.node.test_api_status import assert_problem

TABLE = make_table(FakeNode(), trio.Event())
DOCUMENT = write_document("1.2.3", TABLE)
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    (method, path, operation) for path, methods in DOCUMENT["paths"].items() for method, operation in methods.items()
]
IDS = [operation["operationId"] for _, _, operation in OPERATIONS]


def is_valid(value: Any, schema: Any) -> bool:
    """By the document's own dialect, with its components in reach."""
    resource = Resource.from_contents(DOCUMENT, DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:document", resource)
    absolute = rewrite(schema)
    return jsonschema.Draft202012Validator(absolute, registry=registry).is_valid(value)


def rewrite(schema: Any) -> Any:
    """References within the document, seen from outside of it."""
    if isinstance(schema, dict):
        return {
            key: f"urn:document{value}" if key == "$ref" and value.startswith("#") else rewrite(value)
            for key, value in schema.items()
        }
    return [rewrite(item) for item in schema] if isinstance(schema, list) else schema


def walk_content(operation: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every media type of the request and the answers, with its content."""
    for holder in (operation.get("requestBody", {}), *operation["responses"].values()):
        yield from holder.get("content", {}).items()


def test_the_document_is_openapi() -> None:
    errors = [str(error) for error in OpenAPIV31SpecValidator(cast("Any", DOCUMENT)).iter_errors()]
    assert not errors


def test_everything_that_is_served_is_described() -> None:
    """The application is made from the table alone.

    So whoever adds an address to it beside the table is found here.
    """
    app = make_app(FakeNode(), trio.Event())
    assert isinstance(app, Measured)
    open_to_all = app._app
    assert isinstance(open_to_all, AnyOrigin)
    starlette = open_to_all._app
    assert isinstance(starlette, Starlette)
    served = set()
    upgraded = {route.path for route in TABLE if route.websocket is not None}
    for route in starlette.routes:
        if isinstance(route, WebSocketRoute):
            upgraded.remove(route.path)
            continue
        endpoint = vars(route)["app"]
        assert isinstance(endpoint, Endpoint), f"{route} does not come from the table"
        served |= {(method, vars(route)["path"]) for method in endpoint.methods if method != "HEAD"}
    assert not upgraded
    assert served == {(method.upper(), path) for method, path, _ in OPERATIONS}
    assert len(served) >= 24


def test_every_shape_is_in_the_document() -> None:
    """One definition: what a route answers with is what `sequencer.schema` says."""
    shapes = {shape.__name__ for route in TABLE for answer in route.answers for shape in answer.shapes}
    assert shapes <= set(SCHEMAS)
    assert len(shapes) >= 15


def test_a_stream_says_what_its_events_hold() -> None:
    for path, shape in (("/v1/stream/blocks", "BlockJson"), ("/v1/stream/views", "ViewJson")):
        content = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]
        refs = [entry["$ref"] for entry in content["schema"][EVENTS_KEYWORD]["oneOf"]]
        assert refs == [f"#/components/schemas/{name}" for name in (shape, "LaggingJson", "ClosingJson")]


@pytest.mark.parametrize("route", TABLE, ids=lambda route: route.name)
def test_a_path_and_its_parameters_agree(route: Route) -> None:
    assert re.findall(r"{(\w+)}", route.path) == [parameter.name for parameter in route.path_parameters]
    assert len(route.known) == len(route.parameters)
    for parameter in route.path_parameters:
        assert jsonschema.Draft202012Validator(dict(parameter.schema)).is_valid(parameter.example)


@pytest.mark.parametrize("route", TABLE, ids=lambda route: route.name)
def test_a_parameter_is_what_its_schema_says(route: Route) -> None:
    """The default and the example satisfy the schema, and the code reads them; beyond the bounds it refuses."""
    for parameter in route.parameters:
        validator = jsonschema.Draft202012Validator(dict(parameter.schema))
        assert parameter.schema.get("default", parameter.default) == parameter.default
        for value in (parameter.schema.get("default"), parameter.example, *parameter.schema.get("enum", ())):
            if value is not None:
                assert validator.is_valid(value)
                written = str(value).lower() if isinstance(value, bool) else str(value)
                assert str(parameter.parse(written)) == str(value)
        if "maximum" in parameter.schema:
            with pytest.raises(ValueError):
                parameter.parse(str(parameter.schema["maximum"] + 1))


async def test_every_bound_of_a_parameter_is_published_with_the_limits() -> None:
    """A client reads one answer, and knows how much it may ask for."""
    async with make_client(FakeNode()) as client:
        limits = (await client.get("/v1/limits")).json()
        assert (await client.get("/v1/status")).json()["limits"] == limits
    for route in TABLE:
        for parameter in route.parameters:
            if parameter.name in ("limit", "views", "timeout_s"):
                assert parameter.schema["maximum"] in limits.values(), f"{route.path}: {parameter.name}"


def test_names_are_unique_and_fit_a_program() -> None:
    assert len(set(IDS)) == len(IDS)
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name) for name in IDS)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_an_operation_says_what_it_does(method: str, path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert not operation["summary"].endswith(".")
    assert operation["description"].endswith(".")
    assert set(operation["tags"]) <= set(TAGS)
    assert ("requestBody" in operation) == (method == "post")
    assert any(status.startswith("2") for status in operation["responses"])
    for parameter in operation["parameters"]:
        assert parameter["description"].endswith("."), f"{path} {parameter['name']}"


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_every_failure_is_a_problem_with_its_codes(method: str, path: str, operation: dict[str, Any]) -> None:
    failures = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
    assert {"400", "500"} <= set(failures)
    for status, answer in failures.items():
        assert set(answer["content"]) == {problems.MEDIA_TYPE}
        content = answer["content"][problems.MEDIA_TYPE]
        for code, example in content["examples"].items():
            assert is_valid(example["value"], content["schema"])
            assert example["value"]["status"] == int(status)
            assert f"`{code}`" in answer["description"]
            assert not is_valid(example["value"] | {"surprise": 1}, content["schema"])


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_every_example_satisfies_its_schema(method: str, path: str, operation: dict[str, Any]) -> None:
    for media_type, content in walk_content(operation):
        assert content["schema"], f"{method} {path} {media_type}"
        if "example" in content:
            assert is_valid(content["example"], content["schema"]), content["example"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_example_of_every_shape_can_be_made_up(name: str) -> None:
    schema = SCHEMAS[name]
    if "allOf" not in schema:
        assert is_valid(make_example(schema, SCHEMAS), schema)


def test_every_kind_of_problem_advises_and_is_used() -> None:
    """A kind that no route names is one that the framework's own refusals need."""
    kinds = list_kinds()
    assert all(kind.advice.endswith(".") and kind.title[-1] != "." for kind in kinds)
    used = {kind for route in TABLE for kind in route.kinds}
    everywhere = {problems.BAD_REQUEST, problems.NOT_FOUND, problems.METHOD_NOT_ALLOWED}
    assert set(kinds) - used <= everywhere


async def test_the_document_and_the_page_are_served() -> None:
    async with make_client(FakeNode()) as client:
        assert (await client.get("/openapi.json")).json() == DOCUMENT
        page = await client.get("/docs", headers={"Accept": "text/html"})
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        for name, path in zip(IDS, (path for _, path, _ in OPERATIONS), strict=True):
            assert f"id='{name}'" in page.text
            assert path in page.text
        assert "curl -s 'http://node/v1/blocks/latest'" in page.text.replace("&#x27;", "'")


async def test_the_page_loads_nothing_and_runs_nothing() -> None:
    """An operator's browser may have no way to the internet, and the page has no need of one."""
    async with make_client(FakeNode()) as client:
        page = await client.get("/docs")
    assert not re.search(r"<(script|link|img|iframe|object)\b|\bsrc=|@import|url\(", page.text)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"href=(?!['\"]?[#/])", page.text)


async def test_the_page_escapes_the_name_by_which_it_was_asked_for() -> None:
    async with make_client(FakeNode()) as client:
        page = await client.get("/docs", headers={"Host": "a<script>'\"b"})
    assert "<script" not in page.text


async def test_a_page_of_another_origin_may_ask_and_submit() -> None:
    """A rollup's developer has a page of their own.

    The browser asks before it posts, and lets the page read every answer, failures too.
    """
    origin = {"Origin": "https://rollup.example"}
    async with make_client(FakeNode()) as client:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        preflight = await client.request("OPTIONS", "/v1/transactions", headers=origin | asked)
        assert preflight.status_code == 204
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
        assert "content-type" in preflight.headers["Access-Control-Allow-Headers"].lower()
        assert preflight.headers["Allow"] == "POST, OPTIONS"
        for path, status in (("/v1/status", 200), ("/v1/blocks?x=1", 400), ("/nowhere", 404)):
            answer = await client.get(path, headers=origin)
            assert answer.status_code == status
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_head_tells_what_get_would_answer() -> None:
    async with make_client(FakeNode()) as client:
        whole, head = await client.get("/v1/ledger"), await client.head("/v1/ledger")
        assert head.status_code == 200
        assert head.headers["Content-Length"] == str(len(whole.content))
        assert (await client.head("/v1/ledger?x=1")).status_code == 400


async def test_an_address_with_two_methods_names_both() -> None:
    async with make_client(FakeNode()) as client:
        response = await client.put("/v1/operations")
        assert_problem(response, 405, "method_not_allowed")
        assert response.headers["Allow"] == "POST, GET, HEAD, OPTIONS"
