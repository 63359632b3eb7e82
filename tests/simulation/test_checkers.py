"""Negative controls: each oracle is shown the violation that it exists for, and must not let it pass."""

import pytest
from msgspec.structs import replace

from consensus.certificates import FinalityCertificate, QuorumCertificate, TimeoutCertificate
from consensus.effects import Decide, EnteredView
from consensus.leaf import Block
from consensus.messages import FinalizeVote, Message, QuorumProposal, QuorumVote, TimeoutVote
from consensus.safety import SafetyRecord
from consensus.stake_table import StakeTable
from consensus.types import Commitment, Epoch, Microseconds, ValidatorId, View
from netsim.checkers import Violation
from netsim.checkers.agreement import Agreement
from netsim.checkers.certificates import Certificates
from netsim.checkers.order import DecideOrder
from netsim.checkers.timeouts import FinalizeBeforeTimeout
from netsim.checkers.transactions import TransactionsOnce
from netsim.checkers.views import ViewsAdvance
from netsim.checkers.votes import OneVotePerView
from netsim.cluster import Cluster, ExpectationFailed
from netsim.observer import Observer

NOW = Microseconds(1)
NODE, OTHER = ValidatorId(1), ValidatorId(2)
ELSEWHERE = Commitment(b"\7" * 32)


class Log(Observer):
    """What really happened in a healthy run with a few timeouts: material to falsify."""

    def __init__(self) -> None:
        self.decides: list[Decide] = []
        self.messages: list[Message] = []

    def on_decide(self, now: Microseconds, node: ValidatorId, decide: Decide) -> None:
        if node == NODE:
            self.decides.append(decide)

    def on_send(self, now: Microseconds, node: ValidatorId, message: Message) -> None:
        if node == NODE:
            self.messages.append(message)

    def first(self, kind: type[Message]) -> Message:
        return next(message for message in self.messages if isinstance(message, kind))


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    log = Log()
    cluster = Cluster(4, seed=1, observers=(log,))
    cluster.run_until(height=10)
    cluster.node(3).crash()
    cluster.run_until(height=25)
    return cluster


@pytest.fixture(scope="module")
def log(cluster: Cluster) -> Log:
    return next(observer for observer in cluster.observers if isinstance(observer, Log))


@pytest.fixture
def record(cluster: Cluster) -> SafetyRecord:
    return SafetyRecord.initial(cluster.context.genesis_qc)


def forge(block: Block, **changes: object) -> Block:
    return Block(replace(block.leaf, **changes), block.payload)


class TestAgreement:
    @pytest.fixture
    def checker(self, cluster: Cluster, log: Log) -> Agreement:
        checker = Agreement(cluster.context.genesis)
        for decide in log.decides[:5]:
            checker.on_decide(NOW, NODE, decide)
        return checker

    def test_the_same_chain_passes(self, checker: Agreement, log: Log) -> None:
        for decide in log.decides:
            checker.on_decide(NOW, OTHER, decide)
        assert checker.height == sum(len(decide.blocks) for decide in log.decides)

    def test_another_block_at_a_height(self, checker: Agreement, log: Log) -> None:
        block = log.decides[2].blocks[0]
        with pytest.raises(Violation, match=f"two blocks at height {block.leaf.height}"):
            checker.on_decide(NOW, OTHER, Decide((forge(block, timestamp_ms=1),), log.decides[2].fc))

    def test_a_block_with_another_parent(self, checker: Agreement, log: Log) -> None:
        block = log.decides[5].blocks[0]
        with pytest.raises(Violation, match="no child of"):
            checker.on_decide(NOW, OTHER, Decide((forge(block, parent=ELSEWHERE),), log.decides[5].fc))

    def test_a_height_out_of_reach(self, checker: Agreement, log: Log) -> None:
        with pytest.raises(Violation, match="nobody has decided height"):
            checker.on_decide(NOW, OTHER, log.decides[9])

    def test_a_payload_of_another_block(self, checker: Agreement, log: Log) -> None:
        decide = log.decides[5]
        block = Block(decide.blocks[0].leaf, b"another")
        with pytest.raises(Violation, match="payload that is not its own"):
            checker.on_decide(NOW, OTHER, Decide((block,), decide.fc))

    def test_a_payload_of_another_block_where_others_have_decided_already(self, checker: Agreement, log: Log) -> None:
        """Whoever comes late gets blocks from whom it asks."""
        decide = log.decides[2]
        with pytest.raises(Violation, match="with a payload that is not its own"):
            checker.on_decide(NOW, OTHER, Decide((Block(decide.blocks[0].leaf, b"another"),), decide.fc))

    def test_a_fork_on_disk_is_found_at_the_restart(
        self, checker: Agreement, cluster: Cluster, log: Log, record: SafetyRecord
    ) -> None:
        fork = forge(log.decides[0].blocks[0], timestamp_ms=1)
        with pytest.raises(Violation, match="two blocks at height 1"):
            checker.on_start(NOW, OTHER, record, [cluster.context.genesis, fork])

    def test_a_byzantine_node_may_say_what_it_likes(self, cluster: Cluster, log: Log) -> None:
        checker = Agreement(cluster.context.genesis, byzantine={OTHER})
        checker.on_decide(NOW, OTHER, log.decides[3])
        assert checker.height == 0


