"""What a crash may not undo: R8."""

from tests.mutants.mutant import Edit, Mutant, plant

SAFETY = "consensus/safety.py"
REPLICA = "consensus/replica.py"
NEAR = ("tests/paper/test_durability.py", "tests/paper/test_recovery.py", "tests/paper/test_views.py")
TAKES_RECORD = "        self.record = record\n"


def _lose(name: str, story: str, change: str) -> Mutant:
    """A restart that forgets one field of the record."""
    forgotten = f"        self.record = msgspec.structs.replace(record, {change})\n"
    machine = "tests/consensus/test_replica_machine.py"
    return plant(name, "R8", story, SAFETY, TAKES_RECORD, forgotten, near=(*NEAR, machine))


MUTANTS: tuple[Mutant, ...] = (
    plant(
        "vote-before-sync",
        "R8",
        "votes leave beside their record instead of behind it",
        REPLICA,
        "            self._persist(Broadcast(vote), blocks=blocks)\n",
        "            self._emit(Broadcast(vote))\n            self._persist(blocks=blocks)\n",
        near=NEAR,
    ),
    plant(
        "timeout-before-sync",
        "R8",
        "timeouts leave beside their record instead of behind it",
        REPLICA,
        "        self._persist(Broadcast(vote))\n        self._emit(SetTimer(",
        "        self._emit(Broadcast(vote))\n        self._persist()\n        self._emit(SetTimer(",
        near=NEAR,
    ),
    plant(
        "proposal-before-sync",
        "R8",
        "proposals leave beside their record instead of behind it",
        REPLICA,
        "        self._persist(Broadcast(proposal), blocks=(block,))\n",
        "        self._emit(Broadcast(proposal))\n        self._persist(blocks=(block,))\n",
        near=NEAR,
    ),
    plant(
        "no-sync",
        "R8",
        "a turn never asks for a sync: what left the node may be forgotten by its disk",
        "consensus/effects.py",
        "        return self.record is not None\n",
        "        return False\n",
        near=NEAR,
    ),
    plant(
        "first-record-of-a-turn",
        "R8",
        "of several records of a turn the first is written",
        "consensus/effects.py",
        "            record = effect.record\n",
        "            record = record or effect.record\n",
        near=NEAR,
    ),
    plant(
        "block-not-stored-with-its-vote",
        "R8",
        "a vote is durable and the block that it is for is not",
        REPLICA,
        "            self._persist(Broadcast(vote), blocks=blocks)\n",
        "            self._persist(Broadcast(vote))\n",
        near=NEAR,
    ),
    plant(
        "entry-not-durable",
        "R8",
        "entering a view writes nothing: after a crash of everyone the way back in is lost",
        REPLICA,
        "        self._persist()\n",
        "",
        near=NEAR,
    ),
    plant(
        "record-lost",
        "R8",
        "a validator that starts again knows nothing of what it has signed",
        "consensus/member.py",
        "            recovered.record,\n",
        "            SafetyRecord.initial(self.context.genesis_qc),\n",
        near=("tests/simulation/test_scenarios.py",),
    ),
    _lose("voted-view-lost", "a restart forgets in which view it voted", "voted_view=View(0)"),
    _lose(
        "timed-out-view-lost", "a restart forgets which view it gave up", "timed_out_view=View(0), last_timeout=None"
    ),
    _lose("finalized-view-lost", "a restart forgets in which view it finalized", "finalized_view=View(0)"),
    _lose("proposed-view-lost", "a restart forgets that it has proposed", "proposed_view=View(0), proposed_leaf=None"),
    _lose("high-qc-lost", "a restart forgets the highest QC", "high_qc=context.genesis_qc"),
    _lose("entry-lost", "a restart forgets how it came into its view", "entry=context.genesis_qc"),
    plant(
        "votes-not-sent-again",
        "R8",
        "after a restart of everyone the last votes are never sent again: what had a quorum is lost",
        REPLICA,
        "for vote in (record.last_vote, record.last_finalize):",
        "for vote in (record.last_vote, record.last_finalize)[:0]:",
        near=NEAR,
    ),
    plant(
        "timeout-not-sent-again",
        "R8",
        "after a restart a replica that had timed out waits in silence",
        REPLICA,
        '            self._time_out("restarted")\n',
        "            return\n",
        near=NEAR,
    ),
    plant(
        "sent-again-before-sync",
        "R8",
        "what is said again after a restart does not wait for the record that a killed process left unsynced",
        REPLICA,
        "                self._persist(Broadcast(vote))\n                self._count_vote",
        "                self._emit(Broadcast(vote))\n                self._count_vote",
        near=NEAR,
    ),
    plant(
        "proposal-not-sent-again",
        "R8",
        "after a restart the leader keeps silent about the proposal that it had signed",
        REPLICA,
        "        if proposed is not None and proposed.leaf.view == self.view:\n",
        "        if proposed is not None and not proposed.leaf.view:\n",
        near=("tests/paper/test_views.py",),
    ),
    plant(
        "node-releases-before-it-writes",
        "R8",
        "a node lets its messages go and writes the record afterwards",
        "sequencer/node.py",
        "            await self.storage.append(turn)\n",
        "",
        Edit(
            "sequencer/node.py",
            "            self._release.carry_out(effect)\n        for decide",
            "            self._release.carry_out(effect)\n"
            "        if turn.record is not None or turn.blocks or turn.decides:\n"
            "            await self.storage.append(turn)\n        for decide",
        ),
        near=("tests/node/test_node.py",),
    ),
    plant(
        "commit-without-sync",
        "R8",
        "the node's database commits the record without a sync",
        "sequencer/storage/writer.py",
        'return "FULL" if must_sync else "NORMAL"',
        'return "NORMAL"',
        near=("tests/node/test_storage_checkpoint.py", "tests/node/test_storage.py"),
    ),
)
