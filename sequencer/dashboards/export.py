"""Prometheus' configuration, its rules, and Grafana's provisioning and dashboards, written out for one network.

They are files of the tree under deploy/, and of the installed package. Two things depend on where they go: where the
targets of the network are listed, and where Grafana finds the dashboards.
"""

import shutil
from pathlib import Path
from typing import Final

from sequencer.failures import CommandError, ExitCode

_FOLDERS: Final = (Path(__file__).parent / "deploy", Path(__file__).parents[2] / "deploy")
"""Of an installed package, and of a working copy."""
PROMETHEUS: Final = "prometheus"
GRAFANA: Final = "grafana"
CONFIG_FILE: Final = Path(PROMETHEUS) / "prometheus.yml"
PROVIDER_FILE: Final = Path(GRAFANA) / "provisioning" / "dashboards" / "sequencer.yml"
DASHBOARDS: Final = Path(GRAFANA) / "dashboards"
_TARGETS: Final = '"targets.json"'
_DASHBOARDS_IN_IMAGE: Final = "/var/lib/grafana/dashboards"


def find_source() -> Path:
    """The folder with `prometheus` and `grafana` in it."""
    for folder in _FOLDERS:
        if (folder / CONFIG_FILE).is_file():
            return folder
    raise CommandError("this installation is without the files for Prometheus and Grafana", ExitCode.INTERNAL)


def export(destination: Path, targets: Path) -> list[Path]:
    """Write everything below `destination`, over what a former export has written there; what else is there stays.

    `targets` is the file that Prometheus reads the nodes from. Returns the files, relative to `destination`. Raises
    `OSError`.
    """
    source = find_source()
    written: list[Path] = []
    for part in (PROMETHEUS, GRAFANA):
        for file in sorted((source / part).rglob("*")):
            relative = file.relative_to(source)
            if file.is_file() and relative.parts[1] != "tests":
                (destination / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, destination / relative)
                written.append(relative)
    _replace(destination / CONFIG_FILE, _TARGETS, f'"{targets.absolute()}"')
    _replace(destination / PROVIDER_FILE, _DASHBOARDS_IN_IMAGE, str((destination / DASHBOARDS).absolute()))
    return written


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    if old not in text:
        raise CommandError(f"{file} does not say {old}: it is not the one of this version", ExitCode.INTERNAL)
    file.write_text(text.replace(old, new), encoding="utf-8")
