"""Key files: made once, private, and only ever the right one."""

import stat
from pathlib import Path

import pytest

from consensus.signatures import Signer
from sequencer.config import ConfigError
from sequencer.keys import generate_key, get_next_path, load_keys, read_key, write_key


@pytest.fixture
def signer() -> Signer:
    return generate_key()


@pytest.fixture
def key_path(tmp_path: Path, signer: Signer) -> Path:
    path = tmp_path / "validator.key"
    write_key(path, signer)
    return path


def test_a_key_file_is_readable_by_its_owner_only_and_reads_back(key_path: Path, signer: Signer) -> None:
    assert stat.S_IMODE(key_path.stat().st_mode) == 0o600
    assert key_path.read_text() == signer.secret.hex() + "\n"
    assert read_key(key_path).sign(b"statement") == signer.sign(b"statement")


def test_every_key_is_another() -> None:
    assert len({generate_key().secret for _ in range(20)}) == 20


def test_a_key_file_is_never_overwritten(key_path: Path) -> None:
    before = key_path.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        write_key(key_path, generate_key())
    assert key_path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o610, 0o666])
def test_a_key_that_others_can_access_is_refused_with_the_command_that_helps(key_path: Path, mode: int) -> None:
    key_path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"mode {mode:04o}.*chmod 600 {key_path}"):
        read_key(key_path)


def test_a_credential_may_show_the_mask_of_an_access_control_list(
    key_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd grants a service the reading of its credentials by a list, which the group's bits show. Elsewhere the
    same mode means that a group reads the key, and others must not read it even there.
    """
    key_path.chmod(0o440)
    with pytest.raises(ConfigError, match="mode 0440"):
        read_key(key_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(key_path.parent))
    assert read_key(key_path).secret == signer.secret
    for mode in (0o444, 0o460):
        key_path.chmod(mode)
        with pytest.raises(ConfigError, match=f"mode {mode:04o}"):
            read_key(key_path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_private_key_is_accepted(key_path: Path, signer: Signer, mode: int) -> None:
    key_path.chmod(mode)
    assert read_key(key_path).secret == signer.secret


@pytest.mark.parametrize(
    "content", ["", "00" * 31, "00" * 33, "zz" * 32, "00 " * 32, "-----BEGIN PRIVATE KEY-----\n", "é" * 64, "0" * 5000]
)
def test_what_is_no_key_is_refused_without_being_shown(key_path: Path, content: str) -> None:
    key_path.write_text(content)
    with pytest.raises(ConfigError, match="a key file holds 64 hex digits") as caught:
        read_key(key_path)
    assert not content or content not in str(caught.value)


def test_a_missing_key_says_where_keys_come_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such key file\. `sequencer init` makes one"):
        read_key(tmp_path / "validator.key")


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_key(tmp_path)


def test_a_rotation_adds_the_second_key_to_the_first(key_path: Path, signer: Signer) -> None:
    """J5: the stake table of each epoch says which of them signs."""
    following = generate_key()
    assert [each.secret for each in load_keys(key_path, "n0", {signer.public_key})] == [signer.secret]
    write_key(get_next_path(key_path), following)
    for known in (signer, following):
        found = load_keys(key_path, "n0", {known.public_key})
        assert [each.secret for each in found] == [signer.secret, following.secret]


def test_keys_of_which_the_network_knows_none_are_refused(key_path: Path, signer: Signer) -> None:
    other = generate_key()
    with pytest.raises(ConfigError, match='not the key of validator "n0"') as caught:
        load_keys(key_path, "n0", {other.public_key})
    assert signer.public_key.hex() in str(caught.value)
    assert other.public_key.hex() in str(caught.value)
    assert signer.secret.hex() not in str(caught.value)


def test_a_next_key_that_others_can_read_is_refused(key_path: Path, signer: Signer) -> None:
    write_key(get_next_path(key_path), generate_key())
    get_next_path(key_path).chmod(0o644)
    with pytest.raises(ConfigError, match=r"validator\.key\.next.*mode 0644"):
        load_keys(key_path, "n0", {signer.public_key})
