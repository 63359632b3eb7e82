"""The OpenAPI 3.1 document, written from the table of routes.

Shapes come from `sequencer.schema` as JSON Schema 2020-12, problems from the catalogue, and an example of every answer
is made up from the examples of its fields.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from sequencer.api import problems
from sequencer.api.examples import make_example
from sequencer.api.parameters import Parameter
from sequencer.api.problems import Kind
from sequencer.api.route import TAGS, Answer, Body, PathParameter, Route
from sequencer.schema.problems import ProblemJson

Json = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
EVENTS_KEYWORD: Final = "x-event-data"
"""Of the schema of a stream: what stands as JSON in the data of its events. OpenAPI 3.1 has no word for that."""
_STATUS_TEXTS: Final = {
    400: "The request is wrong.",
    404: "There is no such thing.",
    406: "No form that the client accepts.",
    408: "The body took too long.",
    409: "The ledger refuses.",
    413: "Too large.",
    415: "A form that is not read here.",
    429: "Too much at once.",
    500: "A defect of the node.",
    503: "Not now.",
    504: "Not in time.",
}

_DESCRIPTION: Final = """\
Every node of the network serves this API, and all of them order the same transactions: ask any, and another one when it
does not answer.

**Forms.** Bytes are hexadecimal digits with 0x before them; in a request the 0x may be left out. Times that end in
`_ms` are milliseconds since 1970 in UTC, amounts are whole numbers in the smallest unit.

**Lists** come in pages: `next` is what to ask for next as `from`, null at the end. Names of parameters that are not
known are refused, so a mistake in spelling is never silent.

**Problems** are `application/problem+json` with a stable `code`; the `detail` says what to do. Reading and submitting
may be repeated at will: nothing is ordered twice.

**Limits** stand at GET /v1/limits and with each parameter here.

**Browsers** may call it from pages of any origin; it knows no cookies and no passwords.\
"""


def write_document(version: str, table: Sequence[Route]) -> Json:
    """The whole document. A row that misses something fails here, with `KeyError` or `ValueError`."""
    shapes = {shape: None for route in table for shape in _list_shapes(route)}
    _, schemas = msgspec.json.schema_components([*shapes, ProblemJson], ref_template=_REF)
    kinds = dict.fromkeys(kind for route in table for kind in route.kinds)
    schemas |= {_name_problem(kind): _describe_problem(kind) for kind in kinds}
    paths: dict[str, Json] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _describe_route(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sequencer",
            "summary": "A decentralised, self-healing sequencer for rollups.",
            "description": _DESCRIPTION,
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": _DIALECT,
        "servers": [{"url": "/", "description": "The node that serves this document."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def list_kinds() -> list[Kind]:
    """The whole catalogue of problems, those included that no route of its own answers with."""
    return [value for value in vars(problems).values() if isinstance(value, Kind)]


def _list_shapes(route: Route) -> Iterable[type[msgspec.Struct]]:
    for body in route.bodies:
        yield from body.shapes
    for answer in route.answers:
        yield from answer.shapes


def _describe_route(route: Route, schemas: Mapping[str, Json]) -> Json:
    operation: Json = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "description": route.description,
        "parameters": [
            *map(_describe_path_parameter, route.path_parameters),
            *map(_describe_parameter, route.parameters),
        ],
    }
    if route.bodies:
        content = {body.media_type: _describe_body(body, schemas) for body in route.bodies}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = _describe_answers(route.answers, schemas) | _describe_problems(route.kinds)
    return operation


def _describe_path_parameter(parameter: PathParameter) -> Json:
    return {
        "name": parameter.name,
        "in": "path",
        "required": True,
        "description": parameter.description,
        "schema": dict(parameter.schema),
        "example": parameter.example,
    }


def _describe_parameter(parameter: Parameter[Any]) -> Json:
    described: Json = {
        "name": parameter.name,
        "in": "query",
        "required": False,
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
    if parameter.example is not None:
        described["example"] = parameter.example
    return described


def _describe_body(body: Body, schemas: Mapping[str, Json]) -> Json:
    if body.schema is None:
        schema = _refer(body.shapes)
        return {"schema": schema, "example": body.example or make_example(schema, schemas)}
    described: Json = {"schema": {"description": body.description, **body.schema}}
    if body.example is not None:
        described["example"] = body.example
    return described


def _describe_answers(answers: Iterable[Answer], schemas: Mapping[str, Json]) -> Json:
    described: Json = {}
    for answer in answers:
        entry = described.setdefault(str(answer.status), {"description": answer.description, "content": {}})
        if answer.schema is not None:
            schema = dict(answer.schema)
            if answer.shapes:
                schema[EVENTS_KEYWORD] = _refer(answer.shapes)
            entry["content"][answer.media_type] = {"schema": schema}
        elif answer.shapes:
            schema = _refer(answer.shapes)
            entry["content"][answer.media_type] = {"schema": schema, "example": make_example(schema, schemas)}
    return described


def _describe_problems(kinds: Iterable[Kind]) -> Json:
    by_status: dict[int, list[Kind]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    return {str(status): _describe_status(status, by_status[status]) for status in sorted(by_status)}


def _describe_status(status: int, kinds: list[Kind]) -> Json:
    lines = "\n".join(f"- `{kind.code}`: {kind.title}. {kind.advice}" for kind in kinds)
    examples = {kind.code: {"value": _make_problem(kind)} for kind in kinds}
    refs = [{"$ref": _REF.format(name=_name_problem(kind))} for kind in kinds]
    described: Json = {
        "description": f"{_STATUS_TEXTS[status]}\n\n{lines}",
        "content": {
            problems.MEDIA_TYPE: {"schema": refs[0] if len(refs) == 1 else {"oneOf": refs}, "examples": examples}
        },
    }
    if status in problems.RETRY_STATUSES:
        text = "Seconds after which to try again."
        described["headers"] = {
            "Retry-After": {"description": text, "required": True, "schema": {"type": "integer", "minimum": 0}}
        }
    return described


def _describe_problem(kind: Kind) -> Json:
    """Closed: a problem has the standard members and those of its kind, and no other."""
    return {
        "title": _name_problem(kind),
        "description": f"{kind.title}. {kind.advice}",
        "allOf": [{"$ref": _REF.format(name=ProblemJson.__name__)}],
        "properties": {
            "type": {"const": f"urn:sequencer:problem:{kind.code}"},
            "title": {"const": kind.title},
            "status": {"const": kind.status},
            "code": {"const": kind.code},
            **(kind.members or {}),
        },
        "unevaluatedProperties": False,
    }


def _make_problem(kind: Kind) -> Json:
    return {
        "type": f"urn:sequencer:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "code": kind.code,
        "detail": kind.advice,
    }


def _name_problem(kind: Kind) -> str:
    return "Problem" + "".join(word.capitalize() for word in kind.code.split("_"))


def _refer(shapes: Sequence[type[msgspec.Struct]]) -> Json:
    refs = [{"$ref": _REF.format(name=shape.__name__)} for shape in shapes]
    return refs[0] if len(refs) == 1 else {"oneOf": refs}
