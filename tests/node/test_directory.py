"""Who is who: names of the network file, newcomers of the ledger, and numbers that nobody knows."""

import msgspec
import pytest

from consensus.ledger import Ledger, Profile
from consensus.types import ValidatorId
from sequencer.directory import Directory
from sequencer.network_config import NetworkConfig
from sequencer.ports import Address
from tests.node.mesh import Keyring


@pytest.fixture
def network() -> NetworkConfig:
    return Keyring(2).network


def add_validator(ledger: Ledger, number: int, name: str, address: str = "") -> Ledger:
    """The ledger with one more validator, as a bond leaves it."""
    first, *_ = ledger.state.validators
    joined = msgspec.structs.replace(first, id=ValidatorId(number), profile=Profile(name, address))
    return Ledger(msgspec.structs.replace(ledger.state, validators=(*ledger.state.validators, joined)))


def test_genesis_validators_have_the_names_of_the_file(network: NetworkConfig) -> None:
    directory = Directory(network)
    assert [directory.name_of(ValidatorId(number)) for number in (0, 1)] == ["n0", "n1"]
    assert directory.id_of("n1") == ValidatorId(1)


def test_a_number_that_nobody_knows_is_called_by_it(network: NetworkConfig) -> None:
    directory = Directory(network, network.context().genesis_ledger)
    assert directory.name_of(ValidatorId(17)) == "v17"
    for unknown in ("v17", "v0", "nobody", "v123456"):
        assert directory.id_of(unknown) is None
    assert directory.address_of(ValidatorId(17)) is None


def test_newcomers_are_learnt_from_the_ledger_and_never_forgotten(network: NetworkConfig) -> None:
    genesis = network.context().genesis_ledger
    directory = Directory(network, genesis)
    names = directory.names
    directory.update(add_validator(genesis, 7, "late", "10.0.0.7:27600"))
    directory.update(genesis)
    assert directory.name_of(ValidatorId(7)) == names[ValidatorId(7)] == "late"
    assert directory.id_of("late") == ValidatorId(7)
    assert directory.address_of(ValidatorId(7)) == Address("10.0.0.7", 27600)


def test_a_newcomer_without_a_name_is_found_by_its_number(network: NetworkConfig) -> None:
    directory = Directory(network, add_validator(network.context().genesis_ledger, 9, ""))
    assert directory.name_of(ValidatorId(9)) == "v9"
    assert directory.id_of("v9") == ValidatorId(9)


def test_what_this_node_was_told_comes_before_what_a_bond_says(network: NetworkConfig) -> None:
    own = Address("127.0.0.1", 1)
    ledger = add_validator(network.context().genesis_ledger, 7, "late", "10.0.0.7:27600")
    directory = Directory(network, ledger, addresses={ValidatorId(7): own})
    assert directory.address_of(ValidatorId(7)) == own


def test_an_address_that_is_none_is_ignored(network: NetworkConfig) -> None:
    ledger = add_validator(network.context().genesis_ledger, 7, "late", "somewhere")
    directory = Directory(network, ledger)
    assert directory.name_of(ValidatorId(7)) == "late"
    assert directory.address_of(ValidatorId(7)) is None
