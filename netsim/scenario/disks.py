"""Faults of disks, in the simulator."""

from typing import Final

from consensus.effects import Batch
from netsim.disk import DiskModel, Image, Loss
from netsim.network import Exponential
from netsim.scenario.faults import DiskFault, SlowDisk
from netsim.scenario.injection import Injection
from netsim.scenario.nodes import EndsWhilePending
from netsim.scenario.stage import Stage

_LOSSES: Final = {
    "lose_all": Loss.ALL,
    "lose_prefix": Loss.PREFIX,
    "lose_subset": Loss.SUBSET,
    "torn": Loss.TORN,
}
ROTTEN_BLOCKS_MAX: Final = 20
"""How far below the tip the blocks lie that rot, from a drawn one on: what others may still ask for."""


class _Fails:
    """The next write fails, or the next sync: one of the two is drawn. R8: the process ends."""

    loss = Loss.PREFIX

    def __init__(self, *, in_sync: bool) -> None:
        self._in_sync = in_sync
        self.hits = 0

    def ends_before_write(self, turn: Batch) -> bool:
        is_writing = turn.record is not None or bool(turn.blocks) or bool(turn.decides)
        return self._strike(is_writing and not self._in_sync)

    def ends_before_sync(self, turn: Batch) -> bool:
        return self._strike(turn.must_sync and self._in_sync)

    def _strike(self, is_time: bool) -> bool:
        strikes = is_time and not self.hits
        self.hits += strikes
        return strikes


class BreakDisk(Injection[DiskFault]):
    def __init__(self, stage: Stage, fault: DiskFault) -> None:
        super().__init__(stage, fault)
        self._saboteurs: dict[int, EndsWhilePending | _Fails] = {}
        self._images: dict[int, Image] = {}
        self._reads: dict[int, int] = {}

    def begin(self) -> None:
        for node in self.choose(self.fault.target):
            match self.fault.mode:
                case "bit_rot":
                    self._rot(node)
                case "old_snapshot":
                    self._images[node] = self.stage.cluster.node(node).disk.take_image()
                case "eio" | "enospc":
                    self._plant(node, _Fails(in_sync=self.stage.random.random() < 0.5))
                case mode:
                    self._plant(node, EndsWhilePending(_LOSSES[mode]))

    def end(self) -> None:
        for node, saboteur in self._saboteurs.items():
            self.stage.dismiss(node, saboteur)
            self.bites += saboteur.hits
            if isinstance(saboteur, _Fails):
                self.stage.marks["disk_errors"] += saboteur.hits
            self.stage.let_up(node, self)
        for node, before in self._reads.items():
            disk = self.stage.cluster.node(node).disk
            self.bites += disk.failed_reads - before
            self.stage.marks["blocks_rotted"] += bool(disk.failed_reads - before)
            disk.rot(())
            self.stage.let_up(node, self)
        for node, image in self._images.items():
            self._put_back(node, image)

    def _plant(self, node: int, saboteur: EndsWhilePending | _Fails) -> None:
        self._saboteurs[node] = saboteur
        self.stage.keep_down(node, self)
        self.stage.plant(node, saboteur)

    def _rot(self, node: int) -> None:
        disk = self.stage.cluster.node(node).disk
        recent = disk.decided[1:][-ROTTEN_BLOCKS_MAX:]
        if recent:
            self.stage.keep_down(node, self)
            self._reads[node] = disk.failed_reads
            first = self.stage.random.randrange(len(recent))
            disk.rot([block.commitment for block in recent[first:]])

    def _put_back(self, node: int, image: Image) -> None:
        if not self.stage.may_be_byzantine(node):
            self.detail = f"n{node} keeps its disk: as a Byzantine one it would be one too many"
            return
        process = self.stage.cluster.node(node)
        self.stage.admit(process.id)
        self.stage.hold_down(node, self)
        process.disk.put_image_back(image)
        self.bites += 1
        self.stage.marks["snapshots_put_back"] += 1
        self.stage.let_up(node, self)


class SlowDownDisk(Injection[SlowDisk]):
    """It bites in every sync."""

    def __init__(self, stage: Stage, fault: SlowDisk) -> None:
        super().__init__(stage, fault)
        self._before: dict[int, int] = {}

    def begin(self) -> None:
        for node in self.choose(self.fault.target):
            self._before[node] = self.stage.cluster.node(node).disk.syncs
            self.stage.set_disk(node, self, DiskModel(Exponential(round(self.fault.sync_ms * 1000))))

    def end(self) -> None:
        for node, before in self._before.items():
            self.stage.set_disk(node, self, None)
            self.bites += self.stage.cluster.node(node).disk.syncs - before
