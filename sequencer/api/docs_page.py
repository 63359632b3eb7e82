"""The page at /docs: the OpenAPI document as plain HTML, without a script and without anything from elsewhere.

Routes stand by subject and open with a click or Enter (`<details>`), so the page works wherever HTML does.
"""

import json
import re
import shlex
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Any, Final
from urllib.parse import quote, urlencode

from sequencer.api.docs_style import STYLE

Json = Mapping[str, Any]

BASE_MARK: Final = "{{node}}"
"""Stands where the address of the node belongs."""
STYLE_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
"""By which a browser knows the one style sheet that the page may have."""


def render_page(document: Json) -> str:
    info, schemas = document["info"], document["components"]["schemas"]
    tags = (_render_tag(tag, document) for tag in document["tags"])
    shapes = (_render_shape(name, schema) for name, schema in schemas.items() if not _is_problem(schema))
    version, title = escape(info["version"]), escape(info["title"])
    body = (
        f"<header><h1>{title} API</h1><p>Version {version} · OpenAPI {document['openapi']}: "
        f"<a href=/openapi.json>/openapi.json</a></p></header><nav>{''.join(_render_links(document))}</nav><main>"
        f"{_render_text(info['description'])}{''.join(tags)}{_render_problems(schemas)}"
        f"<h2 id=shapes>Shapes</h2>{''.join(shapes)}</main>"
    )
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{title} API</title>"
        f"<meta name=viewport content='width=device-width, initial-scale=1'><meta name=color-scheme "
        f"content='light dark'><style>{STYLE}</style></head><body>{body}</body></html>"
    )


def _render_links(document: Json) -> Iterator[str]:
    used = {tag for _, _, operation in _walk(document) for tag in operation["tags"]}
    for tag in document["tags"]:
        if tag["name"] in used:
            yield f"<a href='#{_anchor(tag['name'])}'>{escape(tag['name'])}</a>"
    yield "<a href='#problems'>Problems</a><a href='#shapes'>Shapes</a>"


