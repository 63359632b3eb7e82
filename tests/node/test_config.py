"""Settings: what a network agrees on, what a node decides, where each value comes from, and what is said of a wrong
one."""

import dataclasses
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer import Typer
from typer.testing import CliRunner

from consensus.ledger import EpochParameters, LeadershipParameters, SlashingParameters
from consensus.parameters import ConsensusParameters
from consensus.types import ValidatorId
from sequencer import __version__
from sequencer.cli.config_show import config_show
from sequencer.config import (
    ConfigError,
    ConsensusSection,
    LeadershipSection,
    NetworkConfig,
    NodeConfig,
    TransactionsSection,
    ValidatorConfig,
    describe_fields,
    load_network,
    load_node,
    render_toml,
)
from sequencer.network_config import AccountConfig, EpochsSection, SlashingSection
from sequencer.ports import Address
from sequencer.toml_file import convert_table

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "configs"
NETWORK = (EXAMPLES / "networks" / "local.toml").read_text()
NODE = (EXAMPLES / "nodes" / "local.toml").read_text()
ADDRESS = '"host:port" such as "127.0.0.1:27600"'

PEERS = ",".join(f"n{number}=127.0.0.1:{27600 + number}" for number in range(4))

Edit = Callable[[str, str], Path]


@pytest.fixture
def edit_network(tmp_path: Path) -> Edit:
    """The example network file with one passage replaced."""

    def edit(old: str, new: str) -> Path:
        assert old in NETWORK
        path = tmp_path / "network.toml"
        path.write_text(NETWORK.replace(old, new, 1))
        return path

    return edit


@pytest.fixture
def edit_node(tmp_path: Path) -> Edit:
    """A node's folder, its network file beside it, with one passage of node.toml replaced."""

    def edit(old: str, new: str) -> Path:
        text = NODE.replace("../networks/local.toml", "../network.toml")
        assert old in text
        (tmp_path / "network.toml").write_text(NETWORK)
        folder = tmp_path / "n1"
        folder.mkdir()
        (folder / "node.toml").write_text(text.replace(old, new, 1))
        return folder

    return edit


def test_the_version_is_the_packages() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


@pytest.mark.parametrize("path", sorted((EXAMPLES / "networks").glob("*.toml")), ids=lambda path: path.name)
def test_example_networks_say_everything_that_the_types_say(path: Path) -> None:
    network = load_network(path)
    assert render_toml(network) in path.read_text()


@pytest.mark.parametrize("path", sorted((EXAMPLES / "nodes").glob("*.toml")), ids=lambda path: path.name)
def test_example_nodes_say_everything_that_the_types_say(path: Path) -> None:
    node = load_node(path, environ={})
    assert render_toml(node.config) in path.read_text()
    assert len(node.peers) == len(node.network.validators) - 1


@pytest.mark.parametrize(
    "kind",
    [
        NetworkConfig,
        ConsensusSection,
        LeadershipSection,
        SlashingSection,
        EpochsSection,
        TransactionsSection,
        AccountConfig,
        ValidatorConfig,
        NodeConfig,
    ],
)
def test_every_key_is_documented(kind: type[msgspec.Struct]) -> None:
    assert all(len(meaning) > 15 for meaning in describe_fields(kind).values())


def test_the_default_sections_are_the_default_parameters() -> None:
    assert ConsensusSection().to_parameters() == ConsensusParameters()
    assert LeadershipSection().to_parameters() == LeadershipParameters()
    assert SlashingSection().to_parameters() == SlashingParameters()
    assert EpochsSection().to_parameters() == EpochParameters()


def test_every_parameter_can_be_set_in_the_network_file() -> None:
    for parameter in dataclasses.fields(ConsensusParameters):
        names = (parameter.name, f"{parameter.name}_ms")
        key = next(name for name in names if name in describe_fields(ConsensusSection))
        default = getattr(ConsensusSection(), key)
        changed = msgspec.structs.replace(ConsensusSection(), **{key: default + 1}).to_parameters()
        assert getattr(changed, parameter.name) != getattr(ConsensusParameters(), parameter.name)