class TestVotes:
    @pytest.mark.parametrize("kind", [QuorumVote, FinalizeVote])
    def test_two_votes_of_a_kind_in_one_view(self, log: Log, kind: type[QuorumVote | FinalizeVote]) -> None:
        vote = log.first(kind)
        assert isinstance(vote, QuorumVote | FinalizeVote)
        checker = OneVotePerView()
        checker.on_send(NOW, NODE, vote)
        checker.on_send(NOW, NODE, vote)  # a repetition is no second vote
        with pytest.raises(Violation, match="sent two different"):
            checker.on_send(NOW, NODE, replace(vote, leaf=ELSEWHERE))

    def test_a_quorum_vote_and_a_finalize_vote_may_differ(self, log: Log) -> None:
        vote = log.first(QuorumVote)
        assert isinstance(vote, QuorumVote)
        checker = OneVotePerView()
        checker.on_send(NOW, NODE, vote)
        checker.on_send(NOW, NODE, FinalizeVote(vote.epoch, vote.view, ELSEWHERE, vote.voter, b""))
        assert checker.statements == 2

    def test_two_proposals_in_one_view(self, log: Log) -> None:
        proposal = log.first(QuorumProposal)
        assert isinstance(proposal, QuorumProposal)
        checker = OneVotePerView()
        checker.on_send(NOW, NODE, proposal)
        with pytest.raises(Violation, match="two different proposals"):
            checker.on_send(NOW, NODE, replace(proposal, leaf=replace(proposal.leaf, timestamp_ms=1)))

    def test_a_timeout_vote_that_changes_its_mind(self, log: Log) -> None:
        vote = log.first(TimeoutVote)
        assert isinstance(vote, TimeoutVote)
        checker = OneVotePerView()
        checker.on_send(NOW, NODE, vote)
        with pytest.raises(Violation, match="two different timeout votes"):
            checker.on_send(NOW, NODE, replace(vote, high_qc_view=View(vote.high_qc_view - 1)))

    def test_a_vote_in_anothers_name(self, log: Log) -> None:
        with pytest.raises(Violation, match="sent a quorum vote of 1"):
            OneVotePerView().on_send(NOW, OTHER, log.first(QuorumVote))


