"""`sequencer verify`: what is collected from a node that nobody trusts, and what is left of it in a file."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from consensus.leaf import compute_leaf_commitment
from consensus.messages import Snapshot, decode, encode
from consensus.types import Commitment, Epoch, Height
from sequencer.anchor import Anchor
from sequencer.cli.main import app
from sequencer.failures import CommandError, ExitCode
from sequencer.light.bundle import BlockProof, Bundle, decode_bundle, encode_bundle, verify_bundle
from sequencer.light.collecting import FINALITY_BYTES_MAX, PROBLEM_CHARACTERS_MAX, collect
from sequencer.light.errors import ProofError
from sequencer.light.examination import Proven, TransactionPlace
from sequencer.light.finality import Finality, encode_finality
from sequencer.light.questions import BlockAt, BlockNamed, LatestBlock, NamespaceRange, Question, TransactionIn
from sequencer.light.source import PROBLEM_BYTES_MAX, NodeSource
from sequencer.payload import compute_transaction_hash, encode_payload, make_transaction
from tests.node.light_node import URL, LightNode
from tests.node.signed_chain import EPOCH_BLOCKS, SignedChain

HEIGHT = 2 * EPOCH_BLOCKS + 1
BARE = 5


def make_chain() -> SignedChain:
    """In its third epoch, whose stake table is another one than the network file's. Every block has three transactions
    of namespace 7 and one of namespace 9, but for the fifth, which has none.
    """
    chain = SignedChain()
    chain.extend(make_payload(1), operations=[chain.bond(4, 40), chain.unbond(0)])
    chain.extend(*[make_payload(height) if height != BARE else b"" for height in range(2, 2 * EPOCH_BLOCKS + 3)])
    return chain


def list_sevens(height: int) -> list[bytes]:
    return [b"%d in %d" % (number, height) + bytes(2000) for number in range(3)]


def make_payload(height: int) -> bytes:
    return encode_payload([*(make_transaction(7, data) for data in list_sevens(height)), make_transaction(9, b"nine")])


CHAIN = make_chain()
NETWORK = CHAIN.network.context()
CHECKPOINT = Anchor(Epoch(0), CHAIN.blocks[EPOCH_BLOCKS].commitment)


def gather(node: LightNode, question: Question, trusted: Anchor | None = None) -> tuple[Bundle, Proven]:
    with node.open_source() as source:
        return collect(source, node.chain.network.context(), trusted, question)


@pytest.fixture
def node() -> LightNode:
    return LightNode(CHAIN)


def test_a_node_is_asked_for_the_end_of_each_epoch_and_the_block(node: LightNode) -> None:
    bundle, proven = gather(node, LatestBlock())
    assert [path.removeprefix("/v1/") for path in node.asked] == [
        "status",
        "blocks/latest/finality",
        "epochs/0/snapshot",
        "epochs/1/snapshot",
    ]
    (block,) = proven.blocks
    assert (block.leaf, block.hash) == (CHAIN.blocks[-1].leaf, CHAIN.blocks[-1].commitment)
    assert (block.signed.stake, block.signed.threshold, block.signed.total) == (70, 47, 70)
    assert (proven.epochs_followed, proven.trusted) == (2, None)
    assert proven.checkpoint == Anchor(Epoch(1), CHAIN.blocks[2 * EPOCH_BLOCKS].commitment)
    assert verify_bundle(decode_bundle(encode_bundle(bundle)), NETWORK, None) == proven


@pytest.mark.parametrize("height", [1, EPOCH_BLOCKS, EPOCH_BLOCKS + 1, HEIGHT])
def test_a_block_is_proven_by_height_and_by_hash(node: LightNode, height: int) -> None:
    commitment = CHAIN.blocks[height].commitment
    for question in (BlockAt(Height(height)), BlockNamed(commitment)):
        bundle, proven = gather(node, question)
        assert proven.blocks[0].hash == commitment
        assert len(bundle.snapshots) == (height - 1) // EPOCH_BLOCKS
        assert verify_bundle(bundle, NETWORK, None) == proven


def test_a_transaction_is_proven_with_its_place(node: LightNode) -> None:
    data = list_sevens(HEIGHT)[1]
    question = TransactionIn(Commitment(compute_transaction_hash(7, data)))
    bundle, proven = gather(node, question)
    (block,) = proven.blocks
    assert (block.leaf.height, block.namespace, block.transactions) == (HEIGHT, 7, (data,))
    assert bundle.blocks[0].place == TransactionPlace(7, 1)
    assert verify_bundle(decode_bundle(encode_bundle(bundle)), NETWORK, None) == proven


def test_a_namespace_is_proven_block_by_block_over_epochs(node: LightNode) -> None:
    """Where it has nothing, that is proven too."""
    bundle, proven = gather(node, NamespaceRange(7, Height(2), Height(HEIGHT)))
    found = {block.leaf.height: list(block.transactions) for block in proven.blocks}
    assert found == {height: list_sevens(height) if height != BARE else [] for height in range(2, HEIGHT + 1)}
    assert proven.epochs_followed == 2
    assert verify_bundle(decode_bundle(encode_bundle(bundle)), NETWORK, None) == proven
    absent = gather(node, NamespaceRange(8, Height(1), Height(1)))[1]
    assert (absent.blocks[0].namespace, absent.blocks[0].transactions) == (8, ())


def test_from_a_checkpoint_no_earlier_epoch_is_asked_for(node: LightNode) -> None:
    bundle, proven = gather(node, LatestBlock(), CHECKPOINT)
    assert "/v1/epochs/0/snapshot" in node.asked
    assert proven.epochs_followed == 1
    assert verify_bundle(bundle, NETWORK, CHECKPOINT) == proven
    # The next time there is nothing to follow.
    assert proven.checkpoint is not None
    assert gather(node, LatestBlock(), proven.checkpoint)[1].epochs_followed == 0


def test_what_lies_before_the_checkpoint_is_not_refuted(node: LightNode) -> None:
    with pytest.raises(CommandError, match="earlier checkpoint") as caught:
        gather(node, BlockAt(Height(2)), CHECKPOINT)
    assert caught.value.exit_code is ExitCode.INCONCLUSIVE


@pytest.mark.parametrize("question", [BlockAt(Height(999)), BlockNamed(Commitment(b"\xab" * 32))])
def test_what_the_node_does_not_have_is_not_refuted(node: LightNode, question: Question) -> None:
    with pytest.raises(CommandError, match="block_not_found") as caught:
        gather(node, question)
    assert caught.value.exit_code is ExitCode.INCONCLUSIVE


def test_what_a_stranger_says_does_no_harm_to_a_terminal(node: LightNode) -> None:
    node.refusal = "\x1b[2J" + "x" * 10_000
    with pytest.raises(CommandError) as caught:
        gather(node, BlockAt(Height(999)))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= PROBLEM_CHARACTERS_MAX
    node.refusal = "x" * PROBLEM_BYTES_MAX
    with pytest.raises(ProofError, match="oversized"):
        gather(node, BlockAt(Height(999)))


def test_an_epoch_that_nobody_can_show_is_inconclusive(node: LightNode) -> None:
    """The block says that it is of an epoch a billion away."""
    leaf = msgspec.structs.replace(CHAIN.blocks[HEIGHT].leaf, epoch=Epoch(10**9))
    node.bend["/v1/blocks/latest/finality"] = lambda: encode_finality(Finality((leaf,), CHAIN.finality(HEIGHT).fc))
    with pytest.raises(CommandError) as caught:
        gather(node, LatestBlock())
    assert caught.value.exit_code is ExitCode.INCONCLUSIVE
    assert node.asked[-1] == "/v1/epochs/2/snapshot"


def test_time_is_bounded(node: LightNode) -> None:
    with node.open_source(seconds=1e-9) as source, pytest.raises(CommandError, match="--timeout") as caught:
        collect(source, NETWORK, None, LatestBlock())
    assert caught.value.exit_code is ExitCode.INCONCLUSIVE


def strangers() -> SignedChain:
    """The same names and the same network file but for the keys."""
    chain = SignedChain(seed=7)
    chain.extend(*[b"more"] * (2 * EPOCH_BLOCKS + 2))
    return chain


def swapped_ledger() -> bytes:
    snapshot = decode(CHAIN.snapshots[1])
    assert isinstance(snapshot, Snapshot)
    return encode(msgspec.structs.replace(snapshot, ledger=msgspec.msgpack.encode(CHAIN._ledgers[0].state)))


FINALITY = f"/v1/blocks/{HEIGHT}/finality"
LIES: dict[str, tuple[str, Callable[[], bytes], str, str]] = {
    "another network": ("/v1/status", lambda: b'{"network_id": "0x00"}', "P1", "wrong_network"),
    "no JSON": ("/v1/status", lambda: b"[", "P4", "malformed"),
    "endless JSON": ("/v1/status", lambda: b" " * 2_000_000, "L4", "oversized"),
    "an endless certificate": (FINALITY, lambda: bytes(FINALITY_BYTES_MAX + 1), "L4", "oversized"),
    "the block above": (FINALITY, lambda: encode_finality(CHAIN.finality(HEIGHT + 1)), "R6", "not_asked_for"),
    "a block of an earlier epoch": (FINALITY, lambda: encode_finality(CHAIN.finality(3)), "R6", "not_asked_for"),
    "strangers": (FINALITY, lambda: encode_finality(strangers().finality(HEIGHT)), "P2", "bad_signature"),
    "a quorum minus one": (FINALITY, lambda: encode_finality(CHAIN.finality(HEIGHT, voters=(4,))), "P2", "no_quorum"),
    "an epoch in place of the next": ("/v1/epochs/1/snapshot", lambda: CHAIN.snapshots[0], "T1", "wrong_epoch"),
    "an epoch of strangers": ("/v1/epochs/0/snapshot", lambda: strangers().snapshots[0], "P2", "bad_signature"),
    "another stake table": ("/v1/epochs/1/snapshot", swapped_ledger, "T5", "bad_snapshot"),
    "nothing": ("/v1/epochs/1/snapshot", lambda: b"", "P4", "malformed"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_node_that_lies_is_found_out(node: LightNode, lie: str) -> None:
    path, answer, rule, reason = LIES[lie]
    node.bend[path] = answer
    with pytest.raises(ProofError) as caught:
        gather(node, BlockAt(Height(HEIGHT)))
    assert (caught.value.rule, caught.value.reason) == (rule, reason)


NAME = compute_transaction_hash(7, list_sevens(HEIGHT)[0])
PROOF = f"/v1/transactions/{NAME.hex()}/proof"
SEVENS = f"/v1/blocks/{HEIGHT}/namespaces/7"
TRUE = LightNode(CHAIN)
PAYLOAD_LIES: dict[str, tuple[Question, str, Callable[[], bytes], str, str]] = {
    "the transaction beside it": (
        TransactionIn(Commitment(NAME)),
        PROOF,
        lambda: TRUE.tell_transaction(CHAIN.blocks[HEIGHT], 1),
        "P3",
        "another_transaction",
    ),
    "a transaction of another block": (
        TransactionIn(Commitment(NAME)),
        PROOF,
        lambda: TRUE.tell_transaction(CHAIN.blocks[HEIGHT - 1], 0),
        "P3",
        "another_transaction",
    ),
    "a place in a namespace that is not there": (
        TransactionIn(Commitment(NAME)),
        PROOF,
        lambda: TRUE.tell_transaction(CHAIN.blocks[HEIGHT], 0, namespace=8),
        "P4",
        "absent",
    ),
    "a proof of absence in place of one of inclusion": (
        NamespaceRange(7, Height(HEIGHT), Height(HEIGHT)),
        SEVENS,
        lambda: TRUE.tell_namespace(HEIGHT, 7, proven=8),
        "P3",
        "incomplete",
    ),
    "the same namespace of another block": (
        NamespaceRange(7, Height(HEIGHT), Height(HEIGHT)),
        SEVENS,
        lambda: TRUE.tell_namespace(HEIGHT - 1, 7),
        "P3",
        "bad_payload_proof",
    ),
    "an empty block in place of one with transactions": (
        NamespaceRange(7, Height(HEIGHT), Height(HEIGHT)),
        SEVENS,
        lambda: TRUE.tell_namespace(BARE, 7),
        "P3",
        "bad_payload_proof",
    ),
    "no proof": (NamespaceRange(7, Height(HEIGHT), Height(HEIGHT)), SEVENS, lambda: b"{}", "P4", "malformed"),
}


@pytest.mark.parametrize("lie", PAYLOAD_LIES)
def test_a_node_that_lies_about_a_payload_is_found_out(node: LightNode, lie: str) -> None:
    question, path, answer, rule, reason = PAYLOAD_LIES[lie]
    node.bend[path] = answer
    with pytest.raises(ProofError) as caught:
        gather(node, question)
    assert (caught.value.rule, caught.value.reason) == (rule, reason)


def test_no_block_of_a_range_can_be_left_out(node: LightNode) -> None:
    bundle, _ = gather(node, NamespaceRange(7, Height(1), Height(3)))
    first, second, third = bundle.blocks
    for blocks in ((first, third), (first, second), (), (second, third), (first, first, third), (third, second, first)):
        with pytest.raises(ProofError, match="not_asked_for"):
            verify_bundle(msgspec.structs.replace(bundle, blocks=blocks), NETWORK, None)
    bare = BlockProof(first.finality)
    with pytest.raises(ProofError, match="not_asked_for"):
        verify_bundle(msgspec.structs.replace(bundle, blocks=(bare, second, third)), NETWORK, None)
    spare = msgspec.structs.replace(bundle, question=BlockAt(Height(1)), blocks=(first,))
    with pytest.raises(ProofError, match="not_asked_for"):
        verify_bundle(spare, NETWORK, None)


def test_a_bundle_is_worth_what_its_reader_trusts(node: LightNode) -> None:
    """Whoever makes one cannot bring the trust along: neither another network nor a checkpoint of its own."""
    bundle, _ = gather(node, LatestBlock())
    with pytest.raises(ProofError, match="wrong_network"):
        verify_bundle(bundle, strangers().network.context(), None)
    other, _ = gather(LightNode(strangers()), LatestBlock())
    with pytest.raises(ProofError, match="P2"):
        verify_bundle(msgspec.structs.replace(other, network_id=NETWORK.network_id), NETWORK, None)
    started, _ = gather(node, LatestBlock(), CHECKPOINT)
    for trusted in (None, Anchor(Epoch(0), CHAIN.blocks[1].commitment)):
        with pytest.raises(ProofError, match="wrong_checkpoint"):
            verify_bundle(started, NETWORK, trusted)


def test_a_bundle_holds_what_its_question_asks_for_and_nothing_else(node: LightNode) -> None:
    bundle, _ = gather(node, LatestBlock(), CHECKPOINT)
    lower = BlockProof(CHAIN.finality(EPOCH_BLOCKS + 1))
    bent = {
        "no_checkpoint": msgspec.structs.replace(bundle, snapshots=(), blocks=()),
        "not_asked_for": msgspec.structs.replace(bundle, blocks=()),
        "wrong_epoch": msgspec.structs.replace(bundle, blocks=(*bundle.blocks, lower)),
    }
    for reason, each in bent.items():
        with pytest.raises(ProofError) as caught:
            verify_bundle(each, NETWORK, CHECKPOINT)
        assert caught.value.reason == reason
    twice = msgspec.structs.replace(bundle, blocks=bundle.blocks * 2)
    with pytest.raises(ProofError, match="not_asked_for"):
        verify_bundle(twice, NETWORK, CHECKPOINT)


WHOLE = encode_bundle(gather(LightNode(CHAIN), TransactionIn(Commitment(NAME)))[0])


@settings(max_examples=500)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_no_byte_of_a_bundle_can_be_another_one(position: int, difference: int) -> None:
    bent = bytearray(WHOLE)
    bent[position] ^= difference
    with pytest.raises(ProofError):
        verify_bundle(decode_bundle(bytes(bent)), NETWORK, None)


@given(st.integers(0, len(WHOLE) - 1))
def test_no_part_of_a_bundle_is_a_bundle(length: int) -> None:
    with pytest.raises(ProofError, match="P4"):
        decode_bundle(WHOLE[:length])


def test_p4_a_bundle_has_one_form() -> None:
    assert WHOLE[:1] == b"\x96"
    with pytest.raises(ProofError, match="non_canonical"):
        decode_bundle(b"\xdc\x00\x06" + WHOLE[1:])
    with pytest.raises(ProofError, match="P4"):
        decode_bundle(WHOLE + b"\x00")


@given(st.binary(max_size=200))
def test_garbage_is_no_bundle(garbage: bytes) -> None:
    with pytest.raises(ProofError, match="P4"):
        decode_bundle(garbage)


@pytest.fixture
def run(node: LightNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """`sequencer verify` with these arguments, against this node and the chain's network file."""
    monkeypatch.setattr("sequencer.light.source.NodeSource", lambda _url, *, seconds: node.open_source(seconds=seconds))
    monkeypatch.setattr("sequencer.network_config.load_network", lambda _path: CHAIN.network)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["verify", "--network", "network.toml", "--url", URL, *arguments])

    return invoke


