"""What a peer is."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from bench.problems import AnyRow, Array


@dataclass(frozen=True)
class Contestant:
    """One way to run a row, with everything prepared that may be prepared: layout, packed weights, a place for the result.

    read: from what `run` returns to an array in the row's own shape and layout.
    same: whether it takes and returns arrays in the row's layout.
    truncates: rounds its bytes towards zero, so may differ by one from those that round to nearest.
    """

    library: str
    setting: str
    run: Callable[[], Any]
    read: Callable[[Any], Array]
    same: bool = True
    truncates: bool = False

    @property
    def label(self) -> str:
        return f"{self.library} {self.setting}".strip()


class Peer(Protocol):
    """A library: `session` sets its threads for as long as it lasts, `contestants` are its ways to run a row, perhaps none."""

    library: str

    def session(self, threads: int) -> AbstractContextManager[None]: ...

    def contestants(self, row: AnyRow, first: Array, second: Array) -> Iterator[Contestant]: ...
