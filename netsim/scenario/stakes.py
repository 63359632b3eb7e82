"""Stake operations and bursts of transactions, in the simulator: no failures, and over at once."""

from netsim.scenario.faults import Burst, Stake
from netsim.scenario.injection import Injection
from netsim.scenario.stage import Stage
from netsim.scenario.targets import name_node


class SubmitStake(Injection[Stake]):
    """A rotated key is used by its node after the fault has ended: then the node is restarted with it."""

    def __init__(self, stage: Stage, fault: Stake) -> None:
        super().__init__(stage, fault)
        self._rotated: list[int] = []
        self.lasts = fault.operation == "rotate_key"

    def begin(self) -> None:
        refused: list[str] = []
        for node in self.choose(self.fault.target):
            flaw = self._submit(node)
            if flaw is None:
                self.bites += 1
            else:
                refused.append(f"{name_node(node)}: {flaw}")
        self.detail = "; ".join(refused)

    def end(self) -> None:
        for node in self._rotated:
            if self.stage.hold_down(node, self):
                self.stage.let_up(node, self)

    def _submit(self, node: int) -> str | None:
        """Why it was not taken."""
        stakers, process = self.stage.cluster.stakers, self.stage.cluster.node(node)
        if not self.stage.cluster.alive():
            return "nobody is there to take it"
        amount = {"bond": self.fault.amount, "unbond": -self.fault.amount, "rotate_key": 0}[self.fault.operation]
        if not self.stage.may_move(node, amount):
            return "Byzantine stake would reach a third"
        try:
            match self.fault.operation:
                case "bond":
                    stakers.bond(process, self.fault.amount)
                case "unbond":
                    stakers.unbond(process, self.fault.amount)
                case "rotate_key":
                    stakers.rotate_key(process)
                    self._rotated.append(node)
        except (KeyError, ValueError) as error:
            return str(error) if isinstance(error, ValueError) else "it is no validator"
        return None


class SubmitBurst(Injection[Burst]):
    lasts = False

    def begin(self) -> None:
        self.stage.cluster.submit(self.fault.transactions)
        self.bites = self.fault.transactions

    def end(self) -> None:
        """What was submitted stays."""
