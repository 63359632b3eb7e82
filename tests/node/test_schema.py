"""The shapes of the API's JSON: complete for a reader, and free of the server."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import sequencer.schema

FOLDER = Path(sequencer.schema.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def list_shapes() -> list[type[msgspec.Struct]]:
    shapes: dict[str, type[msgspec.Struct]] = {}
    for module in MODULES:
        names = vars(__import__(f"sequencer.schema.{module}", fromlist=["*"]))
        shapes |= {
            name: shape
            for name, shape in names.items()
            if isinstance(shape, type) and issubclass(shape, msgspec.Struct) and shape is not msgspec.Struct
        }
    return [shapes[name] for name in sorted(shapes)]


def schema_of(shape: type[msgspec.Struct]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([shape])
    schema: dict[str, Any] = components[shape.__name__]
    return schema


@pytest.mark.parametrize("shape", list_shapes(), ids=lambda shape: shape.__name__)
def test_every_field_says_what_it_means(shape: type[msgspec.Struct]) -> None:
    """A developer reads the document and nothing else.

    So every shape and every field of it has a sentence there.
    """
    schema = schema_of(shape)
    assert schema.get("description", "").endswith("."), f"{shape.__name__} has no docstring"
    for name, field in schema.get("properties", {}).items():
        text = field.get("description", "")
        is_tag = name == shape.__struct_config__.tag_field
        assert is_tag or text.endswith((".", ")")), f"{shape.__name__}.{name} is described as {text!r}"


def test_shapes_know_no_server() -> None:
    """A client imports the shapes: neither Starlette nor trio comes with them."""
    program = f"import sys\nfrom sequencer.schema import {', '.join(MODULES)}\n"
    program += "assert not {'starlette', 'trio', 'anycorn', 'httpx', 'consensus'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