class TestTimeouts:
    @pytest.fixture
    def timeout(self, log: Log) -> TimeoutVote:
        vote = log.first(TimeoutVote)
        assert isinstance(vote, TimeoutVote)
        return vote

    def finalize(self, view: int) -> FinalizeVote:
        return FinalizeVote(Epoch(0), View(view), ELSEWHERE, NODE, b"")

    def test_a_finalize_vote_after_the_timeout(self, timeout: TimeoutVote) -> None:
        checker = FinalizeBeforeTimeout()
        checker.on_send(NOW, NODE, self.finalize(timeout.high_qc_view))
        checker.on_send(NOW, NODE, timeout)
        checker.on_send(NOW, NODE, self.finalize(timeout.high_qc_view))  # repeated, not new
        for view in (timeout.view, timeout.high_qc_view - 1):
            with pytest.raises(Violation, match="after its timeout of view"):
                checker.on_send(NOW, NODE, self.finalize(view))
        checker.on_send(NOW, NODE, self.finalize(timeout.view + 1))

    def test_what_the_record_holds_at_a_start_was_signed_before(
        self, timeout: TimeoutVote, record: SafetyRecord
    ) -> None:
        checker = FinalizeBeforeTimeout()
        checker.on_start(NOW, NODE, replace(record, last_finalize=self.finalize(timeout.high_qc_view)), [])
        checker.on_send(NOW, NODE, timeout)
        checker.on_send(NOW, NODE, self.finalize(timeout.high_qc_view))
        assert checker.timeouts == 1

    def test_a_timeout_that_signs_less_than_it_finalized(self, timeout: TimeoutVote) -> None:
        checker = FinalizeBeforeTimeout()
        checker.on_send(NOW, NODE, self.finalize(timeout.view))
        with pytest.raises(Violation, match="E4"):
            checker.on_send(NOW, NODE, timeout)


class TestOrder:
    @pytest.fixture
    def checker(self, cluster: Cluster, log: Log, record: SafetyRecord) -> DecideOrder:
        checker = DecideOrder()
        checker.on_start(NOW, NODE, record, [cluster.context.genesis])
        for decide in log.decides[:3]:
            checker.on_decide(NOW, NODE, decide)
        return checker

    def test_a_doubled_decide(self, checker: DecideOrder, log: Log) -> None:
        with pytest.raises(Violation, match="decided height"):
            checker.on_decide(NOW, NODE, log.decides[2])

    def test_a_skipped_height(self, checker: DecideOrder, log: Log) -> None:
        with pytest.raises(Violation, match="decided height"):
            checker.on_decide(NOW, NODE, log.decides[4])

    def test_blocks_newest_first(self, checker: DecideOrder, log: Log) -> None:
        blocks = log.decides[3].blocks + log.decides[4].blocks
        with pytest.raises(Violation, match="decided height"):
            checker.on_decide(NOW, NODE, Decide(blocks[::-1], log.decides[4].fc))

    def test_an_empty_decide(self, checker: DecideOrder, log: Log) -> None:
        with pytest.raises(Violation, match="decided nothing"):
            checker.on_decide(NOW, NODE, Decide((), log.decides[3].fc))

    def test_a_certificate_for_an_earlier_block(self, checker: DecideOrder, log: Log) -> None:
        with pytest.raises(Violation, match="for another leaf"):
            checker.on_decide(NOW, NODE, Decide(log.decides[3].blocks, log.decides[2].fc))

    def test_a_view_that_falls_along_the_chain(self, checker: DecideOrder, log: Log) -> None:
        block = forge(log.decides[3].blocks[0], view=View(1))
        with pytest.raises(Violation, match="decided view 1"):
            checker.on_decide(NOW, NODE, Decide((block,), log.decides[3].fc))


class TestViews:
    def test_a_view_entered_twice(self, cluster: Cluster, record: SafetyRecord) -> None:
        checker = ViewsAdvance()
        checker.on_start(NOW, NODE, record, [cluster.context.genesis])
        checker.on_enter(NOW, NODE, EnteredView(View(5), None, timed_out=False))
        for view in (5, 4):
            with pytest.raises(Violation, match=rf"entered \(epoch, view\) \(0, {view}\) after \(0, 5\)"):
                checker.on_enter(NOW, NODE, EnteredView(View(view), None, timed_out=False))

    @pytest.mark.parametrize("kind", [QuorumVote, FinalizeVote, TimeoutVote, QuorumProposal])
    def test_a_restart_below_what_was_signed(
        self, cluster: Cluster, log: Log, record: SafetyRecord, kind: type[Message]
    ) -> None:
        checker = ViewsAdvance()
        checker.on_start(NOW, NODE, record, [cluster.context.genesis])
        message = next(message for message in reversed(log.messages) if isinstance(message, kind))
        checker.on_send(NOW, NODE, message)
        with pytest.raises(Violation, match="R8: node 1 starts in view \\(0, 1\\)"):
            checker.on_start(NOW, NODE, record, [cluster.context.genesis])


