"""A way through the states, told step by step in the protocol's words."""

from collections.abc import Iterator, Sequence
from string import ascii_uppercase
from typing import assert_never

from netsim.explorer.material import Material
from netsim.explorer.model import GENESIS, NO_TC, Kind, LeafId, LocalId, State, Step, TcId
from netsim.explorer.moves import iterate_bits
from netsim.explorer.search import Certificates, Explorer


def tell(explorer: Explorer, path: Sequence[State]) -> list[str]:
    """One line per step of a path that the explorer has found, with the certificates that it makes possible."""
    return list(_Teller(explorer).iterate_lines(path)) if path else []


class _Teller:
    """Follows the path under one set of names: the states in it stand for all that differ only in names."""

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self._material: Material = explorer.material
        self._names: dict[LeafId, str] = {GENESIS: "genesis"}

    def iterate_lines(self, path: Sequence[State]) -> Iterator[str]:
        explorer, state = self._explorer, path[0]
        numbers = self._number(state)
        for following in path[1:]:
            position, step, after = next(
                move for move in explorer.iterate_steps(state) if explorer.choose(move[2]) == following
            )
            made = self._describe_new(explorer.look(state), explorer.look(after))
            yield f"validator {numbers[position]} {self._describe(step, after[position])}" + (
                f" -> {made}" if made else ""
            )
            state = after
        yield from (
            f"validator {number} can be accused of {frame}" for number, frame in self._find_frames(numbers, state)
        )

    def _number(self, state: State) -> list[int]:
        """Those that lead have their number, the others get what is left."""
        roles = [self._explorer.voters.roles[local] for local in state]
        rest = iter(sorted(set(range(len(state))) - set(roles)))
        return [role if role >= 0 else next(rest) for role in roles]

    def _find_frames(self, numbers: list[int], state: State) -> Iterator[tuple[int, str]]:
        for number, local in zip(numbers, state, strict=True):
            frame = self._explorer.voters.frames[local]
            if frame is not None:
                yield number, frame

    def _describe(self, step: Step, after: LocalId) -> str:
        learned = [self._name_qc(leaf) if tc == NO_TC else self._name_tc(tc) for leaf, tc in step.learned]
        return (f"takes in {' and '.join(learned)}, then " if learned else "") + self._describe_act(step, after)

    def _describe_act(self, step: Step, after: LocalId) -> str:
        match step.kind:
            case Kind.VOTE:
                return f"votes for {self._introduce(step.leaf)}"
            case Kind.PROPOSE:
                return f"proposes {self._introduce(step.leaf)}"
            case Kind.FINALIZE:
                return f"takes in {self._name_qc(step.leaf)} and finalizes {self._name(step.leaf)}"
            case Kind.TIME_OUT:
                vote = self._explorer.voters.records[after].last_timeout
                signed = "nothing" if vote is None else f"high_qc.view {vote.high_qc_view}"
                return f"times out in view {step.view} and signs {signed}"
            case Kind.RESTART:
                return "restarts, and its record is not what it was"
        assert_never(step.kind)

    def _describe_new(self, before: Certificates, after: Certificates) -> str:
        """Certificates that can be made now, and could not before."""
        new = [self._name_qc(leaf) for leaf in iterate_bits(after.environment.qcs & ~before.environment.qcs)]
        new += [f"FC({self._name(leaf)})" for leaf in iterate_bits(after.fcs & ~before.fcs)]
        pairs = zip(before.environment.tcs, after.environment.tcs, strict=True)
        new += [self._name_tc(now) for then, now in pairs if now not in (then, NO_TC)]
        return ", ".join(new)

    def _introduce(self, leaf: LeafId) -> str:
        """By name; the first time with what it is."""
        if leaf in self._names:
            return self._name(leaf)
        view, parent, tc, _ = self._material.contents[leaf]
        proof = "" if tc == NO_TC else f", with {self._name_tc(tc)}"
        return f"{self._name(leaf)} (view {view}, on {self._name(parent)}{proof})"

    def _name(self, leaf: LeafId) -> str:
        if leaf not in self._names:
            view = self._material.contents[leaf].view
            count = sum(self._material.contents[other].view == view for other in self._names if other != GENESIS)
            self._names[leaf] = f"{ascii_uppercase[count % len(ascii_uppercase)]}{view}"
        return self._names[leaf]

    def _name_qc(self, leaf: LeafId) -> str:
        return f"QC({self._name(leaf)})"

    def _name_tc(self, tc: TcId) -> str:
        view, highest, _ = self._material.tcs[tc]
        return f"TC({view}) whose highest is {highest}"
