"""What liars there are, by name."""

from collections.abc import Iterable
from typing import Final

from netsim.byzantine.abstain import Abstain
from netsim.byzantine.actor import Actor, Means
from netsim.byzantine.do_anything import DoAnything
from netsim.byzantine.double_vote import DoubleVote
from netsim.byzantine.equivocate import Equivocate
from netsim.byzantine.flood_signatures import FloodSignatures
from netsim.byzantine.flood_timeouts import FloodTimeouts
from netsim.byzantine.forge_anything import ForgeAnything
from netsim.byzantine.forge_certificates import ForgeCertificates
from netsim.byzantine.forget import Forget
from netsim.byzantine.fork_tail import ForkTail
from netsim.byzantine.frame import Frame
from netsim.byzantine.mutate_anything import MutateAnything
from netsim.byzantine.mutate_slightly import MutateSlightly
from netsim.byzantine.propose_stale import ProposeStale
from netsim.byzantine.replay import Replay
from netsim.byzantine.serve_lies import ServeLies
from netsim.byzantine.silent import Silent
from netsim.byzantine.silent_to_some import SilentToSome
from netsim.byzantine.speak_ahead import SpeakAhead
from netsim.byzantine.stall import Stall
from netsim.byzantine.vote_unjustified import VoteUnjustified
from netsim.byzantine.withhold_votes import WithholdVotes

BEHAVIOURS: Final[dict[str, type[Actor]]] = {
    "equivocate": Equivocate,
    "double_vote": DoubleVote,
    "forget": Forget,
    "propose_stale": ProposeStale,
    "vote_unjustified": VoteUnjustified,
    "silent": Silent,
    "silent_to_some": SilentToSome,
    "withhold_votes": WithholdVotes,
    "abstain": Abstain,
    "stall": Stall,
    "flood_timeouts": FloodTimeouts,
    "do_anything": DoAnything,
    "forge_certificates": ForgeCertificates,
    "replay": Replay,
    "speak_ahead": SpeakAhead,
    "serve_lies": ServeLies,
    "mutate_slightly": MutateSlightly,
    "mutate_anything": MutateAnything,
    "flood_signatures": FloodSignatures,
    "frame": Frame,
    "fork_tail": ForkTail,
    "forge_anything": ForgeAnything,
}
"""By the name that scenarios and the devnet know them by."""

Behaviour = str | type[Actor]
"""One of `BEHAVIOURS`, or a kind of one's own."""


def make_actor(behaviour: Behaviour, means: Means) -> Actor:
    """Raises `ValueError` for a name that is none of `BEHAVIOURS`."""
    if isinstance(behaviour, str):
        check_behaviours([behaviour])
        return BEHAVIOURS[behaviour](means)
    return behaviour(means)


def check_behaviours(names: Iterable[str]) -> None:
    """Raises `ValueError`, with all known names, for the first that is none."""
    for name in names:
        if name not in BEHAVIOURS:
            raise ValueError(f'there is no behaviour "{name}"; there are {", ".join(BEHAVIOURS)}')
