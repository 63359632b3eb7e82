"""The sections of network.toml: every key with its unit, range and reason; the defaults are those of `consensus`."""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from consensus.ledger.parameters import (
    LEADER_WINDOW_MAX,
    PPM,
    EpochParameters,
    LeadershipParameters,
    SlashingParameters,
)
from consensus.operations import NAME_PATTERN
from consensus.parameters import ConsensusParameters
from consensus.stake_table import MAX_TOTAL_STAKE
from consensus.types import Microseconds, ValidatorId

PAYLOAD_BYTES_LIMIT = 8 * 1024 * 1024
"""Half of the transport's largest frame: a proposal carries certificates beside its payload."""

_MILLISECOND = 1000
_CONSENSUS = ConsensusParameters()
_LEADERSHIP = LeadershipParameters()
_SLASHING = SlashingParameters()
_EPOCHS = EpochParameters()

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
    stake: Annotated[
        int, Meta(ge=1, le=MAX_TOTAL_STAKE, description="Its weight in every quorum, in the smallest unit.")
    ]
    owner: Annotated[
        str,
        Meta(
            pattern="^([0-9a-f]{64})?$",
            description="Public key of the account that owns the stake, is paid and signs its operations (J5); "
            "empty: the validator's own key, which is fit for trials only.",
        ),
    ] = ""

    @property
    def owner_key(self) -> bytes:
        """32 bytes."""
        return bytes.fromhex(self.owner or self.public_key)


class AccountConfig(Section, frozen=True, kw_only=True):
    """Tokens that are free to be bonded (J5)."""

    name: Annotated[Name, Meta(description="What people call it; the ledger knows the key alone.")]
    public_key: Annotated[
        str, Meta(pattern="^[0-9a-f]{64}$", description="Ed25519 public key of its owner, 64 hex digits.")
    ]
    balance: Annotated[
        int, Meta(ge=0, le=MAX_TOTAL_STAKE, description="Free at the start of the network, in the smallest unit.")
    ]


def _to_microseconds(milliseconds: int) -> Microseconds:
    return Microseconds(milliseconds * _MILLISECOND)


class ConsensusSection(Section, frozen=True, kw_only=True):
    """`consensus.parameters.ConsensusParameters` with units in the names; the defaults are the ones there."""

    timeout_floor_ms: Annotated[
        Milliseconds,
        Meta(description="Shortest view timer (L1), in ms. Several times the longest round trip in the network."),
    ] = _CONSENSUS.timeout_floor // _MILLISECOND
    timeout_ceiling_ms: Annotated[
        Milliseconds, Meta(description="Longest view timer (L1), in ms, back-off included. At least timeout_floor_ms.")
    ] = _CONSENSUS.timeout_ceiling // _MILLISECOND
    timeout_multiple: Annotated[
        int, Meta(ge=1, le=1000, description="View timer as a multiple of the recent view duration (L1).")
    ] = _CONSENSUS.timeout_multiple
    backoff_percent: Annotated[
        int,
        Meta(
            ge=100, le=1000, description="Growth of the timer per consecutive timeout (L1); 150 is half as long again."
        ),
    ] = _CONSENSUS.backoff_percent
    idle_interval_ms: Annotated[
        Milliseconds, Meta(description="Without transactions, the wait before an empty leaf is proposed (L6), in ms.")
    ] = _CONSENSUS.idle_interval // _MILLISECOND
    fetch_interval_ms: Annotated[
        int, Meta(ge=1, le=2**40, description="Wait for a missing leaf before it is asked for (L3), in ms.")
    ] = _CONSENSUS.fetch_interval // _MILLISECOND
    payload_bytes_max: Annotated[
        int, Meta(ge=1, le=PAYLOAD_BYTES_LIMIT, description="Largest payload of one block, in bytes; at most 8 MiB.")
    ] = _CONSENSUS.payload_bytes_max
    clock_skew_max_ms: Annotated[
        Milliseconds, Meta(description="How far a leaf's timestamp may lie ahead of a voter's clock (R3b), in ms.")
    ] = _CONSENSUS.clock_skew_max // _MILLISECOND
    view_window: Annotated[
        int, Meta(ge=2, le=4096, description="How many views around its own a node keeps votes for (L4).")
    ] = _CONSENSUS.view_window

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