def _walk(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _render_tag(tag: Json, document: Json) -> str:
    shown = [entry for entry in _walk(document) if tag["name"] in entry[2]["tags"]]
    if not shown:
        return ""
    heading = f"<h2 id='{_anchor(tag['name'])}'>{escape(tag['name'])}</h2><p>{escape(tag['description'])}</p>"
    return heading + "".join(_render_operation(*entry) for entry in shown)


def _render_operation(method: str, path: str, operation: Json) -> str:
    answers = (_render_answer(status, answer) for status, answer in operation["responses"].items())
    return (
        f"<details id='{operation['operationId']}'><summary><b class={method.lower()}>{method}</b> "
        f"<code>{escape(path)}</code> <span>{escape(operation['summary'])}</span></summary>"
        f"{_render_text(operation['description'])}{_render_parameters(operation['parameters'])}"
        f"{_render_bodies(operation.get('requestBody', {}).get('content', {}))}<h4>Answers</h4>{''.join(answers)}"
        f"<h4>Try it</h4><pre><code>{escape(_make_curl(method, path, operation))}</code></pre></details>"
    )


def _render_parameters(parameters: Iterable[Json]) -> str:
    rows = [
        [
            f"<code>{escape(parameter['name'])}</code>",
            "in the path" if parameter["in"] == "path" else "query",
            _describe_type(parameter["schema"]),
            _render_inline(parameter["description"]),
        ]
        for parameter in parameters
    ]
    return "<h4>Parameters</h4>" + _render_table(["Name", "Where", "Type", "Meaning"], rows) if rows else ""


def _render_bodies(content: Json) -> str:
    parts = ["<h4>Body</h4>"] if content else []
    for media_type, body in content.items():
        parts.append(f"<p><code>{escape(media_type)}</code>: {_describe_type(body['schema'])}</p>")
        if "description" in body["schema"]:
            parts.append(_render_text(body["schema"]["description"]))
        if "example" in body:
            parts.append(f"<pre><code>{escape(_write_example(body['example']))}</code></pre>")
    return "".join(parts)


def _render_answer(status: str, answer: Json) -> str:
    parts = [f"<div class=answer><b>{status}</b> {_render_text(answer['description'])}"]
    for media_type, content in answer.get("content", {}).items():
        if int(status) < 400:
            parts.append(f"<p><code>{escape(media_type)}</code>: {_describe_type(content['schema'])}</p>")
            if "example" in content:
                parts.append(_render_example(content["example"]))
    return "".join([*parts, "</div>"])


def _render_example(example: Any) -> str:
    return f"<pre><code>{escape(json.dumps(example, indent=2, ensure_ascii=False))}</code></pre>"


def _write_example(body: Any) -> str:
    """A body as it is sent: text, lines or JSON."""
    match body:
        case str():
            return body
        case list():
            return "\n".join(map(str, body))
        case _:
            return json.dumps(body, ensure_ascii=False)


def _render_problems(schemas: Json) -> str:
    rows = []
    for schema in schemas.values():
        if _is_problem(schema):
            fields = schema["properties"]
            code = fields["code"]["const"]
            members = [name for name in fields if name not in ("type", "title", "status", "code")]
            rows.append(
                [
                    f"<code id='problem-{code}'>{code}</code>",
                    str(fields["status"]["const"]),
                    _render_inline(schema["description"]),
                    ", ".join(f"<code>{escape(name)}</code>" for name in members),
                ]
            )
    rows.sort(key=lambda row: (row[1], row[0]))
    text = "<h2 id=problems>Problems</h2><p>Programs go by the code; it never changes.</p>"
    return text + _render_table(["Code", "Status", "What it means, and what to do", "More members"], rows)


def _is_problem(schema: Json) -> bool:
    return "unevaluatedProperties" in schema


def _render_shape(name: str, schema: Json) -> str:
    required = schema.get("required", ())
    rows = [
        [
            f"<code>{escape(field)}</code>{'' if field in required else ' <small>optional</small>'}",
            _describe_type(described),
            _render_inline(described.get("description", "")),
        ]
        for field, described in schema.get("properties", {}).items()
    ]
    text = _render_text(schema.get("description", ""))
    table = _render_table(["Field", "Type", "Meaning"], rows)
    # The target of a link is within, where it makes a browser open what was closed.
    return f"<details><summary><code>{name}</code></summary><div id='shape-{name}'>{text}{table}</div></details>"


def _describe_type(schema: Json) -> str:
    """A JSON Schema in a few words, as HTML."""
    match schema:
        case {"x-event-data": data}:
            return f"events with {_describe_type(data)}"
        case {"$ref": str(ref)}:
            name = escape(ref.rpartition("/")[2])
            return f"<a href='#shape-{name}'>{name}</a>"
        case {"anyOf": alternatives} | {"oneOf": alternatives}:
            return " or ".join(map(_describe_type, alternatives))
        case {"const": value}:
            return f"<code>{escape(json.dumps(value))}</code>"
        case {"enum": values}:
            words = " or ".join(f"<code>{escape(str(value))}</code>" for value in values)
            return words + (f", else <code>{escape(str(schema['default']))}</code>" if "default" in schema else "")
        case {"type": "array", "items": items}:
            most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
            return f"list of {_describe_type(items)}{most}"
        case _:
            return escape(_describe_scalar(schema))


def _describe_scalar(schema: Json) -> str:
    words = [str(schema.get("type", "anything"))]
    bounds = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "maxLength": "at most",
        "default": "else",
    }
    words += [f"{word} {_write_number(schema[key])}" for key, word in bounds.items() if key in schema]
    return " ".join(words)


def _write_number(value: object) -> str:
    return "2⁶³ - 1" if value == 2**63 - 1 else json.dumps(value)


def _render_table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    cells = "".join(f"<tr>{''.join(f'<td>{cell}' for cell in row)}" for row in rows)
    return f"<div class=wide><table><tr>{''.join(f'<th scope=col>{name}' for name in head)}{cells}</table></div>"


def _render_text(text: str) -> str:
    """Paragraphs and lists of the little Markdown that descriptions use."""
    parts = []
    for block in filter(None, text.split("\n\n")):
        if block.startswith("- "):
            items = "".join(f"<li>{_render_inline(item)}" for item in block.removeprefix("- ").split("\n- "))
            parts.append(f"<ul>{items}</ul>")
        else:
            parts.append(f"<p>{_render_inline(block)}</p>")
    return "".join(parts)


def _render_inline(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)


def _make_curl(method: str, path: str, operation: Json) -> str:
    """A command that can be pasted into a shell."""
    examples = {
        (entry["in"], entry["name"]): entry["example"] for entry in operation["parameters"] if "example" in entry
    }
    for (where, name), example in examples.items():
        if where == "path":
            path = path.replace(f"{{{name}}}", quote(str(example)))
    query = urlencode({name: example for (where, name), example in examples.items() if where == "query"})
    url = BASE_MARK + path + (f"?{query}" if query else "")
    words = ["curl", "-s", f"'{url}'"]
    if method == "POST":
        for media_type, body in operation["requestBody"]["content"].items():
            if "example" in body:
                data = _write_example(body["example"])
                words += ["-H", shlex.quote(f"Content-Type: {media_type}"), "--data-binary", shlex.quote(data)]
                break
    return " ".join(words)


def _anchor(name: str) -> str:
    return quote(name.lower())
