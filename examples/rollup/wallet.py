"""An account's owner: signs transfers and has them ordered, one after the other."""

from dataclasses import dataclass

from nacl.signing import SigningKey

from examples.rollup.ledger import PublicKey, make_transfer
from sequencer.client import AsyncClient

FINALIZED_SECONDS = 30.0
"""What takes milliseconds; a leader that dies costs a view timer."""


@dataclass
class Wallet:
    """`client` may know several nodes. To send again what may have been ordered already does no harm: the sequencer
    orders the same bytes once.
    """

    key: SigningKey
    namespace: int
    client: AsyncClient
    nonce: int = 0

    @property
    def account(self) -> PublicKey:
        return bytes(self.key.verify_key)

    async def pay(self, recipient: PublicKey, amount: int) -> str:
        """Returns the transaction's hash once it is final: from then on every node of the rollup will execute it."""
        transfer = make_transfer(self.key, self.nonce, recipient, amount, self.namespace)
        answer = await self.client.submit(transfer, namespace=self.namespace, wait_seconds=FINALIZED_SECONDS)
        self.nonce += 1
        return answer.hash