class TestCertificates:
    @pytest.fixture
    def checker(self, cluster: Cluster) -> Certificates:
        return Certificates(cluster.context)

    @pytest.fixture
    def fc(self, log: Log) -> FinalityCertificate:
        return log.decides[3].fc

    @pytest.fixture
    def tc(self, log: Log) -> TimeoutCertificate:
        return next(
            tc
            for decide in log.decides
            for block in decide.blocks
            if (tc := block.leaf.timeout_certificate) is not None
        )

    def drop_signer(self, qc: QuorumCertificate) -> QuorumCertificate:
        """One signature short, and otherwise in order."""
        lowest = qc.signers[0] & -qc.signers[0]
        return replace(qc, signers=bytes([qc.signers[0] ^ lowest]), proof=qc.proof[16:])

    def test_what_the_replicas_made_passes(self, checker: Certificates, log: Log) -> None:
        for decide in log.decides:
            checker.on_decide(NOW, NODE, decide)
        assert checker.verified > 2 * len(log.decides)

    def test_a_quorum_less_one(self, checker: Certificates, fc: FinalityCertificate) -> None:
        with pytest.raises(Violation, match="2 of 4 stake"):
            checker.check(self.drop_signer(fc.qc))
        with pytest.raises(Violation, match="2 of 4 stake"):
            checker.check(replace(fc, qc=self.drop_signer(fc.qc)))

    def test_a_forged_signature(self, checker: Certificates, fc: FinalityCertificate, tc: TimeoutCertificate) -> None:
        for certificate in (fc, fc.qc, tc):
            forged = certificate.proof[:-1] + bytes([certificate.proof[-1] ^ 1])
            with pytest.raises(Violation, match="a forged signature"):
                checker.check(replace(certificate, proof=forged))

    def test_a_certificate_moved_to_another_view_or_leaf(self, checker: Certificates, fc: FinalityCertificate) -> None:
        for qc in (replace(fc.qc, view=View(fc.view + 1)), replace(fc.qc, leaf=ELSEWHERE)):
            with pytest.raises(Violation, match="a forged signature"):
                checker.check(qc)
            with pytest.raises(Violation, match="holds the QC of"):
                checker.check(replace(fc, qc=qc))

    def test_a_quorum_certificate_passed_off_as_finality(self, checker: Certificates, fc: FinalityCertificate) -> None:
        """P1: the kind is under the signature."""
        with pytest.raises(Violation, match="a forged signature"):
            checker.check(replace(fc, signers=fc.qc.signers, proof=fc.qc.proof))

    def test_a_timeout_certificate_with_other_views(self, checker: Certificates, tc: TimeoutCertificate) -> None:
        checker.check(tc)
        lowered = tuple(View(view - 1) for view in tc.high_qc_views)
        with pytest.raises(Violation, match="a forged signature"):
            checker.check(replace(tc, high_qc_views=lowered))
        with pytest.raises(Violation, match="signed"):
            checker.check(replace(tc, high_qc_views=(tc.view, *tc.high_qc_views[1:])))

    def test_a_timeout_certificate_with_one_view_for_all(self, checker: Certificates, tc: TimeoutCertificate) -> None:
        """They all signed the same one here, so each signature is genuine."""
        assert len(set(tc.high_qc_views)) == 1
        with pytest.raises(Violation, match="has not one signature a signer"):
            checker.check(replace(tc, high_qc_views=tc.high_qc_views[:1]))

    def test_a_bitmap_of_another_form(self, checker: Certificates, fc: FinalityCertificate) -> None:
        """P4: nobody stands behind the bits that are too many, but one object has one encoding."""
        for signers in (b"", fc.qc.signers + b"\0", bytes([fc.qc.signers[0] | 1 << 4])):
            with pytest.raises(Violation, match="signers for 4 validators"):
                checker.check(replace(fc.qc, signers=signers))

    def test_a_leaf_that_skips_views_without_leave(self, checker: Certificates, log: Log) -> None:
        block = log.decides[3].blocks[0]
        skipping = forge(block, view=View(block.leaf.view + 1))
        with pytest.raises(Violation, match="R3c"):
            checker.on_decide(NOW, NODE, Decide((skipping,), log.decides[3].fc))


