"""Where Prometheus finds the nodes of a devnet: HOME/prometheus/targets.json, for its file_sd."""

import json
from urllib.parse import urlsplit

from sequencer.local_cluster.cluster import LocalCluster
from sequencer.local_cluster.home import TARGETS_FILE


def write_targets(cluster: LocalCluster) -> None:
    """All nodes of the cluster, put in place in one step: Prometheus reads it whenever it changes."""
    path = cluster.home.path / TARGETS_FILE
    network = cluster.home.network.name
    content = [
        {"targets": [urlsplit(cluster.url(name)).netloc], "labels": {"network": network, "instance": name}}
        for name in cluster.names
    ]
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f".{path.name}.new")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
