"""Each forger's actor by itself: what it says can be read by everyone, and is refused for what is wrong with it."""

from collections.abc import Iterator

import pytest

from consensus.errors import InvalidMessage
from consensus.evidence import find_evidence_flaw
from consensus.leaf import Block, compute_leaf_commitment, make_header
from consensus.messages import (
    EpochEnd,
    EvidenceNotice,
    FinalizeVote,
    LeafResponse,
    Message,
    ProposalEcho,
    QuorumProposal,
    QuorumVote,
    RangeResponse,
    ReplicaMessage,
    StatusRequest,
    StatusResponse,
    TimeoutVote,
    decode,
    encode,
)
from consensus.types import Epoch, ValidatorId, View
from consensus.validation import Deferred
from netsim.byzantine.actor import Actor
from netsim.byzantine.fork_tail import ForkTail
from netsim.byzantine.replay import REMEMBERED_MAX, Replay
from tests.lab import EPOCH, Lab
from tests.simulation.test_actors import FORGERS, LIAR, make, say

VIEWS = 24


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="module")
def chain(lab: Lab) -> list[Block]:
    return lab.chain(VIEWS)


def list_words(lab: Lab, chain: list[Block]) -> Iterator[tuple[ReplicaMessage, bool]]:
    """What the liar's replica says in these views, and what it hears; the second says which."""
    for block in chain:
        view, own = block.leaf.view, block.leaf.proposer == LIAR
        yield lab.proposal(block), own
        for voter in range(4):
            yield lab.vote(voter, block), voter == LIAR
            yield lab.finalize(voter, block), voter == LIAR
        tc = lab.tc(view, lab.qc(block)) if view % 3 == 0 else None
        for voter in range(4):
            yield lab.timeout(voter, view + 1, lab.qc(block), tc), voter == LIAR
        yield StatusRequest(Epoch(EPOCH), view), True
        yield StatusResponse(lab.qc(block), lab.fc(block), tc), view % 2 == 0
        yield LeafResponse(block.leaf, block.payload), True
        blocks = tuple(LeafResponse(each.leaf, each.payload) for each in chain[:view])
        yield RangeResponse(blocks[:-1] or blocks, (block.leaf,) if len(blocks) > 1 else (), lab.fc(block)), True


def let_speak(actor: Actor, lab: Lab, chain: list[Block]) -> list[tuple[Message, list[Message]]]:
    """Each of its replica's words, and what one peer gets instead."""
    said: list[tuple[Message, list[Message]]] = []
    for word, is_own in list_words(lab, chain):
        if is_own:
            said += [(word, instead) for instead in say(actor, word)]
        else:
            actor.hear(word)
    return said


def find_refusal(lab: Lab, message: Message) -> str | None:
    """Why validation, or the tally behind it, does not take this from the liar."""
    try:
        item = lab.validator.validate(ValidatorId(LIAR), message)  # type: ignore[arg-type]
    except InvalidMessage as error:
        return error.reason
    if isinstance(item, Deferred) and not lab.validator.is_genuine(item.vote):
        return "bad_signature"
    return None


@pytest.mark.parametrize("name", sorted(FORGERS))
def test_whatever_a_forger_says_can_be_read_and_much_of_it_is_refused(lab: Lab, chain: list[Block], name: str) -> None:
    """What no node could read would not get past the codec, and test nothing behind it."""
    said = [message for _, instead in let_speak(make(lab, name), lab, chain) for message in instead]
    assert all(decode(encode(message)) == message for message in said)
    refused = [reason for reason in (find_refusal(lab, message) for message in said) if reason is not None]
    assert len(refused) > 10 or name == "speak_ahead", refused


def test_every_forged_certificate_is_refused_and_the_genuine_word_follows(lab: Lab, chain: list[Block]) -> None:
    reasons = set()
    for word, instead in let_speak(make(lab, "forge_certificates"), lab, chain):
        if isinstance(word, QuorumProposal | TimeoutVote | QuorumVote) and len(instead) == 2:
            assert instead[-1] == word
            reasons.add(find_refusal(lab, instead[0]))
    assert None not in reasons
    assert reasons >= {"bad_signature", "no_quorum", "bad_certificate", "bad_bitmap"}


def test_replay_repeats_what_was_said_and_keeps_a_bounded_part_of_it(lab: Lab, chain: list[Block]) -> None:
    actor = make(lab, "replay")
    assert isinstance(actor, Replay)
    known: list[Message] = []
    foreign = 0
    for word, is_own in list_words(lab, chain):
        known.append(word)
        if not is_own:
            actor.hear(word)
            continue
        *old, last = actor.send(word, ValidatorId(0))
        assert last == word
        assert all(message in known for message in old)
        foreign += sum(isinstance(message, QuorumVote) and message.voter != LIAR for message in old)
    assert foreign > 0
    assert len(actor._said) == REMEMBERED_MAX < len(known)