def test_every_parameter_of_the_ledger_can_be_set_in_the_network_file(edit_network: Edit) -> None:
    for section in (SlashingSection(), EpochsSection()):
        name = "slashing" if isinstance(section, SlashingSection) else "epochs"
        for key, default in msgspec.structs.asdict(section).items():
            # Not one more where that cannot work: a difficulty is a multiple of the number of checkpoints.
            changed = {"beacon_checkpoints": 8, "beacon_difficulty": 160_000}.get(key, default + 1)
            network = load_network(edit_network(f"{key} = {default}", f"{key} = {changed}"))
            assert getattr(getattr(network.ledger_parameters(), name), key) == changed


@given(
    stakes=st.lists(st.integers(1, 2**40), min_size=1, max_size=6),
    name=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True),
    genesis_time_ms=st.integers(0, 2**53),
    floor=st.integers(1, 10_000),
)
def test_a_written_network_reads_back_equal(stakes: list[int], name: str, genesis_time_ms: int, floor: int) -> None:
    network = NetworkConfig(
        name=name,
        genesis_time_ms=genesis_time_ms,
        consensus=ConsensusSection(timeout_floor_ms=floor),
        validators=tuple(
            ValidatorConfig(id=ValidatorId(i), name=f"n{i}", public_key=f"{i:064x}", stake=stake)
            for i, stake in enumerate(stakes)
        ),
    )
    again = convert_table(tomllib.loads(render_toml(network)), NetworkConfig, "memory")
    assert again == network
    assert again.network_id == network.network_id


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), max_size=5))
def test_any_text_survives_being_written(peers: dict[str, str]) -> None:
    config = NodeConfig(validator="n0", key="k\x7f\n\"'\\é🔑", peers=peers)
    assert convert_table(tomllib.loads(render_toml(config)), NodeConfig, "memory") == config


def test_comments_and_spelled_out_defaults_do_not_change_the_network_and_everything_else_does(
    edit_network: Edit,
) -> None:
    identity = load_network(edit_network("", "")).network_id
    assert load_network(edit_network("timeout_multiple = 4", "# default")).network_id == identity
    for old, new in (
        ("timeout_multiple = 4", "timeout_multiple = 5"),
        ("stake = 100", "stake = 101"),
        ('name = "local"', 'name = "other"'),
        ("genesis_time_ms = 1", "genesis_time_ms = 2"),
        ("transaction_bytes_max = 262144", "transaction_bytes_max = 262145"),
        ("jail_after = 14", "jail_after = 13"),
        ("epoch_blocks = 1024", "epoch_blocks = 1025"),
        ("balance = 1000000000", "balance = 1000000001"),
    ):
        assert load_network(edit_network(old, new)).network_id != identity


def test_the_context_is_made_of_the_file(edit_network: Edit) -> None:
    network = load_network(edit_network("stake = 100", "stake = 7"))
    context = network.context()
    assert context.network_id == network.network_id
    assert [validator.stake for validator in context.stake_table] == [7, 100, 100, 100]
    assert context.genesis.leaf.ledger == context.genesis_ledger.commitment
    assert context.genesis.leaf.timestamp_ms == network.genesis_time_ms
    assert (network.name_of(ValidatorId(2)), network.id_of("n2")) == ("n2", ValidatorId(2))
    with pytest.raises(KeyError):
        network.name_of(ValidatorId(9))


