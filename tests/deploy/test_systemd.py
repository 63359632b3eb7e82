"""deploy/systemd: systemd's own tools read the unit and like it; they are asked where they are installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sequencer.config import load_node
from sequencer.failures import ExitCode
from sequencer.home import HomePlan, create_home
from tests.deploy.manifests import DEPLOY

UNIT = DEPLOY / "systemd" / "sequencer@.service"
EXPOSURE_MAX = 2.0
"""systemd's own measure, 0 to 10; a unit without any confinement has 9.6."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@needs_systemd
def test_the_unit_is_understood(tmp_path: Path) -> None:
    unit = tmp_path / "sequencer@n1.service"
    unit.write_text(UNIT.read_text().replace("/opt/sequencer/bin/sequencer", "/bin/true"))
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False, timeout=60
    )
    complaints = [line for line in result.stderr.splitlines() if unit.name in line]
    assert not complaints


@needs_systemd
def test_the_unit_leaves_little_open() -> None:
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout[-2000:]


def read_service() -> dict[str, list[str]]:
    """Every setting of the section with all its values."""
    lines: dict[str, list[str]] = {}
    for line in UNIT.read_text().split("[Service]")[1].split("[Install]")[0].splitlines():
        key, found, value = line.partition("=")
        if found and not line.startswith("#"):
            lines.setdefault(key, []).append(value)
    return lines


def test_its_environment_leads_to_the_credential_and_the_state(tmp_path: Path) -> None:
    """The specifiers of the manager, put in by hand: key from the credentials, database from the state folder."""
    home = create_home(tmp_path / "home", HomePlan(stakes=(1,)), lambda node: node.database_path.touch())
    pairs = (entry.split("=", 1) for entry in read_service()["Environment"])
    environment = {
        name: value.replace("%d", str(tmp_path / "credentials")).replace("%S", str(tmp_path)).replace("%i", "n0")
        for name, value in pairs
    }
    node = load_node(home.path / "n0", environ=environment)
    assert node.key_path == tmp_path / "credentials" / "validator.key"
    assert node.database_path == tmp_path / "sequencer" / "n0" / "node.db"
    (credential,) = read_service()["LoadCredential"]
    assert credential.startswith(f"{node.key_path.name}:")


def test_what_no_restart_mends_is_not_restarted() -> None:
    assert read_service()["RestartPreventExitStatus"] == [f"{ExitCode.USAGE:d} {ExitCode.UNSAFE:d}"]
