"""Whom a fault is about: roles, looked up at the moment when the fault begins, or names.

A target is a role, a name such as `n3`, or several of them separated by commas: `leader`, `n1,n2`, `primary`.
"""

from collections.abc import Sequence
from random import Random
from typing import Annotated, Protocol, TypeAlias

from msgspec import Meta

NAME_PREFIX = "n"
ROLES = (
    "all",
    "leader",
    "next-leader",
    "backups",
    "primary",
    "fallback",
    "f",
    "f+1",
    "minority",
    "majority",
    "random",
    "quorum",
)
"""`backups`: everyone but the leader. Drawn: `f`, as much stake as may fail; `f+1`, just too much; `minority` and
`majority`, less and more than half of the nodes; `quorum`, enough stake to decide; `random`, one.
"""

Target: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9+-]+(,[a-z0-9+-]+)*$", max_length=2000)]


class Roles(Protocol):
    """What is known of a cluster at one moment; nodes are numbered from 0."""

    @property
    def stakes(self) -> Sequence[int]:
        """By node; 0 for one without."""
        ...

    @property
    def leader(self) -> int | None: ...
    @property
    def next_leader(self) -> int | None: ...
    @property
    def primary(self) -> Sequence[int]:
        """The committee that leads in normal mode."""
        ...

    @property
    def fallback(self) -> Sequence[int]: ...


def name_node(node: int) -> str:
    return f"{NAME_PREFIX}{node}"


def check_target(target: str, nodes: int) -> None:
    """Raises `ValueError`, with what there is, for a part that is neither a role nor a node's name."""
    for part in target.split(","):
        if part not in ROLES and parse_name(part, nodes) is None:
            raise ValueError(f'"{part}" is neither a node (n0 to n{nodes - 1}) nor a role ({", ".join(ROLES)})')


def parse_name(part: str, nodes: int) -> int | None:
    """`n3` -> 3, when there is such a node."""
    digits = part.removeprefix(NAME_PREFIX)
    is_name = part.startswith(NAME_PREFIX) and digits.isascii() and digits.isdigit()
    return int(digits) if is_name and int(digits) < nodes else None


def resolve_target(target: str, roles: Roles, random: Random) -> list[int]:
    """The nodes, in order of number, each once. Empty when nobody has the role now."""
    chosen: set[int] = set()
    for part in target.split(","):
        name = parse_name(part, len(roles.stakes))
        chosen |= {name} if name is not None else set(_resolve_role(part, roles, random))
    return sorted(chosen)


def _resolve_role(role: str, roles: Roles, random: Random) -> Sequence[int]:
    stakes = roles.stakes
    voters = [node for node, stake in enumerate(stakes) if stake]
    total = sum(stakes)
    match role:
        case "all":
            return range(len(stakes))
        case "leader":
            return () if roles.leader is None else (roles.leader,)
        case "next-leader":
            return () if roles.next_leader is None else (roles.next_leader,)
        case "backups":
            return [node for node in voters if node != roles.leader]
        case "primary":
            return roles.primary
        case "fallback":
            return roles.fallback
        case "f":
            return _draw(voters, stakes, random, most=(total - 1) // 3)
        case "f+1":
            return _draw(voters, stakes, random, least=(total - 1) // 3 + 1)
        case "quorum":
            return _draw(voters, stakes, random, least=total * 2 // 3 + 1)
        case "minority":
            return random.sample(voters, (len(voters) - 1) // 2)
        case "majority":
            return random.sample(voters, len(voters) // 2 + 1)
        case "random":
            return (random.choice(voters),)
        case _:
            raise ValueError(f'"{role}" is neither a node nor a role')


def _draw(
    voters: Sequence[int], stakes: Sequence[int], random: Random, *, most: int | None = None, least: int = 0
) -> list[int]:
    """Nodes in a drawn order: as many as have together at most `most` stake, or as few as have at least `least`."""
    chosen: list[int] = []
    held = 0
    for node in random.sample(voters, len(voters)):
        if most is None and held >= least:
            break
        if most is None or held + stakes[node] <= most:
            chosen.append(node)
            held += stakes[node]
    return chosen