def test_the_ledger_begins_with_the_owners_accounts_and_names_of_the_file(edit_network: Edit) -> None:
    owner = "ab" * 32
    network = load_network(edit_network('owner = ""', f'owner = "{owner}"'))
    ledger = network.context().genesis_ledger
    assert [validator.profile.name for validator in ledger.state.validators] == ["n0", "n1", "n2", "n3"]
    assert ledger.validators[ValidatorId(0)].owner == bytes.fromhex(owner)
    assert ledger.validators[ValidatorId(1)].owner == ledger.validators[ValidatorId(1)].public_key
    treasury = network.accounts[0]
    assert ledger.accounts[bytes.fromhex(treasury.public_key)].balance == treasury.balance == 1_000_000_000
    assert ledger.accounts[bytes.fromhex(owner)].balance == 0
    assert network.context().ledger_parameters == network.ledger_parameters()


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("timeout_floor_ms", "timeout_flor_ms", "consensus.timeout_flor_ms", 'Did you mean "timeout_floor_ms"?'),
        ("timeout_floor_ms = 300", 'timeout_floor_ms = "x"', "consensus.timeout_floor_ms", "expected `int`, got `str`"),
        (
            "timeout_floor_ms = 300",
            "timeout_floor_ms = -1",
            "consensus.timeout_floor_ms",
            "expected `int` >= 0, got -1",
        ),
        ("timeout_floor_ms = 300", "timeout_floor_ms = 99999", "consensus", "is above timeout_ceiling_ms (10000)"),
        ("stake = 100", "stake = 0", "validators[0].stake", "expected `int` >= 1, got 0"),
        ("stake = 100", "weight = 100", "validators[0].weight", "Known here: id, name, public_key, stake, owner"),
        ("stake = 100", "stake = 4611686018427387904", None, "total stake"),
        ('public_key = "8b', 'public_key = "xy', "validators[0].public_key", "64 hex digits"),
        ('owner = ""', 'owner = "xy"', "validators[0].owner", "Public key of the account that owns the stake"),
        ("balance = 1000000000", "balance = -1", "accounts[0].balance", "expected `int` >= 0, got -1"),
        ("balance = 1000000000", f"balance = {2**62 - 399}", None, "all stakes and balances together"),
        ("leader_window = 48", "leader_window = 63", "slashing.leader_window", "expected `int` <= 62"),
        ("pool_fraction_ppm = 450000", "pool_fraction_ppm = 950001", "slashing", "exceed the whole together"),
        ("epoch_blocks = 1024", "epoch_blocks = 3", "epochs.epoch_blocks", "expected `int` >= 4"),
        ("beacon_difficulty = 100000", "beacon_difficulty = 100001", "epochs", "multiple of beacon_checkpoints"),
        ("id = 0", "id = 3", None, "ascending order of id"),
        ('name = "n0"', 'name = "n1"', None, 'two validators have the name "n1"'),
        ('name = "local"', "", "name", "is missing. Its meaning: Name of the network"),
        ("= 262144", "= 3000000", None, "does not fit: at most 2097132"),
        ("= 2097152", "= 99999999", "consensus.payload_bytes_max", "expected `int` <= 8388608"),
        ("[consensus]", "[consensus", None, "line 12"),
    ],
)
def test_a_wrong_network_file_names_file_key_and_remedy(
    edit_network: Edit, old: str, new: str, key: str | None, said: str
) -> None:
    path = edit_network(old, new)
    with pytest.raises(ConfigError) as caught:
        load_network(path)
    assert caught.value.key == key
    assert str(caught.value).startswith(f"{path}: {key or ''}")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("listen =", "lisen =", "lisen", 'Did you mean "listen"?'),
        ('"127.0.0.1:27601"', '"27601"', "listen", ADDRESS),
        ('"127.0.0.1:27601"', '"127.0.0.1:99999"', "listen", ADDRESS),
        ('durability = "fsync"', 'durability = "yes"', "durability", 'expected "fsync" or "os", got "yes"'),
        ('validator = "n1"', 'validator = "n7"', "validator", "It has n0, n1, n2, n3"),
        ('n0 = "127', 'n9 = "127', "peers.n9", "no such validator"),
        ('n0 = "127.0.0.1:27600"', "", "peers.n0", 'Add n0 = "host:port" under [peers]'),
        ('n0 = "127.0.0.1:27600"', "n0 = 27600", "peers.n0", "expected `str`, got `int`"),
        ('n0 = "127.0.0.1:27600"', 'n0 = "somewhere"', "peers.n0", ADDRESS),
        ("[peers]", "[peer]", "peer", 'Did you mean "peers"?'),
    ],
)
def test_a_wrong_node_file_names_file_key_and_remedy(edit_node: Edit, old: str, new: str, key: str, said: str) -> None:
    folder = edit_node(old, new)
    with pytest.raises(ConfigError) as caught:
        load_node(folder, environ={})
    assert str(caught.value).startswith(f"{folder / 'node.toml'}: {key}: ")
    assert said in str(caught.value)


def test_missing_files_say_where_they_come_from(tmp_path: Path, edit_node: Edit) -> None:
    with pytest.raises(ConfigError, match=r"no such file\. `sequencer init` writes one per node"):
        load_node(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"elsewhere\.toml: no such file"):
        load_node(edit_node("../network.toml", "elsewhere.toml"), environ={})


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(edit_node: Edit) -> None:
    folder = edit_node("mempool_expiry_ms = 300000", "")
    environ = {"SEQUENCER_LISTEN": "10.0.0.1:1", "SEQUENCER_API": "10.0.0.1:2"}
    node = load_node(folder, environ=environ, flags={"api": "[::1]:3"})
    assert (node.api, node.origins["api"]) == (Address("::1", 3), "flag --api")
    assert (node.listen, node.origins["listen"]) == (Address("10.0.0.1", 1), "environment SEQUENCER_LISTEN")
    assert (node.config.durability, node.origins["durability"]) == ("fsync", str(folder / "node.toml"))
    assert (node.config.mempool_expiry_ms, node.origins["mempool_expiry_ms"]) == (300_000, "default")


