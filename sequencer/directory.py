"""Names and addresses of validators: those of the network file, and those that joined by an operation (J5)."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from consensus.ledger import Ledger
from consensus.types import ValidatorId
from sequencer.network_config import NetworkConfig
from sequencer.ports import Address, parse_address

_NUMBERED: Final = re.compile(r"v([0-9]{1,5})")
_NO_ADDRESSES: Final[Mapping[ValidatorId, Address]] = MappingProxyType({})


class Directory:
    """Who is who. A name that was known once stays known, so that old blocks and log lines can be read.

    `addresses` are what this node was told about its peers; they come before what the ledger says.
    """

    def __init__(
        self,
        network: NetworkConfig,
        ledger: Ledger | None = None,
        *,
        addresses: Mapping[ValidatorId, Address] = _NO_ADDRESSES,
    ) -> None:
        self._names: dict[ValidatorId, str] = {entry.id: entry.name for entry in network.validators}
        self._ids = {name: validator for validator, name in self._names.items()}
        self._told = dict(addresses)
        self._bonded: dict[ValidatorId, Address] = {}
        self._ledger: Ledger | None = None
        if ledger is not None:
            self.update(ledger)

    @property
    def names(self) -> Mapping[ValidatorId, str]:
        """All that were ever known here, by number: a view that follows what is learnt later."""
        return MappingProxyType(self._names)

    def update(self, ledger: Ledger) -> None:
        """Learn newcomers. Costs nothing when the ledger is the same object as before."""
        if ledger is self._ledger:
            return
        self._ledger = ledger
        for validator in ledger.state.validators:
            profile = validator.profile
            if profile.name and validator.id not in self._names:
                self._names[validator.id] = profile.name
                # Whoever had the name before has left: the ledger lets nobody share one.
                self._ids[profile.name] = validator.id
            if profile.address and validator.id not in self._bonded:
                try:
                    self._bonded[validator.id] = parse_address(profile.address)
                except ValueError:
                    continue  # a staker's own words; whoever cannot be reached harms itself

    def name_of(self, validator: ValidatorId) -> str:
        """`v17` for a number that has no name here."""
        return self._names.get(validator) or f"v{validator}"

    def id_of(self, name: str) -> ValidatorId | None:
        """The validator of this name, or the one called `v17` for want of a name; None when there is none."""
        known = self._ids.get(name)
        if known is not None:
            return known
        numbered = _NUMBERED.fullmatch(name)
        if numbered is None or self._ledger is None:
            return None
        validator = ValidatorId(int(numbered[1]))
        return validator if validator in self._ledger.validators and self.name_of(validator) == name else None

    def address_of(self, validator: ValidatorId) -> Address | None:
        """Where its peers reach it: as this node's settings say, else as its bond does, else None."""
        return self._told.get(validator) or self._bonded.get(validator)
