"""Reading what lies in deploy/."""

from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


def load_all(path: Path) -> list[Any]:
    """Every document of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def load(path: Path) -> Any:
    """The one document of a YAML file."""
    (document,) = load_all(path)
    return document
