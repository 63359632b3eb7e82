"""Stakers of a simulation: whoever has tokens, and hands stake operations in at some running node (J5)."""

from collections.abc import Callable, Sequence
from hashlib import sha256

from consensus.ledger import Ledger
from consensus.operations import Bond, Operation, RotateKey, Unbond, Unjail, prove_possession, sign_operation
from consensus.signatures import Signer
from consensus.types import NetworkId, ValidatorId
from netsim.process import Process


class Stakers:
    """Signs for the treasury, which holds all free tokens, and for validators, whose stake is their own.

    Each call hands one operation in at the first running node; `ValueError` says why it was not taken.
    """

    def __init__(self, network_id: NetworkId, treasury: Signer, alive: Callable[[], Sequence[Process]]) -> None:
        self._network_id = network_id
        self._treasury = treasury
        self._alive = alive

    def bond(self, process: Process, amount: int) -> None:
        """The treasury bonds for this node's key: a new validator, or more stake for one that the treasury owns."""
        node, key = int(process.id), process.signers[0]
        operation = Bond(
            self._treasury.public_key,
            self._find_nonce(self._treasury.public_key),
            b"",
            key.public_key,
            amount,
            f"n{node}",
            f"sim:{node + 1}",
            prove_possession(self._treasury.public_key, key, self._network_id),
        )
        self._submit(operation, self._treasury)

    def unbond(self, process: Process, amount: int) -> None:
        owner = self._find_owner(process)
        nonce = self._find_nonce(owner.public_key)
        self._submit(Unbond(owner.public_key, nonce, b"", process.id, amount), owner)

    def unjail(self, process: Process) -> None:
        owner = self._find_owner(process)
        self._submit(Unjail(owner.public_key, self._find_nonce(owner.public_key), b"", process.id), owner)

    def rotate_key(self, process: Process) -> None:
        """Another key, which the node holds from now on beside the old one; a running node has it after a restart."""
        owner = self._find_owner(process)
        number = len(process.signers)
        fresh = Signer(owner.scheme, sha256(process.signers[0].secret + number.to_bytes(8, "big")).digest())
        possession = prove_possession(owner.public_key, fresh, self._network_id)
        nonce = self._find_nonce(owner.public_key)
        self._submit(RotateKey(owner.public_key, nonce, b"", process.id, fresh.public_key, possession), owner)
        process.signers.append(fresh)

    def _find_owner(self, process: Process) -> Signer:
        owner = self._ledger.validators[ValidatorId(process.id)].owner
        return self._treasury if owner == self._treasury.public_key else process.signers[0]

    def _find_nonce(self, account: bytes) -> int:
        known = self._ledger.accounts.get(account)
        waiting = [operation for operation in self._alive()[0].member.docket.operations if operation.account == account]
        return (0 if known is None else known.nonce) + len(waiting)

    def _submit(self, operation: Operation, signer: Signer) -> None:
        flaw = self._alive()[0].submit_operation(sign_operation(operation, signer, self._network_id))
        if flaw is not None:
            raise ValueError(flaw)

    @property
    def _ledger(self) -> Ledger:
        return self._alive()[0].member.ledger
