"""network.toml: what all nodes of a network agree on. Its hash is the network's identity, under every signature."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
from msgspec import Meta

from consensus.ledger.parameters import LeadershipParameters, LedgerParameters
from consensus.parameters import ConsensusParameters
from consensus.stake_table import StakeTable, Validator
from consensus.types import Microseconds, NetworkId, ValidatorId
from sequencer.toml_file import convert_table, read_table

if TYPE_CHECKING:
    from consensus.context import EpochContext

NETWORK_FILE = "network.toml"
PAYLOAD_BYTES_LIMIT = 8 * 1024 * 1024
"""Half of the transport's largest frame: a proposal carries certificates beside its payload."""
PAYLOAD_OVERHEAD_BYTES = 16
"""What MessagePack adds to a payload of one transaction; a transaction must fit into an otherwise empty payload."""
VALIDATORS_MAX = 1024
"""Certificates grow with the validators: at this number one takes 44 KiB, and a leaf may carry three."""

_NETWORK_TAG = b"sequencer/network/1\0"
_MILLISECOND = 1000
_DEFAULTS = ConsensusParameters()
_LEADERSHIP = LeadershipParameters()

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,31}$"
Name: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN)]
"""Lower case, so that it can be a folder and a metric label anywhere."""
Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=2**40)]
Bytes: TypeAlias = Annotated[int, Meta(ge=1, le=2**40)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a settings file: immutable, every key known."""


class ValidatorConfig(Section, frozen=True, kw_only=True):
    """One entry of the stake table."""

    id: Annotated[ValidatorId, Meta(ge=0, le=2**16 - 1, description="Its number on the wire, never reused.")]
    name: Annotated[Name, Meta(description="What people call it: a-z, 0-9, _ and -, at most 32 characters.")]
    public_key: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="Ed25519 public key, 64 hex digits.")]
    stake: Annotated[int, Meta(ge=1, le=2**62, description="Its weight in every quorum, in the smallest unit.")]


def _to_microseconds(milliseconds: int) -> Microseconds:
    return Microseconds(milliseconds * _MILLISECOND)


class ConsensusSection(Section, frozen=True, kw_only=True):
    """`consensus.parameters.ConsensusParameters` with units in the names; the defaults are the ones there."""

    timeout_floor_ms: Annotated[
        Milliseconds,
        Meta(description="Shortest view timer (L1), in ms. Several times the longest round trip in the network."),
    ] = _DEFAULTS.timeout_floor // _MILLISECOND
    timeout_ceiling_ms: Annotated[
        Milliseconds, Meta(description="Longest view timer (L1), in ms, back-off included. At least timeout_floor_ms.")
    ] = _DEFAULTS.timeout_ceiling // _MILLISECOND
    timeout_multiple: Annotated[
        int, Meta(ge=1, le=1000, description="View timer as a multiple of the recent view duration (L1).")
    ] = _DEFAULTS.timeout_multiple
    backoff_percent: Annotated[
        int,
        Meta(
            ge=100, le=1000, description="Growth of the timer per consecutive timeout (L1); 150 is half as long again."
        ),
    ] = _DEFAULTS.backoff_percent
    idle_interval_ms: Annotated[
        Milliseconds, Meta(description="Without transactions, the wait before an empty leaf is proposed (L6), in ms.")
    ] = _DEFAULTS.idle_interval // _MILLISECOND
    fetch_interval_ms: Annotated[
        int, Meta(ge=1, le=2**40, description="Wait for a missing leaf before it is asked for (L3), in ms.")
    ] = _DEFAULTS.fetch_interval // _MILLISECOND
    payload_bytes_max: Annotated[
        int, Meta(ge=1, le=PAYLOAD_BYTES_LIMIT, description="Largest payload of one block, in bytes; at most 8 MiB.")
    ] = _DEFAULTS.payload_bytes_max
    clock_skew_max_ms: Annotated[
        Milliseconds, Meta(description="How far a leaf's timestamp may lie ahead of a voter's clock (R3b), in ms.")
    ] = _DEFAULTS.clock_skew_max // _MILLISECOND
    view_window: Annotated[
        int, Meta(ge=2, le=4096, description="How many views around its own a node keeps votes for (L4).")
    ] = _DEFAULTS.view_window

    def __post_init__(self) -> None:
        self.to_parameters()

    def to_parameters(self) -> ConsensusParameters:
        """The same in microseconds. Raises `ValueError` for a set that cannot work."""
        if self.timeout_floor_ms > self.timeout_ceiling_ms:
            raise ValueError(
                f"timeout_floor_ms ({self.timeout_floor_ms}) is above timeout_ceiling_ms ({self.timeout_ceiling_ms})"
            )
        return ConsensusParameters(
            timeout_floor=_to_microseconds(self.timeout_floor_ms),
            timeout_ceiling=_to_microseconds(self.timeout_ceiling_ms),
            timeout_multiple=self.timeout_multiple,
            backoff_percent=self.backoff_percent,
            idle_interval=_to_microseconds(self.idle_interval_ms),
            fetch_interval=_to_microseconds(self.fetch_interval_ms),
            payload_bytes_max=self.payload_bytes_max,
            clock_skew_max=_to_microseconds(self.clock_skew_max_ms),
            view_window=self.view_window,
        )


class LeadershipSection(Section, frozen=True, kw_only=True):
    """Who leads when leaders fail (protocol section 6). Counts of views, turns and leaves, no units of time."""

    primary_size: Annotated[
        int,
        Meta(ge=0, description="Validators that lead in normal mode; 0: all that are not in the fallback committee."),
    ] = _LEADERSHIP.primary_size
    fallback_size: Annotated[
        int, Meta(ge=0, description="Validators that take over from them; 0: a third of all, at least one.")
    ] = _LEADERSHIP.fallback_size
    bench_after: Annotated[
        int, Meta(ge=1, le=1000, description="Own slots missed in a row that cost a validator its next turns (S3).")
    ] = _LEADERSHIP.bench_after
    bench_doublings_max: Annotated[
        int, Meta(ge=0, le=16, description="Each bench lasts twice as many turns as the last, up to 2 to this power.")
    ] = _LEADERSHIP.bench_doublings_max
    fallback_after: Annotated[
        int, Meta(ge=1, le=1000, description="Views skipped in a row after which the fallback committee leads (S4).")
    ] = _LEADERSHIP.fallback_after
    handback_after: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Leaves without a skipped view that give the lead back (S5).")
    ] = _LEADERSHIP.handback_after
    handback_doublings_max: Annotated[
        int, Meta(ge=0, le=16, description="Each relapse doubles that term, up to this many times.")
    ] = _LEADERSHIP.handback_doublings_max

    def to_parameters(self) -> LeadershipParameters:
        return LeadershipParameters(**msgspec.structs.asdict(self))


class TransactionsSection(Section, frozen=True, kw_only=True):
    """Limits that every node must agree on, because voters refuse what breaks them."""

    transaction_bytes_max: Annotated[
        Bytes,
        Meta(description="Largest transaction, in bytes. Ethereum's reach 128 KiB. Must fit into payload_bytes_max."),
    ] = 256 * 1024


class NetworkConfig(Section, frozen=True, kw_only=True):
    """network.toml. Raises `ValueError` when it is inconsistent; `load_network` turns that into a `ConfigError`."""

    name: Annotated[Name, Meta(description="Name of the network, for people and metrics.")]
    genesis_time_ms: Annotated[
        int, Meta(ge=0, le=2**53, description="Timestamp of the block at height 0, in ms since the Unix epoch.")
    ]
    consensus: Annotated[
        ConsensusSection, Meta(description="How the network paces itself. Explained beside each rule in docs/spec.md.")
    ] = ConsensusSection()
    leadership: Annotated[LeadershipSection, Meta(description="Who leads when leaders fail.")] = LeadershipSection()
    transactions: Annotated[TransactionsSection, Meta(description="What counts as a transaction.")] = (
        TransactionsSection()
    )
    validators: Annotated[
        tuple[ValidatorConfig, ...],
        Meta(min_length=1, max_length=VALIDATORS_MAX, description="The stake table, in ascending order of id."),
    ]

    def __post_init__(self) -> None:
        ids = [validator.id for validator in self.validators]
        if ids != sorted(set(ids)):
            raise ValueError("validators must be listed in ascending order of id, each id once")
        for field in ("name", "public_key"):
            repeated = _find_repeated(getattr(validator, field) for validator in self.validators)
            if repeated is not None:
                raise ValueError(f'two validators have the {field} "{repeated}"')
        self.stake_table()
        room = self.consensus.payload_bytes_max - PAYLOAD_OVERHEAD_BYTES
        if self.transactions.transaction_bytes_max > room:
            raise ValueError(
                f"transactions.transaction_bytes_max ({self.transactions.transaction_bytes_max}) does not fit: "
                f"at most {room} with consensus.payload_bytes_max = {self.consensus.payload_bytes_max}"
            )

    @property
    def network_id(self) -> NetworkId:
        """SHA-256 of the whole file as canonical MessagePack, defaults included: comments and layout do not count."""
        return NetworkId(sha256(_NETWORK_TAG + msgspec.msgpack.encode(self)).digest())

    def stake_table(self) -> StakeTable:
        """Raises `ValueError` when the total is impossible."""
        return StakeTable(
            tuple(Validator(entry.id, bytes.fromhex(entry.public_key), entry.stake) for entry in self.validators)
        )

    def context(self) -> "EpochContext":
        """The facts of the first epoch."""
        # Loading libsodium takes a while, and most commands that read the file need no keys.
        from consensus.context import EpochContext
        from consensus.signatures.ed25519 import Ed25519

        return EpochContext.start_network(
            self.network_id,
            self.stake_table(),
            Ed25519(),
            genesis_time_ms=self.genesis_time_ms,
            parameters=self.consensus.to_parameters(),
            ledger_parameters=LedgerParameters(self.leadership.to_parameters()),
        )

    @property
    def names(self) -> dict[int, str]:
        """By number."""
        return {entry.id: entry.name for entry in self.validators}

    def name_of(self, validator_id: ValidatorId) -> str:
        """Raises `KeyError` for a number that the network does not know."""
        for entry in self.validators:
            if entry.id == validator_id:
                return entry.name
        raise KeyError(validator_id)

    def id_of(self, name: str) -> ValidatorId:
        """Raises `KeyError` for a name that the network does not know."""
        return self.validator(name).id

    def validator(self, name: str) -> ValidatorConfig:
        """Raises `KeyError` for a name that the network does not know."""
        for entry in self.validators:
            if entry.name == name:
                return entry
        raise KeyError(name)


def load_network(path: Path) -> NetworkConfig:
    """Raises `ConfigError`."""
    action = "`sequencer init` writes one; node.toml names it with the key `network`"
    return convert_table(read_table(path, action=action), NetworkConfig, path)


def _find_repeated(values: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
