"""deploy/kubernetes, without a cluster: every object fits the API's schemas, and every pod's settings are read as its
process would read them. The whole is rendered by kustomize where that is installed.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from sequencer.config import NODE_FILE, load_node
from sequencer.home import HomePlan, create_home
from tests.deploy.make_rules import RULES, make_rules
from tests.deploy.manifests import DEPLOY, load, load_all

FOLDER = DEPLOY / "kubernetes"
VERSION = "1.33"
"""Of Kubernetes: one of those that are maintained. The label with the ordinal is there since 1.28."""
OPERATORS = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of the Prometheus operator, which the API's own schemas do not know."""
KUSTOMIZE = shutil.which("kustomize") or shutil.which(DEPLOY.parent / ".tools" / "kustomize")
FILES = sorted(path for path in FOLDER.glob("*/*.yaml") if path.name != "kustomization.yaml")

SERVICE_MONITOR = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "ServiceMonitor"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["selector", "endpoints"],
            "properties": {
                "selector": {"type": "object", "required": ["matchLabels"], "additionalProperties": False}
                | {"properties": {"matchLabels": {"type": "object"}}},
                "endpoints": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "port": {"type": "string"},
                            "path": {"type": "string"},
                            "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$"},
                            "scrapeTimeout": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$"},
                            "relabelings": {"type": "array"},
                        },
                    },
                },
            },
        },
    },
}
"""Of a ServiceMonitor as much as is used here. The rules of a PrometheusRule are promtool's affair."""

PROMTOOL = shutil.which("promtool") or shutil.which(DEPLOY.parent / ".tools" / "usr" / "bin" / "promtool")


def get_stateful_set() -> Any:
    return load(FOLDER / "base" / "stateful-set.yaml")


def get_template() -> Any:
    return get_stateful_set()["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.name != "make-database.yaml"], ids=lambda path: path.stem
)
def test_every_object_fits_the_schemas(path: Path) -> None:
    for document in load_all(path):
        if document["kind"] == "ServiceMonitor":
            jsonschema.validate(document, SERVICE_MONITOR)
        elif document["kind"] not in OPERATORS:
            kubernetes_validate.validate(document, VERSION, strict=True)


def test_the_schemas_would_notice() -> None:
    broken = get_stateful_set()
    broken["spec"]["replicaz"] = 4
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSION, strict=True)


def test_the_operator_gets_the_rules_that_prometheus_has() -> None:
    assert RULES.read_text() == make_rules(), "run: python -m tests.deploy.make_rules"


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_promtool_understands_the_rules_of_the_operator(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(load(RULES)["spec"]))
    result = subprocess.run(
        [str(PROMTOOL), "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(KUSTOMIZE is None, reason="kustomize is not installed")
@pytest.mark.parametrize("name", ["base", "first-start", "monitoring"])
def test_what_kustomize_renders_fits_the_schemas(name: str) -> None:
    rendered = subprocess.run(
        [str(KUSTOMIZE), "build", str(FOLDER / name)], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    documents = list(yaml.safe_load_all(rendered))
    kinds = {document["kind"] for document in documents}
    assert kinds >= {"StatefulSet", "Service", "PodDisruptionBudget", "ConfigMap", "NetworkPolicy", "Namespace"}
    for document in documents:
        if document["kind"] not in OPERATORS:
            kubernetes_validate.validate(document, VERSION, strict=True)
    (pods,) = [document["spec"]["template"]["spec"] for document in documents if document["kind"] == "StatefulSet"]
    names = [container["name"] for container in pods["initContainers"]]
    assert names == (["key", "database"] if name == "first-start" else ["key"])
    (config,) = [document["metadata"]["name"] for document in documents if document["kind"] == "ConfigMap"]
    assert {"name": config} in [volume.get("configMap") for volume in pods["volumes"]]


@pytest.mark.parametrize("ordinal", range(4))
def test_each_ordinal_is_its_own_validator_and_finds_the_others(ordinal: int, tmp_path: Path) -> None:
    """The paths of the pod, put under a folder; the variables, expanded as the kubelet does."""
    home = create_home(tmp_path / "home", HomePlan(stakes=(1,) * 4), lambda node: node.database_path.touch())
    node_file = (FOLDER / "base" / NODE_FILE).read_text()
    (tmp_path / NODE_FILE).write_text(node_file.replace("/etc/sequencer/network", str(home.path)))
    (container,) = get_template()["containers"]
    variables = {"POD_INDEX": str(ordinal)}
    for variable in container["env"][1:]:
        variables[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], variable["value"])
    node = load_node(tmp_path, environ=variables)
    assert node.config.validator == f"n{ordinal}"
    service, replicas = get_stateful_set()["spec"]["serviceName"], get_stateful_set()["spec"]["replicas"]
    assert {peer: str(address) for peer, address in node.peers.items()} == {
        peer: f"sequencer-{peer}.{service}:27600" for peer in range(replicas) if peer != ordinal
    }
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(node.key_path.parent) == mounts["run"]
    assert str(node.database_path.parent) == mounts["data"]
    assert (node.listen.port, node.api.port) == tuple(port["containerPort"] for port in container["ports"])


def test_the_key_is_handed_over_readable_by_the_node_alone(tmp_path: Path) -> None:
    """The script of the init container, run with the paths of this machine: what it leaves is as nodes want it."""
    home = create_home(tmp_path / "home", HomePlan(stakes=(1, 1)), lambda node: node.database_path.touch())
    (tmp_path / "keys").mkdir()
    (tmp_path / "run").mkdir()
    for node in home.nodes:
        shutil.copy(node.key_path, tmp_path / "keys" / f"{node.config.validator}.key")
        (tmp_path / "keys" / f"{node.config.validator}.key").chmod(0o440)
    init = get_template()["initContainers"][0]
    script = init["args"][0].replace("/keys", f"{tmp_path}/keys").replace("/run/sequencer", f"{tmp_path}/run")
    subprocess.run([*init["command"], script], env={"POD_INDEX": "1", "PATH": "/usr/bin:/bin"}, check=True, timeout=10)
    key = tmp_path / "run" / "validator.key"
    assert key.read_text() == home.nodes[1].key_path.read_text()
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_lost_disk_is_noticed_after_the_first_start() -> None:
    """Databases are made by the first start's patch, and by nothing in the base."""
    assert "database create" in (FOLDER / "first-start" / "make-database.yaml").read_text()
    assert not [path for path in (FOLDER / "base").glob("*") if "database create" in path.read_text()]


def test_as_many_may_be_drained_as_may_fail() -> None:
    budget = load(FOLDER / "base" / "disruption-budget.yaml")["spec"]
    assert budget["maxUnavailable"] == (get_stateful_set()["spec"]["replicas"] - 1) // 3


def test_pods_run_without_privileges() -> None:
    """What the namespace's `restricted` level asks for."""
    pods = get_template()
    assert pods["securityContext"]["runAsNonRoot"]
    assert pods["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    patch = load(FOLDER / "first-start" / "make-database.yaml")["spec"]["template"]["spec"]["initContainers"]
    for container in [*pods["initContainers"], *pods["containers"], *(each for each in patch if "image" in each)]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
