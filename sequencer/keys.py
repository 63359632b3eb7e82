"""Secret keys on disk, of validators and accounts: 64 hex digits of an Ed25519 seed, in a file that only its owner can
read.

Whoever reads a validator's can sign as the validator, and signing twice costs its stake. So the file is made once,
never overwritten, and refused as soon as others could have read it. A rotation (J5) puts a second file beside it, and
the stake table of each epoch says which of the two signs.
"""

import os
import secrets
import stat
from collections.abc import Collection
from pathlib import Path

from consensus.signatures import Signer
from consensus.signatures.ed25519 import SECRET_BYTES, Ed25519
from sequencer.toml_file import ConfigError

KEY_FILE_MODE = 0o600
NEXT_SUFFIX = ".next"
"""`validator.key.next` holds the key that a rotation brings, until it has taken the place of the other one."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
"""Where a service manager puts what only this service may read (systemd, `LoadCredential=`). It may grant the reading
by an access control list, whose mask shows as the group's bits, so there a group that may read is no exposure."""
_FILE_BYTES_MAX = 4096
"""Far more than a key file has; what is longer is another file."""


class ExposedKeyError(ConfigError):
    """Others can read the secret key, or write it."""

    is_unsafe = True


def generate_key() -> Signer:
    """A new key from the operating system's randomness."""
    return Signer(Ed25519(), secrets.token_bytes(SECRET_BYTES))


def write_key(path: Path, signer: Signer) -> None:
    """Write a new key file, readable by its owner only, on disk when this returns.

    Raises `ConfigError` when there is a file already: a key that is gone cannot be brought back.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, KEY_FILE_MODE)
    except FileExistsError as error:
        action = "Keys are never overwritten. Move it away first if you are sure that it is not needed"
        raise ConfigError(path, None, "there is a key file already", action) from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(signer.secret.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_key(path: Path) -> Signer:
    """Whosever key this is. Raises `ConfigError` when the file is missing, readable by others, or no key."""
    return Signer(Ed25519(), _parse_seed(path, _read_private(path)))


def get_next_path(path: Path) -> Path:
    """Where the key lies that is to take the place of the one at `path`."""
    return path.with_name(path.name + NEXT_SUFFIX)


def load_keys(path: Path, name: str, known: Collection[bytes]) -> tuple[Signer, ...]:
    """Every key that this validator holds: the one at `path`, then that of a rotation where there is one (J5).

    `known` are the public keys that the network file and this node's ledger name for it. Raises `ConfigError` like
    `read_key`, also when none of the keys is among those.
    """
    following = get_next_path(path)
    signers = tuple(read_key(file) for file in (path, following) if file == path or file.exists())
    if not any(signer.public_key in known for signer in signers):
        held = ", ".join(signer.public_key.hex() for signer in signers)
        raise ConfigError(
            path,
            None,
            f'this is not the key of validator "{name}": it belongs to public key {held}, '
            f"known for it are {', '.join(sorted(key.hex() for key in known)) or 'none'}",
            "Point `key` in node.toml to the right file",
        )
    return signers


def _read_private(path: Path) -> str:
    try:
        # Mode and content are taken from one open file, so nothing can be swapped in between.
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_FILE_BYTES_MAX)
    except FileNotFoundError as error:
        action = "`sequencer init` makes one per node; node.toml names it with the key `key`"
        raise ConfigError(path, None, "no such key file", action) from error
    except OSError as error:
        raise ConfigError(path, None, f"cannot be read: {error.strerror}") from error
    if mode & (stat.S_IRWXO | stat.S_IWGRP if _is_credential(path) else _OTHERS):
        raise ExposedKeyError(
            path,
            None,
            f"other users can access this secret key (mode {mode:04o})",
            f"If nobody has copied it, run: chmod {KEY_FILE_MODE:o} {path}",
        )
    return content.decode("ascii", errors="replace").strip()


def _is_credential(path: Path) -> bool:
    folder = os.environ.get(_CREDENTIALS_VARIABLE)
    return bool(folder) and path.absolute().parent == Path(str(folder))


def _parse_seed(path: Path, text: str) -> bytes:
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        # The text may be a damaged secret: it must not reach a log.
        seed = b""
    if len(seed) != SECRET_BYTES or len(text) != 2 * SECRET_BYTES:
        problem = (
            f"a key file holds {2 * SECRET_BYTES} hex digits; this one has {len(text)} characters, or others than hex"
        )
        raise ConfigError(path, None, problem, "Restore it from your backup") from None
    return seed
