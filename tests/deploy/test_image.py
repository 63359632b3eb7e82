"""deploy/Dockerfile, without an engine: what it copies is there and is enough to build the program from."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deploy.manifests import DEPLOY

ROOT = DEPLOY.parent
TEXT = (DEPLOY / "Dockerfile").read_text()
INSTRUCTIONS = [
    line.split(maxsplit=1) for line in TEXT.replace("\\\n", " ").splitlines() if line and not line.startswith("#")
]
SOURCES = [
    source
    for instruction, rest in INSTRUCTIONS
    if instruction == "COPY" and not rest.startswith("--from")
    for source in rest.split()[:-1]
]


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_copied_exists_and_is_not_ignored(source: str) -> None:
    assert (ROOT / source).exists()
    kept = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert source.split("/")[0] in kept


def test_the_wheel_is_built_from_what_is_copied(tmp_path: Path) -> None:
    """The same files, the same builder; the wheel has all three packages and what they carry."""
    for source in SOURCES:
        origin, target = ROOT / source, tmp_path / source
        if origin.is_dir():
            shutil.copytree(origin, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(origin, target)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = {
        path.relative_to(ROOT).as_posix()
        for package in ("consensus", "netsim", "sequencer")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    } - names
    assert not missing
    assert "sequencer/chaos/scenarios/leader-kills.toml" in names


def test_the_image_needs_no_root_and_no_newest() -> None:
    final = TEXT[TEXT.rindex("\nFROM ") :]
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert final.index("USER") < final.index("ENTRYPOINT")
    assert "latest" not in TEXT


def test_the_lock_of_images_is_a_part_of_the_lock_of_work() -> None:
    """What runs in an image is what was tested."""
    pin = re.compile(r"^([\w.\[\]-]+)==(\S+)", re.MULTILINE)
    tested = dict(pin.findall((ROOT / "requirements.lock").read_text()))
    shipped = dict(pin.findall((DEPLOY / "requirements.lock").read_text()))
    assert len(shipped) > 20
    assert shipped.items() <= tested.items()
    assert not shipped.keys() & {"pytest", "mypy", "ruff", "hypothesis", "playwright"}