def get_error(result: Result) -> CommandError:
    assert isinstance(result.exception, CommandError), result.output
    return result.exception


def test_the_command_says_what_is_proven_and_where_to_go_on(run: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "proof"
    result = run("--block", str(HEIGHT), "--save", str(file))
    assert result.exit_code == 0, result.output
    anchor = f"1:0x{CHAIN.blocks[2 * EPOCH_BLOCKS].commitment.hex()}"
    for words in (f"the block at height {HEIGHT} is final", "2 followed", "70 of 70 stake signed, 47 needed", anchor):
        assert words in result.output
    offline = json.loads(run(str(file), "-o", "json").stdout)
    assert (offline["outcome"], offline["trusted"], offline["checkpoint"]) == ("proven", "genesis", anchor)
    assert offline["blocks"][0]["hash"] == "0x" + compute_leaf_commitment(CHAIN.blocks[HEIGHT].leaf).hex()
    gone_on = json.loads(run("--checkpoint", anchor, "--save", str(file), "-o", "json").stdout)
    assert (gone_on["trusted"], gone_on["epochs_followed"]) == (anchor, 0)
    error = get_error(run(str(file)))
    assert error.exit_code is ExitCode.INCONCLUSIVE
    assert f"--checkpoint {anchor}" in str(error)
    assert run(str(file), "--checkpoint", anchor).exit_code == 0


def test_the_command_shows_transactions(run: Callable[..., Result]) -> None:
    told = json.loads(run("--transaction", NAME.hex(), "-o", "json").stdout)
    assert told["blocks"][0]["transactions"] == ["0x" + list_sevens(HEIGHT)[0].hex()]
    assert f"in block {HEIGHT}, 2006 bytes of namespace 7" in run("--transaction", "0x" + NAME.hex()).output
    told = json.loads(run("--namespace", "7", "--from", str(BARE - 1), "--to", str(BARE), "-o", "json").stdout)
    assert [len(block["transactions"]) for block in told["blocks"]] == [3, 0]
    assert "9 of namespace 9" not in run("--namespace", "9", "--from", "1", "--to", "3").output
    assert "3 of namespace 9, 12 bytes" in run("--namespace", "9", "--from", "1", "--to", "3").output
    assert get_error(run("--transaction", "ab" * 32)).exit_code is ExitCode.INCONCLUSIVE


def test_the_command_tells_a_lie_from_a_lack(run: Callable[..., Result], node: LightNode) -> None:
    lack = run("--block", "99", "-o", "json")
    assert get_error(lack).exit_code is ExitCode.INCONCLUSIVE
    assert json.loads(lack.stdout)["outcome"] == "inconclusive"
    path, answer, *_ = LIES["a quorum minus one"]
    node.bend[path] = answer
    lie = run("--block", str(HEIGHT), "-o", "json")
    assert get_error(lie).exit_code is ExitCode.FAILED
    refuted = json.loads(lie.stdout)
    assert (refuted["outcome"], refuted["rule"], refuted["reason"]) == ("refuted", "P2", "no_quorum")
    assert "40 of 70" in refuted["detail"]


def test_the_next_node_is_asked_when_one_does_not_answer(
    run: Callable[..., Result], node: LightNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_source(url: str, *, seconds: float) -> NodeSource:
        return node.open_source(seconds=seconds) if url == URL else NodeSource(url, seconds=seconds)

    monkeypatch.setattr("sequencer.light.source.NodeSource", open_source)
    silent = ["verify", "--network", "network.toml", "--url", "http://127.0.0.1:1"]
    found = CliRunner().invoke(app, [*silent, "--url", URL])
    assert found.exit_code == 0, found.output
    assert "http://127.0.0.1:1 does not answer" in found.output
    lost = CliRunner().invoke(app, silent)
    assert get_error(lost).exit_code is ExitCode.UNREACHABLE


@pytest.mark.parametrize(
    "arguments",
    [
        ("--block", "x"),
        ("--block", "0"),
        ("--block", "-1"),
        ("--checkpoint", "x"),
        ("proof", "--block", "3"),
        ("--transaction", "ab"),
        ("--namespace", "7"),
        ("--from", "7"),
        ("--namespace", "7", "--from", "3", "--to", "2"),
        ("--namespace", "7", "--from", "1", "--to", "99999"),
        ("--namespace", "7", "--from", "1", "--block", "2"),
    ],
)
def test_what_is_typed_wrongly_is_said_before_anybody_is_asked(
    run: Callable[..., Result], node: LightNode, arguments: tuple[str, ...]
) -> None:
    assert get_error(run(*arguments)).exit_code is ExitCode.USAGE
    assert not node.asked
