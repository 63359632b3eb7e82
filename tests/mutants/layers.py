"""The layers of the tests, in order of cost: what is run against a mutant, and how long that may take."""

from dataclasses import dataclass

SEEDS = 100
"""Of a campaign: a mutant that needs more has survived."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Tests below `targets`, as far as the tree has them, or with `command` a campaign that counts seeds.

    `{seeds}` in the command is the number of seeds. A campaign ends with 0 when all seeds were clean.
    """

    name: str
    what: str
    targets: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    timeout_seconds: int = 300

    def owns(self, test: str) -> bool:
        """Whether a test's path is of this layer."""
        return any(test == target or test.startswith(f"{target.removesuffix('/')}/") for target in self.targets)


EXPLORER = tuple(f"tests/simulation/test_explorer{name}.py" for name in ("", "_mutants", "_replica"))
NODE = tuple(f"tests/node/test_{name}.py" for name in ("node", "storage", "storage_checkpoint", "storage_recovery"))
"""Of the node's tests those that see what it does with a turn."""

LAYERS: tuple[Layer, ...] = (
    Layer("unit", "pure modules and properties, one replica in a state machine", ("tests/consensus",)),
    Layer("paper", "one test per rule", ("tests/paper",)),
    Layer("explorer", "breadth-first search of the voting core", EXPLORER),
    Layer("node", "full nodes and their storage", NODE),
    Layer(
        "campaign",
        f"the swarm: drawn scenarios, up to {SEEDS} seeds",
        command=("-m", "tests.mutants.campaign", "--seeds", "{seeds}"),
        timeout_seconds=900,
    ),
    Layer("simulation", "clusters in virtual time: scenarios, twins, epochs", ("tests/simulation",), (), 900),
)