def test_variables_are_read_as_the_type_that_the_setting_has(edit_node: Edit) -> None:
    environ = {
        "SEQUENCER_MEMPOOL_BYTES_MAX": "1000000",
        "SEQUENCER_PEERS": "n0=a.example:1, n2=b.example:2,n3=[::1]:3",
        "SEQUENCER_LOG_LEVEL": "debug",
        "SEQUENCER_SERVICE_HOST": "what a container platform adds is not ours",
    }
    node = load_node(edit_node("", ""), environ=environ)
    assert node.config.mempool_bytes_max == 1_000_000
    assert node.peers == {0: Address("a.example", 1), 2: Address("b.example", 2), 3: Address("::1", 3)}
    assert node.config.log_level == "debug"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SEQUENCER_MEMPOOL_BYTES_MAX", "many", "expected `int`, got `str`"),
        ("SEQUENCER_MEMPOOL_BYTES_MAX", "0", "expected `int` >= 1"),
        ("SEQUENCER_DURABILITY", "none", 'expected "fsync" or "os", got "none"'),
        ("SEQUENCER_PEERS", "n0", 'expected "n1=host:port,n2=host:port", got "n0"'),
        ("SEQUENCER_LISTEN", "here", ADDRESS),
    ],
)
def test_a_wrong_variable_is_named(edit_node: Edit, variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_node(edit_node("", ""), environ={variable: value})
    assert variable in str(caught.value)
    assert said in str(caught.value)


def test_paths_start_where_they_were_written(edit_node: Edit, tmp_path: Path) -> None:
    folder = edit_node('key = "validator.key"', 'key = "/etc/keys/n1"')
    node = load_node(folder, environ={}, flags={"database": "here.db", "network": str(tmp_path / "network.toml")})
    assert node.key_path == Path("/etc/keys/n1")
    assert node.database_path == Path("here.db")
    assert load_node(folder, environ={}).database_path == folder / "node.db"
    assert load_node(folder, environ={}).network_path == folder / "../network.toml"


def test_config_show_says_where_each_value_comes_from(edit_node: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = edit_node("", "")
    monkeypatch.setenv("SEQUENCER_LOG_LEVEL", "debug")
    app = Typer()
    app.command()(config_show)
    result = CliRunner().invoke(app, [str(folder), "-o", "json"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["log_level"]["origin"] == "environment SEQUENCER_LOG_LEVEL"
    assert shown["listen"] == {
        "value": "127.0.0.1:27601",
        "origin": str(folder / "node.toml"),
        "meaning": describe_fields(NodeConfig)["listen"],
    }
    assert shown["network.consensus.timeout_floor_ms"]["value"] == 300
    assert shown["network.id"]["value"] == load_network(folder.parent / "network.toml").network_id.hex()
    assert shown["network.epochs.epoch_blocks"]["value"] == 1024
    assert shown["network.accounts"]["value"] == ["treasury"]
    lines = CliRunner().invoke(app, [str(folder), "--origin"]).stdout.splitlines()
    assert "log_level debug environment SEQUENCER_LOG_LEVEL" in [" ".join(line.split()) for line in lines]
    assert len(lines) == len(shown)


def test_a_validator_that_joined_later_goes_by_its_own_number(edit_node: Edit) -> None:
    folder = edit_node('validator = "n1"', 'validator = "late"')
    joined = load_node(folder, flags={"validator_id": 7, "peers": PEERS}, environ={})
    assert (joined.validator_id, joined.is_newcomer) == (7, True)


@pytest.mark.parametrize(("name", "number"), [("n1", 7), ("late", 2)])
def test_a_number_or_name_of_the_network_file_is_nobody_elses(edit_node: Edit, name: str, number: int) -> None:
    folder = edit_node('validator = "n1"', f'validator = "{name}"')
    with pytest.raises(ConfigError, match="stands in the network file"):
        load_node(folder, flags={"validator_id": number, "peers": PEERS}, environ={})
