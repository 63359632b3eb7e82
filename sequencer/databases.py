"""Making a node's database: the one moment at which a record of a key that has never signed may be written (R8)."""

from consensus.safety import SafetyRecord
from sequencer.config import LoadedNode
from sequencer.storage import create_database as create_file


def create_database(node: LoadedNode) -> None:
    """A new database for a node whose key has just been made.

    Once per key, ever: a second one would let the key sign what contradicts its first life. Raises `StorageError` when
    the file exists.
    """
    record = SafetyRecord.initial(node.network.context().genesis_qc)
    create_file(node.database_path, node.network.network_id, node.validator_id, record)
