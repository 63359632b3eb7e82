"""`sequencer tx submit --wait soft`: every promise that came is told, whatever becomes of the transactions after it."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest
import typer
from typer.testing import CliRunner, Result

from consensus.promises import Promise
from consensus.types import Commitment, Epoch, View
from sequencer.api.node_view import BlockReader
from sequencer.cli.tx import tx_app
from sequencer.client import ApiProblem, Unreachable
from sequencer.failures import CommandError, ExitCode
from sequencer.mempool import Admission
from sequencer.payload import DEFAULT_NAMESPACE, compute_transaction_hash, get_data
from sequencer.promises import PromiseRefusedError
from tests.node.fake_node import FakeNode
from tests.node.wired import wire

FULL, UNLED, CRASH = b"full", b"unled", b"crash"
URL = "http://127.0.0.1:1"


class SoftNode(FakeNode):
    """Promises everything, but for what is named after a misfortune. Nothing is final."""

    @property
    def storage(self) -> BlockReader:
        return cast("BlockReader", SimpleNamespace(find_transaction=lambda _hash: None))

    def submit(self, transactions: Sequence[bytes], hashes: Sequence[bytes]) -> list[Admission]:
        return [Admission.FULL if get_data(transaction) == FULL else Admission.ACCEPTED for transaction in transactions]

    async def promise(self, transaction: bytes, hash_: bytes, beneficiary: bytes) -> Promise:
        if get_data(transaction) == UNLED:
            raise PromiseRefusedError("nobody leads here")
        return Promise(self.validator_id, Epoch(0), View(3), View(66), Commitment(hash_), beneficiary, b"\x01" * 64)


@pytest.fixture(autouse=True)
def _node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every URL leads to this node, without a socket, until it crashes."""
    node = SoftNode()

    wire(monkeypatch, lambda request: None if request.content == CRASH else node)


def submit(*transactions: bytes, output: str = "json", options: Sequence[str] = ()) -> Result:
    sources = [each.hex() for each in transactions]
    command = ["submit", *sources, "--wait", "soft", "--url", URL, "-o", output, *options]
    return CliRunner().invoke(tx_app, command, standalone_mode=False)


def name(transaction: bytes) -> str:
    return "0x" + compute_transaction_hash(DEFAULT_NAMESPACE, transaction).hex()


def test_each_transaction_is_told_with_its_promise() -> None:
    result = submit(b"one", b"two")
    assert result.exception is None
    assert [answer["promise"]["transaction"] for answer in json.loads(result.stdout)] == [name(b"one"), name(b"two")]
    table = submit(b"one", b"two", output="table").stdout.splitlines()
    assert [row.split() for row in table[2:]] == [[name(each), "n0", "0", "3", "66"] for each in (b"one", b"two")]


def test_the_namespace_goes_with_each_and_is_part_of_its_name() -> None:
    result = submit(b"one", b"two", options=("--namespace", "7"))
    names = ["0x" + compute_transaction_hash(7, each).hex() for each in (b"one", b"two")]
    assert [answer["promise"]["transaction"] for answer in json.loads(result.stdout)] == names
    assert name(b"one") not in names
    for refused in ("-1", "4294967296", "x"):
        assert isinstance(submit(b"one", options=("--namespace", refused)).exception, typer.BadParameter)


def test_without_a_promise_for_one_the_others_are_asked_for() -> None:
    result = submit(b"one", UNLED, b"two")
    assert [answer["hash"] for answer in json.loads(result.stdout)] == [name(b"one"), name(b"two")]
    assert "nobody leads here" in result.stderr
    assert isinstance(result.exception, CommandError)
    assert result.exception.exit_code == ExitCode.INCONCLUSIVE


@pytest.mark.parametrize(("misfortune", "error"), [(FULL, ApiProblem), (CRASH, Unreachable)])
@pytest.mark.parametrize("output", ["json", "table"])
def test_what_was_promised_is_told_although_a_later_one_fails(
    misfortune: bytes, error: type[CommandError], output: str
) -> None:
    """It ends there and says why, with the code of that failure."""
    result = submit(b"one", misfortune, b"two", output=output)
    assert name(b"one") in result.stdout
    assert name(b"two") not in result.stdout
    assert isinstance(result.exception, error)


def test_where_nothing_was_promised_there_is_no_table() -> None:
    assert submit(FULL, output="table").stdout == ""