class TestTransactions:
    def test_a_transaction_in_two_blocks(self, log: Log) -> None:
        checker = TransactionsOnce()
        first = next(block for decide in log.decides for block in decide.blocks if block.payload)
        checker.on_decide(NOW, NODE, Decide((first,), log.decides[0].fc))
        checker.on_decide(NOW, OTHER, Decide((first,), log.decides[0].fc))  # the same block on another node
        assert checker.count > 0
        again = forge(first, height=first.leaf.height + 1)
        with pytest.raises(Violation, match="stands at height"):
            checker.on_decide(NOW, NODE, Decide((again,), log.decides[0].fc))


class TestWholeClusters:
    """The protocol is broken on purpose, one rule at a time, and run for real."""

    @pytest.fixture
    def half_is_a_quorum(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(StakeTable, "success_threshold", property(lambda table: table.total // 2))

    @pytest.mark.usefixtures("half_is_a_quorum")
    def test_a_quorum_that_is_too_small_forks_and_is_caught(self) -> None:
        cluster = Cluster(4, seed=1)
        cluster.observers[:] = [Agreement(cluster.context.genesis)]
        cluster.partition({0, 1}, {2, 3})
        with pytest.raises(Violation, match="agreement") as raised:
            cluster.run_for(30)
        notes = "\n".join(raised.value.__notes__)
        assert "Cluster(nodes=4, seed=1)" in notes
        assert cluster.audit_hash in notes

    @pytest.mark.usefixtures("half_is_a_quorum")
    def test_the_certificates_give_it_away_even_without_a_fork(self) -> None:
        cluster = Cluster(4, seed=1)
        with pytest.raises(Violation, match="P2: 2 of 4 stake"):
            cluster.run_for(30)

    def test_records_from_a_moment_ago_make_nodes_contradict_themselves(self) -> None:
        """R8: old copies of the records in place of the newest, and only the message log to tell."""
        found = set()
        for seed in range(10):
            cluster = Cluster(4, seed)
            cluster.observers[:] = [OneVotePerView()]
            cluster.run_for(0.02 + 0.0003 * seed)
            records = [process.disk.record for process in cluster.processes]
            cluster.run_for(0.0015)
            for process, record in zip(cluster.processes, records, strict=True):
                process.crash()
                process.disk.put_back(record)
            cluster.run_for(0.01)
            for process in cluster.processes:
                process.restart()
            try:
                cluster.run_for(0.5)
            except Violation as violation:
                found.add(violation.rule)
        assert found == {"one vote"}

    def test_a_restart_below_its_own_votes_is_caught_at_once(self) -> None:
        cluster = Cluster(4, seed=1)
        record = cluster.node(1).disk.record
        cluster.run_until(height=10)
        cluster.node(1).crash()
        cluster.node(1).disk.put_back(record)
        with pytest.raises(Violation, match="R8: node 1 starts in view \\(0, 1\\)"):
            cluster.node(1).restart()

    def test_two_of_four_without_a_voice_stall_and_the_scenario_says_how_to_replay_it(self) -> None:
        cluster = Cluster(4, seed=9)
        for mute in (0, 1):
            for other in range(4):
                if other != mute:
                    cluster.cut(mute, other)
        with pytest.raises(ExpectationFailed) as raised:
            cluster.run_until(height=1, timeout_seconds=10)
        message = str(raised.value)
        assert "height 1 was not reached within 10 virtual seconds" in message
        assert "replay: run the same scenario with Cluster(nodes=4, seed=9)" in message
        assert cluster.audit_hash in message
        with pytest.raises(ExpectationFailed, match="expected that pigs fly"):
            cluster.expect(False, "pigs fly")
