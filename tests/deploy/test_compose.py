"""deploy/compose, without an engine: it fits the Compose specification, and its nodes would find each other."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sequencer.config import load_node
from tests.deploy.manifests import DEPLOY, load

FILE = DEPLOY / "compose" / "compose.yaml"
STATE = "/var/lib/sequencer"


def read_specification() -> Any:
    """A package for checking files has it among others."""
    found = importlib.util.find_spec("check_jsonschema")
    assert found is not None
    assert found.origin is not None
    return json.loads((Path(found.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json").read_text())


@pytest.fixture(scope="module")
def compose() -> Any:
    return load(FILE)


@pytest.fixture(scope="module")
def nodes(compose: Any) -> dict[str, Any]:
    return {
        name: service for name, service in compose["services"].items() if "environment" in service and name[0] == "n"
    }


def test_it_fits_the_specification(compose: Any) -> None:
    jsonschema.validate(compose, read_specification())


def test_the_specification_would_notice(compose: Any) -> None:
    """So that the test above is about something."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(compose | {"services": {"n0": {"imagee": "x"}}}, read_specification())


def test_its_nodes_find_network_keys_and_each_other(compose: Any, nodes: dict[str, Any], tmp_path: Path) -> None:
    """The home is made by the very command of the service, and each node's settings are read as its process would."""
    (command,) = compose["services"]["home"]["command"]
    script = command.replace(STATE, str(tmp_path)).replace("sequencer init", f"{sys.executable} -m sequencer init")
    for _ in range(2):  # the second time there is nothing to be done
        subprocess.run(["sh", "-c", script], check=True, capture_output=True, cwd=DEPLOY.parent, timeout=60)
    assert len(nodes) == 4
    for name, service in nodes.items():
        start, folder = service["command"]
        assert start == "start"
        node = load_node(Path(folder.replace(STATE, str(tmp_path))), environ=service["environment"])
        assert node.config.validator == name
        assert node.key_path.exists()
        assert node.database_path.exists()
        assert {node.network.validators[peer].name: str(address) for peer, address in node.peers.items()} == {
            other: f"{other}:{node.listen.port}" for other in nodes if other != name
        }


def test_each_node_is_scraped_and_reachable_from_this_machine_only(compose: Any, nodes: dict[str, Any]) -> None:
    groups = json.loads((FILE.parent / "targets.json").read_text())
    targets = {group["labels"]["instance"]: group["targets"] for group in groups}
    assert targets == {name: [f"{name}:27700"] for name in nodes}
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_what_is_mounted_from_here_exists(compose: Any) -> None:
    sources = {
        volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", ())
    }
    files = {source for source in sources if source.startswith(".")}
    assert len(files) >= 4
    for source in files:
        assert (FILE.parent / source).exists(), source
    assert sources - files == set(compose["volumes"])


def test_nothing_runs_as_root_or_may_change_its_image(compose: Any) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert ":" in service["image"], f"{name} runs whatever is newest"
        assert not service["image"].endswith(":latest"), f"{name} runs whatever is newest"
