"""`sequencer stake`: what is typed becomes an operation that the ledger takes, or an error that says what to type."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from consensus.ledger import Status, apply_leaf
from consensus.ledger.admission import Admission
from consensus.operations import Operation, compute_operation_id
from consensus.types import Epoch, Height, ValidatorId
from sequencer.cli.stake import stake_app, wait_included
from sequencer.cli.status import describe_network
from sequencer.client import ApiProblem, Client, Unreachable
from sequencer.failures import CommandError, ExitCode
from sequencer.home import Home, HomePlan, create_home
from sequencer.keys import get_next_path, read_key
from sequencer.network_config import EpochsSection
from sequencer.operation_codec import OperationPlace
from sequencer.schema.operations import OperationJson
from tests.node.fake_node import FakeNode
from tests.node.wired import wire


class LedgerNode(FakeNode):
    """Takes what the ledger takes, and puts it into a leaf at once, or when `include` is called."""

    is_slow = False

    def submit_operation(self, operation: Operation) -> str | None:
        admission = Admission(self.network.network_id, self.context.scheme, self.context.ledger_parameters)
        self.refusal = admission.check_operation(self.ledger, operation)
        answer = super().submit_operation(operation)
        if not self.is_slow:
            self.include()
        return answer

    def include(self) -> None:
        parent = msgspec.structs.replace(self.context.genesis.leaf, height=self.height)
        operations = tuple(self.pending_operations())
        self.height = Height(self.height + 1)
        leaf = msgspec.structs.replace(
            parent, height=self.height, view=parent.view + 1, proposer=ValidatorId(0), operations=operations
        )
        self.ledger = apply_leaf(self.ledger, parent, leaf, self.context.ledger_parameters)
        for operation in operations:
            self.places[compute_operation_id(operation)] = OperationPlace(operation, self.height)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    plan = HomePlan(stakes=(100, 100, 100, 100), treasury=1000, epochs=EpochsSection(epoch_blocks=64))
    return create_home(tmp_path / "home", plan, lambda node: None)


@pytest.fixture
def node(home: Home, monkeypatch: pytest.MonkeyPatch) -> LedgerNode:
    """Every URL leads to this node, without a socket."""
    node = LedgerNode(network=home.network)

    wire(monkeypatch, lambda _request: node)
    return node


Run = Callable[..., str]


@pytest.fixture
def run(home: Home, node: LedgerNode) -> Run:
    """A command on this home; what it prints on stdout. Its errors are raised."""

    def run_command(*arguments: object) -> str:
        command = [*map(str, arguments), "--home", str(home.path)]
        result = CliRunner().invoke(stake_app, command, catch_exceptions=False, standalone_mode=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run_command


def test_a_newcomer_is_bonded_from_the_treasury(run: Run, node: LedgerNode, home: Home, tmp_path: Path) -> None:
    key = tmp_path / "late.key"
    bonding = ("bond", "late", 250, "--validator-key", key, "--address", "10.0.0.9:27600")
    shown = json.loads(run(*bonding, "--wait", "-o", "json"))
    assert (shown["kind"], shown["status"], shown["height"], shown["validator"]) == ("bond", "included", 1, "late")
    late = node.ledger.state.validators[-1]
    assert (late.profile.name, late.profile.address, late.stake) == ("late", "10.0.0.9:27600", 250)
    assert late.public_key == read_key(key).public_key
    assert late.owner == read_key(home.treasury_path).public_key
    assert node.ledger.accounts[late.owner].balance == 750


def test_more_stake_for_a_validator_is_paid_by_its_owner(run: Run, node: LedgerNode, tmp_path: Path) -> None:
    run("bond", "late", 250, "--validator-key", tmp_path / "late.key", "--address", "10.0.0.9:27600")
    run("bond", "late", 50)
    assert node.ledger.state.validators[-1].stake == 300
    with pytest.raises(ApiProblem, match="balance 0 is less than 50"):
        run("bond", "n1", 50)  # n1 owns itself, and has nothing left
    with pytest.raises(CommandError, match="is a validator already"):
        run("bond", "late", 50, "--address", "10.0.0.9:27600")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bond", "late", "50"), "late is no validator yet. To make it one"),
        (("bond", "late", "50", "--validator-key", "k"), "late is no validator yet"),
        (("bond", "Late!", "50"), "made of a-z"),
        (("bond", "late", "50", "--validator-key", "k", "--address", "here"), "--address: "),
        (("unbond", "n1"), "an AMOUNT or --all"),
        (("unbond", "n1", "5", "--all"), "an AMOUNT or --all"),
        (("unjail", "n9"), "There are: n0, n1, n2, n3"),
        (("show", "n9"), 'there is no validator "n9"'),
    ],
)
def test_what_was_typed_wrongly_is_said_and_nothing_is_sent(
    run: Run, node: LedgerNode, arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert said in str(caught.value)
    assert caught.value.exit_code is ExitCode.USAGE
    assert node.places == {}


def test_unbonding_takes_some_or_all_of_the_stake(run: Run, node: LedgerNode) -> None:
    run("unbond", "n1", 30)
    run("unbond", "n2", "--all")
    _, n1, n2, _ = node.ledger.state.validators
    assert (n1.stake, [entry.amount for entry in n1.unbonding]) == (70, [30])
    assert (n2.stake, n2.status) == (0, Status.EXITING)
    with pytest.raises(CommandError, match="n2 has no stake"):
        run("unbond", "n2", "--all")
    with pytest.raises(ApiProblem, match="more than its stake 70"):
        run("unbond", "n1", 71)


def test_return_from_jail_is_asked_for_by_the_owner(run: Run, node: LedgerNode) -> None:
    with pytest.raises(ApiProblem, match="n1 is not in jail"):
        run("unjail", "n1")
    node.change_validator(1, status=Status.JAILED, jailed_until=Epoch(0))
    run("unjail", "n1")
    assert node.ledger.validators[ValidatorId(1)].status is Status.ACTIVE


def test_a_rotation_makes_a_key_next_to_the_old_one_once(run: Run, node: LedgerNode, home: Home) -> None:
    path = get_next_path(home.nodes[1].key_path)
    node.change_validator(1, owner=bytes(32))
    with pytest.raises(CommandError, match="holds no key of the account that owns n1"):
        run("rotate-key", "n1")
    assert not path.exists()
    node.change_validator(1, owner=read_key(home.nodes[1].key_path).public_key)
    run("rotate-key", "n1")
    assert node.ledger.validators[ValidatorId(1)].public_key == read_key(path).public_key
    before = path.read_bytes()
    with pytest.raises(ApiProblem):
        run("rotate-key", "n1")  # it has this key already
    assert path.read_bytes() == before


def test_the_key_of_somebody_else_is_refused_before_it_signs(run: Run, node: LedgerNode, home: Home) -> None:
    with pytest.raises(CommandError, match="is not the key of the account that owns n1"):
        run("unbond", "n1", 5, "--key", home.treasury_path)
    run("unbond", "n1", 5, "--key", home.nodes[1].key_path)
    assert len(node.places) == 1


def test_operations_of_one_account_queue_up(run: Run, node: LedgerNode) -> None:
    """Each takes the nonce behind those that wait."""
    node.is_slow = True
    node.change_validator(2, owner=node.ledger.validators[ValidatorId(1)].owner)
    run("unbond", "n1", 10)
    (first,) = node.pending_operations()
    assert first.nonce == 0
    with pytest.raises(ApiProblem, match="nonce 1, the account's next one is 0"):
        run("unbond", "n2", 10)  # this node judges on the last block alone


def test_a_node_of_another_network_gets_no_signature(run: Run, node: LedgerNode) -> None:
    node.network = msgspec.structs.replace(node.network, name="other")
    with pytest.raises(CommandError, match="another network"):
        run("unbond", "n1", 5)
    assert node.places == {}


def test_show_tells_where_everyone_stands_and_why(run: Run, node: LedgerNode) -> None:
    node.change_validator(1, status=Status.JAILED, jailed_until=Epoch(7), offences=1)
    lines = run("show").splitlines()
    assert lines[0].split() == ["validator", "status", "stake", "weight", "next", "reason"]
    row = next(line for line in lines if line.startswith("n1"))
    assert row.split()[:5] == ["n1", "jailed", "100", "100", "100"]
    assert "until epoch 7; 1 liveness offence" in row
    shown = json.loads(run("show", "-o", "json"))
    assert [validator["status"] for validator in shown["validators"]] == ["active", "jailed", "active", "active"]
    assert shown["ledger"]["epoch"]["last_height"] == 64


def test_show_one_validator_with_its_owner(run: Run, node: LedgerNode) -> None:
    run("unbond", "n1", 30)
    text = run("show", "n1")
    assert "30 in epoch 4" in text
    assert "0x" + node.ledger.validators[ValidatorId(1)].owner.hex() in text
    shown = json.loads(run("show", "n1", "-o", "json"))
    assert (shown["validator"]["stake"], shown["account"]["nonce"]) == (70, 1)


def test_waiting_ends_with_a_block_with_time_or_when_the_node_gives_up() -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def answer_with(*statuses: Any) -> Callable[[str], OperationJson]:
        answers = iter(statuses)
        return lambda id_: OperationJson(id_, next(answers))

    first = OperationJson("0xab", "pending")
    found = wait_included(answer_with("pending", "included"), first, timeout=5, sleep=sleep, clock=lambda: now)
    assert found.status == "included"
    with pytest.raises(CommandError, match="has dropped operation 0xab"):
        wait_included(answer_with("pending", "unknown"), first, timeout=5, sleep=sleep, clock=lambda: now)
    with pytest.raises(CommandError, match="still waits for a block after 5 s") as caught:
        wait_included(lambda id_: first, first, timeout=5, sleep=sleep, clock=lambda: now)
    assert caught.value.exit_code is ExitCode.INCONCLUSIVE


def test_without_a_node_there_is_nothing_to_ask(home: Home, tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        CliRunner().invoke(
            stake_app, ["show", "--url", "http://127.0.0.1:1"], catch_exceptions=False, standalone_mode=False
        )


def test_status_tells_what_all_nodes_share(node: LedgerNode) -> None:
    with Client("http://node") as client:
        node.change_validator(1, status=Status.JAILED)
        node.change(pool=30)
        node.height = Height(10)
        status = msgspec.to_builtins(client.status())
        rows = dict(describe_network([status, status | {"height": 3}]))
    assert rows["epoch"] == "0: 10 of 64 blocks, ends with height 64"
    assert rows["mode"] == "normal: the primary committee has the lead"
    assert rows["jailed"] == "n1"
    assert rows["pool"] == "30, burned 0"
    assert "benched" not in rows
    assert set(rows["primary"].split(", ") + rows["fallback"].split(", ")) == {"n0", "n1", "n2", "n3"}
