"""Less work for Python's garbage collector: a simulation holds many objects and makes few cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_COLLECT_EVERY: Final = 200_000
"""Objects until Python looks for cycles: the heap of events alone holds hundreds of thousands."""


@contextmanager
def rare_collection() -> Iterator[None]:
    """Inside, Python looks for cycles seldom."""
    thresholds = gc.get_threshold()
    gc.set_threshold(_COLLECT_EVERY, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