def test_speak_ahead_votes_within_the_window_and_far_beyond_it(lab: Lab, chain: list[Block]) -> None:
    window = lab.context.parameters.view_window
    distances, epochs, kinds = set(), set(), set()
    for word, (_, *extra) in ((word, instead) for word, instead in let_speak(make(lab, "speak_ahead"), lab, chain)):
        for message in extra:
            kinds.add(type(message))
            if isinstance(message, QuorumVote | FinalizeVote) and isinstance(word, QuorumVote | FinalizeVote):
                distances.add(message.view - word.view)
                epochs.add(message.epoch - word.epoch)
    assert {1, window, window + 1} <= distances
    assert max(distances) > 10**9
    assert {0, 1} <= epochs
    assert kinds >= {QuorumVote, FinalizeVote, TimeoutVote, QuorumProposal, StatusRequest, EpochEnd}


def test_serve_lies_gives_no_answer_that_helps(lab: Lab, chain: list[Block]) -> None:
    """Refused whole, or genuine and useless: an old range, another block than the one that was asked for."""
    reasons = set()
    for word, instead in let_speak(make(lab, "serve_lies"), lab, chain):
        if isinstance(word, LeafResponse | RangeResponse):
            assert instead != [word]
            reasons.add((type(word), find_refusal(lab, instead[0])))
    assert reasons >= {(RangeResponse, reason) for reason in ("bad_range", "bad_payload", "bad_signature")}
    assert reasons >= {(LeafResponse, "bad_payload"), (LeafResponse, None)}


def test_mutate_slightly_signs_what_it_has_bent(lab: Lab, chain: list[Block]) -> None:
    """The signature does not give it away: half a dozen kinds of votes and proposals are refused by content alone."""
    genuine = mutants = 0
    for word, instead in let_speak(make(lab, "mutate_slightly"), lab, chain):
        for message in instead:
            if message != word and isinstance(message, QuorumVote | FinalizeVote):
                mutants += 1
                genuine += lab.validator.is_genuine(message)
    assert mutants > genuine > mutants // 2


def test_a_flood_has_no_signature_that_is_right(lab: Lab, chain: list[Block]) -> None:
    for word, instead in let_speak(make(lab, "flood_signatures"), lab, chain[:8]):
        for message in instead:
            if isinstance(message, ProposalEcho) or (message != word and not isinstance(message, FinalizeVote)):
                assert find_refusal(lab, message) == "bad_signature"


def test_no_proof_that_a_framer_makes_up_is_one(lab: Lab, chain: list[Block]) -> None:
    """Section 4: of every kind, against every honest validator; half of what is in them is genuine."""
    accused, rules = set(), set()
    actor = make(lab, "frame")
    for _ in range(5):
        for _, instead in let_speak(actor, lab, chain):
            for message in instead:
                proofs = [message.evidence] if isinstance(message, EvidenceNotice) else []
                proofs += message.leaf.evidence if isinstance(message, QuorumProposal) else []
                for evidence in proofs:
                    key = lab.table.get_validator(evidence.offender).public_key
                    flaw = find_evidence_flaw(evidence, key, lab.scheme, lab.context.network_id)
                    assert flaw is not None
                    accused.add(int(evidence.offender))
                    rules.add(type(evidence).__name__)
    assert accused >= {0, 2, 3}
    assert rules == {"DoubleProposal", "DoubleVote", "DoubleFinalize", "ForgottenFinalize", "UnjustifiedVote"}


def test_fork_tail_extends_what_those_know_who_gave_up_and_drops_what_came_later(lab: Lab) -> None:
    """R3c allows it: two of the others had seen no QC of view 8 when they gave up on it."""
    actor = make(lab, "fork_tail")
    assert isinstance(actor, ForkTail)
    chain = lab.chain(8)
    for block in chain:
        actor.hear(lab.proposal(block))
    for voter in (0, 2):
        actor.hear(lab.timeout(voter, 8, lab.qc(chain[6])))
    late = lab.block(chain[7], 9)
    assert late.leaf.proposer == LIAR
    assert say(actor, lab.proposal(late)) == [[]] * 3
    timeout = lab.timeout(LIAR, 9, lab.qc(chain[7]))
    (fork, vote), *others = say(actor, timeout)
    assert others == [[fork, vote]] * 2
    assert isinstance(fork, QuorumProposal)
    assert (fork.leaf.parent, fork.leaf.height) == (chain[6].commitment, chain[7].leaf.height)
    assert fork.leaf.ledger == lab.get_ledger(chain[6]).commitment
    assert make_header(fork.leaf).is_justified
    assert find_refusal(lab, fork) is None
    assert isinstance(vote, QuorumVote)
    assert vote.leaf == compute_leaf_commitment(fork.leaf)
    assert actor.forks == 1
    actor.hear(lab.timeout(3, 8, lab.qc(chain[6])))
    assert say(actor, timeout) == [[fork, vote]] * 3, "another proposal in this view would be an offence"


def test_fork_tail_votes_for_nobody_else(lab: Lab) -> None:
    actor = make(lab, "fork_tail")
    block = lab.block(lab.genesis, 2, tc=lab.tc(1, lab.genesis_qc))
    actor.hear(lab.proposal(block))
    (timeout,) = say(actor, lab.vote(LIAR, block))[0]
    assert isinstance(timeout, TimeoutVote)
    assert (timeout.view, timeout.high_qc_view) == (View(2), View(0))
    assert say(actor, lab.finalize(LIAR, block)) == [[]] * 3
