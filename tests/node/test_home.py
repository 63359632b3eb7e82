"""Homes: complete or not there, never overwritten, and removed without touching anything else."""

import json
import stat
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from consensus.safety import SafetyRecord
from sequencer.cli.init import init
from sequencer.config import ConfigError, LoadedNode
from sequencer.failures import CommandError
from sequencer.home import (
    API_PORT_OFFSET,
    BASE_PORT,
    DEFAULT_TREASURY,
    NODES_MAX,
    HomePlan,
    create_home,
    load_home,
    remove_home,
)
from sequencer.keys import read_key
from sequencer.local_cluster.home import DEVNET_NAME, FAULTS_FILE, TARGETS_FILE, open_devnet, remove_devnet
from sequencer.payload import PayloadCache
from sequencer.ports import Address
from sequencer.storage.sqlite import SqliteStorage

EXAMPLE = Path(__file__).parents[2] / "configs" / "networks" / "wan.toml"


def make_database(node: LoadedNode) -> None:
    node.database_path.write_text(f"database of {node.config.validator}")


def test_a_home_is_what_every_node_needs(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home", HomePlan(stakes=(5, 3, 2, 1)), make_database)
    loaded = load_home(tmp_path / "home")
    assert loaded.network == home.network
    assert [node.config for node in loaded.nodes] == [node.config for node in home.nodes]
    for index, node in enumerate(loaded.nodes):
        assert node.folder == tmp_path / "home" / f"n{index}"
        assert stat.S_IMODE(node.folder.stat().st_mode) == 0o700
        assert node.listen == Address("127.0.0.1", BASE_PORT + index)
        assert node.api == Address("127.0.0.1", BASE_PORT + API_PORT_OFFSET + index)
        assert node.peers == {peer.validator_id: peer.listen for peer in loaded.nodes if peer is not node}
        assert node.database_path.read_text() == f"database of n{index}"
        assert read_key(node.key_path).public_key.hex() == node.network.validator(node.config.validator).public_key
    assert [entry.stake for entry in loaded.network.validators] == [5, 3, 2, 1]


def test_a_home_has_the_key_of_its_treasury(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home", HomePlan(treasury=5000), make_database)
    (account,) = home.network.accounts
    assert (account.name, account.balance) == ("treasury", 5000)
    assert read_key(home.treasury_path).public_key.hex() == account.public_key
    assert stat.S_IMODE(home.treasury_path.stat().st_mode) == 0o600
    assert load_home(home.path).network.accounts == home.network.accounts
    remove_home(home.path)
    assert not home.path.exists()


def test_a_home_without_a_treasury_has_no_such_key(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home", HomePlan(treasury=0), make_database)
    assert home.network.accounts == ()
    assert not home.treasury_path.exists()


def test_the_database_is_made_for_the_network_that_is_written(tmp_path: Path) -> None:
    seen: list[tuple[str, bytes]] = []
    home = create_home(
        tmp_path / "home", HomePlan(), lambda node: seen.append((node.config.validator, node.network.network_id))
    )
    written = load_home(home.path).network.network_id
    assert seen == [(f"n{index}", written) for index in range(4)]


def test_a_home_is_never_overwritten(tmp_path: Path) -> None:
    create_home(tmp_path / "home", HomePlan(), make_database)
    before = {path: path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="there is a home already"):
        create_home(tmp_path / "home", HomePlan(), make_database)
    assert {path: path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()} == before


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(ConfigError, match="not an empty folder"):
        create_home(tmp_path, HomePlan(), make_database)
    with pytest.raises(ConfigError, match="not an empty folder"):
        create_home(tmp_path / "thesis.txt", HomePlan(), make_database)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_home_that_fails_half_way_leaves_nothing(tmp_path: Path, exists: bool) -> None:
    def fail_at_third(node: LoadedNode) -> None:
        if node.config.validator == "n2":
            raise OSError("no space left on device")
        make_database(node)

    path = tmp_path / "home"
    if exists:
        path.mkdir()
    with pytest.raises(OSError, match="no space"):
        create_home(path, HomePlan(), fail_at_third)
    assert path.exists() == exists
    create_home(path, HomePlan(), make_database)


def test_removing_a_home_removes_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "home"
    create_home(path, HomePlan(), make_database)
    (path / "notes.txt").write_text("mine")
    remove_home(path)
    assert [entry.name for entry in path.iterdir()] == ["notes.txt"]
    with pytest.raises(ConfigError, match="this is no home"):
        remove_home(path)
    remove_home(tmp_path / "never was")


def test_flags_reach_every_node_of_a_home_and_variables_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_home(tmp_path / "home", HomePlan(), make_database)
    monkeypatch.setenv("SEQUENCER_LISTEN", "127.0.0.1:1")
    home = load_home(tmp_path / "home", flags={"durability": "os"})
    assert {node.config.durability for node in home.nodes} == {"os"}
    assert len({node.listen for node in home.nodes}) == 4


@pytest.mark.parametrize(
    ("stakes", "base_port", "said"),
    [((), BASE_PORT, "1 to 100 nodes"), ((1,) * (NODES_MAX + 1), BASE_PORT, "1 to 100 nodes"), ((1,), 65_500, "65600")],
)
def test_a_plan_that_cannot_work_is_refused(stakes: tuple[int, ...], base_port: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        HomePlan(stakes=stakes, base_port=base_port)


def test_a_plan_with_more_tokens_than_a_stake_table_holds_is_refused() -> None:
    HomePlan(stakes=(1,), treasury=2**62 - 1)
    for treasury in (-1, 2**62):
        with pytest.raises(ValueError, match="stakes and treasury"):
            HomePlan(stakes=(1,), treasury=treasury)


def run_init(*arguments: str) -> object:
    app = Typer()
    app.command()(init)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False, standalone_mode=False)
    assert result.exit_code == 0
    return json.loads(result.stdout) if "json" in arguments else result.stdout


def test_init_makes_a_home_with_databases_that_a_node_can_open(tmp_path: Path) -> None:
    path = tmp_path / "home"
    options = ["--stakes", "3,2,2", "--like", str(EXAMPLE), "--base-port", "31000", "-o", "json"]
    shown = run_init("--home", str(path), *options)
    home = load_home(path)
    assert isinstance(shown, dict)
    assert shown["network_id"] == home.network.network_id.hex()
    assert [(row["name"], row["stake"], row["listen"]) for row in shown["nodes"]] == [
        ("n0", 3, "127.0.0.1:31000"),
        ("n1", 2, "127.0.0.1:31001"),
        ("n2", 2, "127.0.0.1:31002"),
    ]
    assert home.network.consensus.timeout_floor_ms == 1500
    assert shown["accounts"] == {"treasury": DEFAULT_TREASURY}
    for node in home.nodes:
        context = node.network.context()
        with SqliteStorage(
            node.database_path, context.network_id, node.validator_id, context.genesis, PayloadCache(8), "os"
        ) as storage:
            assert storage.load().record == SafetyRecord.initial(context.genesis_qc)
    secrets = [node.key_path.read_text().strip() for node in home.nodes]
    assert not any(secret in json.dumps(shown) for secret in secrets)


def test_init_takes_every_section_of_a_model(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    for old, new in (("epoch_blocks = 1024", "epoch_blocks = 32"), ("jail_after = 14", "jail_after = 9")):
        text = text.replace(old, new)
    (tmp_path / "model.toml").write_text(text.replace("bench_after = 2", "bench_after = 3"))
    run_init("--home", str(tmp_path / "home"), "--like", str(tmp_path / "model.toml"), "--treasury", "7")
    network = load_home(tmp_path / "home").network
    parameters = network.ledger_parameters()
    assert parameters.epochs.epoch_blocks == 32
    assert parameters.slashing.jail_after == 9
    assert parameters.leadership.bench_after == 3
    assert [account.balance for account in network.accounts] == [7]


def test_init_prints_a_table(tmp_path: Path) -> None:
    shown = run_init("--home", str(tmp_path / "home"), "--nodes", "2")
    assert "n0" in str(shown)
    assert "127.0.0.1:27600" in str(shown)


def test_init_refuses_contradictions(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="contradict each other"):
        run_init("--home", str(tmp_path / "home"), "--nodes", "3", "--stakes", "1,2")
    with pytest.raises(CommandError, match="whole numbers"):
        run_init("--home", str(tmp_path / "home"), "--stakes", "1,half")
    assert not (tmp_path / "home").exists()


def test_a_reset_takes_what_a_devnet_leaves_beside_its_nodes(tmp_path: Path) -> None:
    """Faults and targets are its own; what somebody else has put there is not."""
    path = tmp_path / "devnet"
    for foreign in (None, path / TARGETS_FILE.parent / "rules.yml"):
        open_devnet(path, HomePlan(stakes=(1,), name=DEVNET_NAME))
        (path / TARGETS_FILE).parent.mkdir()
        for file in (path / FAULTS_FILE, path / TARGETS_FILE, *([foreign] if foreign else [])):
            file.write_text("[]\n")
        remove_devnet(path)
        assert [file for file in path.rglob("*") if file.is_file()] == ([foreign] if foreign else [])
        assert path.exists() == (foreign is not None)