class SlashingSection(Section, frozen=True, kw_only=True):
    """What offences cost (protocol section 7). Fractions in parts per million (ppm), terms in epochs."""

    leader_window: Annotated[
        int,
        Meta(
            ge=3,
            le=LEADER_WINDOW_MAX,
            description="Own slots that are looked back upon (J1): whoever missed more than two thirds of them is "
            "jailed. More slots tell bad luck from absence better, and later.",
        ),
    ] = _SLASHING.leader_window
    jail_after: Annotated[
        int,
        Meta(ge=1, le=1000, description="Own slots missed in a row that jail as well (J1), long before a window ends."),
    ] = _SLASHING.jail_after
    liveness_fraction_ppm: Annotated[
        int,
        Meta(
            ge=0,
            le=PPM,
            description="Stake that the first jailing costs, in ppm. Little: absence is counted, never proven (J2).",
        ),
    ] = _SLASHING.liveness_fraction_ppm
    liveness_growth: Annotated[
        int, Meta(ge=1, le=1000, description="Each repeat costs this many times more, up to the two caps below.")
    ] = _SLASHING.liveness_growth
    liveness_event_max_ppm: Annotated[
        int, Meta(ge=0, le=PPM, description="Most stake that one jailing costs, in ppm.")
    ] = _SLASHING.liveness_event_max_ppm
    liveness_epoch_max_ppm: Annotated[
        int, Meta(ge=0, le=PPM, description="Most stake that the jailings of one epoch cost a validator, in ppm.")
    ] = _SLASHING.liveness_epoch_max_ppm
    jail_epochs: Annotated[
        int, Meta(ge=1, le=2**16, description="Term of the first jailing (J1), in epochs; it doubles with each.")
    ] = _SLASHING.jail_epochs
    jail_doublings_max: Annotated[int, Meta(ge=0, le=16, description="Up to this many times.")] = (
        _SLASHING.jail_doublings_max
    )
    grace_slots: Annotated[
        int, Meta(ge=0, le=2**16, description="Own slots of a newcomer that are not held against it (J1).")
    ] = _SLASHING.grace_slots
    probation_leaves: Annotated[
        int,
        Meta(
            ge=0,
            le=2**16,
            description="Leaves that somebody back from jail must lead before a single miss no longer benches it.",
        ),
    ] = _SLASHING.probation_leaves
    outage_window: Annotated[
        int,
        Meta(
            ge=1,
            le=2**16,
            description="Views (J2): when leaders of more than a third of the stake missed within so many, it was the "
            "network, and nobody is charged.",
        ),
    ] = _SLASHING.outage_window
    safety_fraction_ppm: Annotated[
        int, Meta(ge=0, le=PPM, description="Stake that a proven offence costs at least (J3), in ppm.")
    ] = _SLASHING.safety_fraction_ppm
    correlation_multiple: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="A proven offence costs this multiple of the share of stake that offended together (J3): at 3 "
            "a third of the stake, which is what an attack on safety takes, loses everything.",
        ),
    ] = _SLASHING.correlation_multiple
    correlation_epochs: Annotated[
        int, Meta(ge=0, le=2**16, description="How many epochs back an offence counts as committed together.")
    ] = _SLASHING.correlation_epochs
    reporter_fraction_ppm: Annotated[
        int,
        Meta(
            ge=0,
            le=PPM,
            description="Share of the proposer that includes the evidence (J4), in ppm: enough to make it worth while, "
            "too little to make an offence pay.",
        ),
    ] = _SLASHING.reporter_fraction_ppm
    pool_fraction_ppm: Annotated[
        int,
        Meta(ge=0, le=PPM, description="Share of the insurance pool in every slash, in ppm; what is left is burned."),
    ] = _SLASHING.pool_fraction_ppm
    promise_compensation: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_TOTAL_STAKE,
            description="What the pool pays for a broken promise to include a transaction, in the smallest unit.",
        ),
    ] = _SLASHING.promise_compensation

    def __post_init__(self) -> None:
        self.to_parameters()

    def to_parameters(self) -> SlashingParameters:
        """Raises `ValueError` for a set that cannot work."""
        return SlashingParameters(**msgspec.structs.asdict(self))


class EpochsSection(Section, frozen=True, kw_only=True):
    """When stake tables change (protocol section 8). Lengths in blocks and epochs, no units of time."""

    epoch_blocks: Annotated[
        int,
        Meta(
            ge=4,
            le=2**40,
            description="Blocks of an epoch (T2). What is bonded in one epoch votes from the next but one on; long "
            "enough for the beacon to be computed several times over.",
        ),
    ] = _EPOCHS.epoch_blocks
    unbonding_epochs: Annotated[
        int,
        Meta(
            ge=1,
            le=2**16,
            description="Epochs between the last one in which unbonded stake could vote and its payment (J5); it can "
            "be slashed until then, and evidence expires after as many.",
        ),
    ] = _EPOCHS.unbonding_epochs
    min_stake: Annotated[
        int,
        Meta(ge=1, le=MAX_TOTAL_STAKE, description="Whoever has less is in no stake table: dust must not cost votes."),
    ] = _EPOCHS.min_stake
    beacon_difficulty: Annotated[
        int,
        Meta(
            ge=1,
            le=2**40,
            description="Steps of the beacon's hash chain (T4), two million a second on one core: nobody can try "
            "outcomes in time, everybody has the one result well within an epoch. A multiple of beacon_checkpoints.",
        ),
    ] = _EPOCHS.beacon_difficulty
    beacon_checkpoints: Annotated[
        int,
        Meta(
            ge=1, le=256, description="Points of that chain that stand in a leaf; what lies between is verified apart."
        ),
    ] = _EPOCHS.beacon_checkpoints

    def __post_init__(self) -> None:
        self.to_parameters()

    def to_parameters(self) -> EpochParameters:
        """Raises `ValueError` for a set that cannot work."""
        return EpochParameters(**msgspec.structs.asdict(self))


class TransactionsSection(Section, frozen=True, kw_only=True):
    """Limits that every node must agree on, because voters refuse what breaks them."""

    transaction_bytes_max: Annotated[
        Bytes,
        Meta(
            description="Largest transaction, in bytes without its namespace. Ethereum's reach 128 KiB. Must fit into "
            "payload_bytes_max."
        ),
    ] = 256 * 1024
