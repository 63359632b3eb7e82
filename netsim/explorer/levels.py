"""All states that were reached, by the number of steps, eight bytes each."""

from array import array
from collections.abc import Iterable, Iterator

from consensus.errors import InvariantViolation
from netsim.explorer.model import State

_WORD_BITS = 64


class Levels:
    """States are packed into machine words: millions fit where as many tuples would not."""

    def __init__(self, honest: int) -> None:
        self._honest = honest
        self._bits = _WORD_BITS // honest
        self._levels: list[array[int]] = []

    def __len__(self) -> int:
        return len(self._levels)

    def add(self, states: Iterable[State]) -> None:
        """The next level."""
        self._levels.append(array("Q", map(self._pack, states)))

    def iterate(self, depth: int) -> Iterator[State]:
        """States that are so many steps away from the start."""
        return map(self._unpack, self._levels[depth])

    def is_in(self, depth: int, state: State) -> bool:
        return self._pack(state) in self._levels[depth]

    def _pack(self, state: State) -> int:
        word = 0
        for local in state:
            if local >> self._bits:
                raise InvariantViolation(f"local state {local} does not fit into {self._bits} bits")
            word = word << self._bits | local
        return word

    def _unpack(self, word: int) -> State:
        mask = (1 << self._bits) - 1
        return tuple([word >> self._bits * position & mask for position in range(self._honest - 1, -1, -1)])
