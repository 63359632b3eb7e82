"""Examples that nobody has to write: what a JSON Schema says of itself, made into a value that satisfies it."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]


def make_example(schema: Schema, schemas: Mapping[str, Any]) -> Any:
    """Of every alternative the first, of every list one item. `schemas` are those that a `$ref` may name.

    Raises `ValueError` for a schema that says neither an example nor a type that one can be made up for.
    """
    match schema:
        case {"$ref": str(ref)}:
            return make_example(schemas[ref.rpartition("/")[2]], schemas)
        case {"examples": [example, *_]} | {"const": example} | {"enum": [example, *_]}:
            return example
        case {"anyOf": [first, *_]} | {"oneOf": [first, *_]}:
            return make_example(first, schemas)
        case {"type": "object", "properties": properties}:
            return {name: make_example(field, schemas) for name, field in properties.items()}
        case {"type": "array", "items": items}:
            return [make_example(items, schemas)]
        case {"type": "array", "prefixItems": items}:
            return [make_example(item, schemas) for item in items]
        case {"type": "object"}:
            return {}
        case {"type": "integer", "minimum": least}:
            return least
        case {"type": "integer" | "number"}:
            return 0
        case {"type": "boolean"}:
            return True
        case {"type": "string"}:
            return "…"
        case _:
            raise ValueError(f"no example can be made up for {schema}")
