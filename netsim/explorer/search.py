"""Breadth first through everything that can happen, shortest stories first.

All decisions have been made by the real rules when a state is looked at (`Voters`, `Quorums`); the search itself counts
with small integers. A state is what each honest validator has signed and remembers; the network needs none, for what
was sent may be delivered at any time, or never. What the Byzantine validators send needs none either: they have said
everything that can be said.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

from netsim.explorer.levels import Levels
from netsim.explorer.liveness import Liveness, compute_arrivals
from netsim.explorer.material import Material
from netsim.explorer.model import Learned, LocalId, Model, State, Step, TcId
from netsim.explorer.moves import Environment, Moves
from netsim.explorer.properties import FRAMED, LIVENESS, RULES, Breach, Properties, get_witnesses
from netsim.explorer.quorums import Quorums, SignedTimeout
from netsim.explorer.symmetry import Symmetry
from netsim.explorer.voters import Recover, Voters, read_back

PROGRESS_EVERY = 2000
"""States between two calls of `on_progress`."""


@dataclass(slots=True)
class Findings:
    """What an exploration came to. `is_complete` when every state of the model was looked at."""

    states: int = 0
    transitions: int = 0
    depth: int = 0
    local_states: int = 0
    leaves: int = 0
    continuations: int = 0
    """Different records of all validators from which a fair continuation was followed to a new FC."""
    refused_messages: int = 0
    is_complete: bool = False
    witnesses: dict[str, int] = field(default_factory=dict)
    """Witness -> in how many steps it was reached first."""
    missing: tuple[str, ...] = ()
    """Witnesses that were not reached."""
    breach: Breach | None = None
    path: tuple[State, ...] = ()
    """From the start to the breach."""


OnProgress = Callable[[Findings, int], bool]
"""Called with what was found so far and the number of states found on the next level; whether to stop."""


@dataclass(slots=True)
class Certificates:
    """What was found out about one set of certificates."""

    environment: Environment
    fcs: int
    arrivals: tuple[tuple[Learned, ...], ...]
    """What a calm network brings: the certificates of honest validators alone, and those that can be at all."""
    breaches: list[Breach]
    witnesses: set[str]
    promise: int
    """How near this looks to a fork."""


class Explorer:
    """One exploration. `rules` are the properties whose breach ends it."""

    def __init__(
        self,
        model: Model,
        *,
        rules: frozenset[str] = frozenset(RULES),
        recover: Recover = read_back,
        liveness_every: int = 1,
    ) -> None:
        self.model = model
        self.material = Material(model)
        self.voters = Voters(self.material, recover)
        self._rules = rules
        self._quorums = Quorums(self.material)
        if self._quorums.qc_signers_alone > model.honest:
            self._rules -= {LIVENESS}  # the honest are too few to go on by themselves
        self._moves = Moves(self.material, self.voters)
        self._symmetry = Symmetry(self.material, self.voters)
        self._properties = Properties(self.material)
        self._liveness = Liveness(self.material, self.voters)
        self._liveness_every = liveness_every
        honest = range(model.honest)
        self._qc_quorums = tuple(combinations(honest, self._quorums.qc_signers))
        self._fc_quorums = tuple(combinations(honest, self._quorums.fc_signers))
        self._qc_quorums_alone = tuple(combinations(honest, self._quorums.qc_signers_alone))
        self._environments: dict[tuple[int, tuple[TcId, ...], int, int], Environment] = {}
        self._tcs: dict[tuple[tuple[SignedTimeout, ...], ...], tuple[tuple[TcId, ...], ...]] = {}
        self._certificates: dict[tuple[int, int, int, tuple[tuple[TcId, ...], ...], int, int], Certificates] = {}
        self.findings = Findings()

    def start(self) -> State:
        return tuple(sorted(self.voters.start(number) for number in range(self.model.honest)))

    def run(
        self, states_max: int | None = None, on_progress: OnProgress | None = None, width: int | None = None
    ) -> Findings:
        """Until there is nothing new, a rule is broken, or the bounds are reached.

        A state is always so many steps away from the start, whatever the way: only the next level can hold it twice.
        With a `width`, no more than that many states of a level are followed, those that look nearest to a fork: that
        finds a bug sooner and proves nothing.
        """
        findings = self.findings
        levels = Levels(self.model.honest)
        following = {self.start()}
        is_narrow = False
        while following:
            if width is not None and len(following) > width:
                is_narrow = True
                following = set(sorted(following, key=lambda state: (-self.look(state).promise, state))[:width])
            levels.add(following)
            following = set()
            for state in levels.iterate(findings.depth):
                findings.states += 1
                seen = self.look(state)
                if self._examine(state, seen) is not None:
                    findings.path = tuple(reversed(list(self._trace(levels, state))))
                    return self._conclude()
                after = set(self._iterate_after(state, seen.environment))
                findings.transitions += len(after)
                following |= after
                is_over = findings.states == states_max
                if findings.states % PROGRESS_EVERY == 0 and on_progress is not None:
                    is_over |= on_progress(findings, len(following))
                if is_over:
                    return self._conclude()
            findings.depth += bool(following)
        findings.is_complete = not is_narrow
        return self._conclude()

    def iterate_steps(self, state: State) -> Iterator[tuple[int, Step, State]]:
        """Who steps (by position), how, and the state after that, under its own names and in the same order."""
        environment = self.look(state).environment
        for position, local in enumerate(state):
            for after, step in self._moves.compute(local, environment).items():
                yield position, step, (*state[:position], after, *state[position + 1 :])

    def choose(self, state: State) -> State:
        """The one state that stands for this one and all that differ from it only in names."""
        leaves = 0
        for local in state:
            leaves |= self.voters.leaves[local]
        return self._symmetry.choose(tuple(sorted(state)), leaves)

    def look(self, state: State) -> Certificates:
        """All certificates that can be made of what was signed."""
        voters = self.voters
        votes = [voters.votes[local] for local in state]
        qcs, alone = _find_common(votes, self._qc_quorums), _find_common(votes, self._qc_quorums_alone)
        fcs = qcs & _find_common([voters.finalizes[local] for local in state], self._fc_quorums)
        tcs = self._find_tcs(tuple([voters.timeouts[local] for local in state]))
        leaves = proposals = 0
        for local in state:
            leaves |= voters.leaves[local]
            proposals |= voters.proposals[local]
        key = qcs, alone, fcs, tcs, leaves, proposals
        known = self._certificates.get(key)
        if known is None:
            known = self._certificates[key] = self._judge(*key)
        return known

    def _judge(
        self, qcs: int, alone: int, fcs: int, tcs: tuple[tuple[TcId, ...], ...], leaves: int, proposals: int
    ) -> Certificates:
        tcs_all, tcs_alone = tcs
        key = qcs, tcs_all, leaves, proposals
        if key not in self._environments:
            self._environments[key] = Environment(*key)
        arrivals = (
            compute_arrivals(self.material, alone, tcs_alone),
            compute_arrivals(self.material, qcs, tcs_all),
        )
        return Certificates(
            self._environments[key],
            fcs,
            tuple(dict.fromkeys(arrivals)),
            self._properties.find_breaches(qcs, fcs, tcs_all),
            self._properties.find_witnesses(qcs, fcs, tcs_all),
            self._properties.compute_promise(qcs, fcs, tcs_all),
        )

    def _iterate_after(self, state: State, environment: Environment) -> Iterator[State]:
        previous: LocalId = -1
        for position, local in enumerate(state):
            if local == previous:
                continue
            previous = local
            others = state[:position] + state[position + 1 :]
            for after in self._moves.compute(local, environment):
                yield self.choose((*others, after))

    def _trace(self, levels: Levels, state: State) -> Iterator[State]:
        """From this state of the last level back to the start."""
        yield state
        for depth in range(len(levels) - 2, -1, -1):
            state = next(
                before
                for before in self._iterate_before(state)
                if levels.is_in(depth, before) and state in self._iterate_after(before, self.look(before).environment)
            )
            yield state

    def _iterate_before(self, state: State) -> Iterator[State]:
        """States from which one step might lead here."""
        for position, local in enumerate(state):
            for before in sorted(self.voters.predecessors[local]):
                yield self.choose((*state[:position], before, *state[position + 1 :]))

    def _examine(self, state: State, seen: Certificates) -> Breach | None:
        """The first rule that this state breaks."""
        findings = self.findings
        for name in sorted(seen.witnesses - findings.witnesses.keys()):
            findings.witnesses[name] = findings.depth
        breaches = seen.breaches + [Breach(FRAMED, frame) for local in state if (frame := self.voters.frames[local])]
        if LIVENESS in self._rules and findings.states % self._liveness_every == 0:
            for arrivals in seen.arrivals:
                stuck = self._liveness.find_stuck(state, seen.fcs, arrivals)
                if stuck is not None:
                    breaches.append(Breach(LIVENESS, stuck))
        findings.breach = next((breach for breach in breaches if breach.rule in self._rules), None)
        return findings.breach

    def _find_tcs(self, timeouts: tuple[tuple[SignedTimeout, ...], ...]) -> tuple[tuple[TcId, ...], ...]:
        """By view: with the help of the Byzantine validators, and without."""
        known = self._tcs.get(timeouts)
        if known is None:
            by_view = list(enumerate(zip(*timeouts, strict=True), start=1))
            known = self._tcs[timeouts] = tuple(
                tuple(self._quorums.find_tc(view, signed, alone=alone) for view, signed in by_view)
                for alone in (False, True)
            )
        return known

    def _conclude(self) -> Findings:
        findings = self.findings
        findings.local_states = len(self.voters.records)
        findings.leaves = sum(1 <= content.view <= self.model.views for content in self.material.contents)
        findings.continuations = self._liveness.followed
        findings.refused_messages = self.voters.refused
        findings.missing = tuple(name for name in get_witnesses(self.model.views) if name not in findings.witnesses)
        return findings


def _find_common(masks: list[int], quorums: tuple[tuple[int, ...], ...]) -> int:
    """Leaves that all members of some quorum have signed."""
    common = 0
    for quorum in quorums:
        signed = -1
        for member in quorum:
            signed &= masks[member]
        common |= signed
    return common
