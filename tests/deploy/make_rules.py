"""Writes deploy/kubernetes/monitoring/rules.yaml: the rules of deploy/prometheus as the Prometheus operator has them.

python -m tests.deploy.make_rules
"""

from typing import Any

import yaml

from tests.deploy.manifests import DEPLOY, load

RULES = DEPLOY / "kubernetes" / "monitoring" / "rules.yaml"
_HEAD = "# Made of deploy/prometheus/rules by `python -m tests.deploy.make_rules`: change those.\n"


class _Dumper(yaml.SafeDumper):
    """Expressions over several lines stay readable."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def make_rules() -> str:
    """The whole file."""
    sources = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    groups: list[Any] = [group for source in sources for group in load(source)["groups"]]
    document = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "sequencer", "labels": {"app.kubernetes.io/name": "sequencer"}},
        "spec": {"groups": groups},
    }
    return _HEAD + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    RULES.write_text(make_rules())
