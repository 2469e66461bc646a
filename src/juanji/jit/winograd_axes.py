"""Where Winograd's tiles stand along one axis: over which places of the input they reach, and which outputs are theirs.

Taps a dilation d apart never mix the d residues of places modulo d: a dilated convolution is d separate ones of neighbours, on every
d-th place. Each has tiles of its own: tile t of residue p begins at place p + t·m·d and takes its elements and outputs d apart. Tiles
are numbered round by round, number = t·d + p, so that neighbours in number are neighbours in memory, and runs of d numbers cover a
run of m·d outputs without a gap. With d = 1 that is the usual row of tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from juanji.jit.emit import Value

Number = TypeVar("Number", int, Value)


@dataclass(frozen=True)
class Axis:
    """m outputs of a tile and r taps, both a dilation apart.

    innermost: panels and buffers of outputs hold whole lines of such an axis, as chunks begin at multiples of the dilation there; of
    others, only the lines that tiles need.
    """

    m: int
    r: int
    dilation: int
    innermost: bool

    @property
    def n(self) -> int:
        """Elements under a tile, and points of its transform."""
        return self.m + self.r - 1

    @property
    def plain(self) -> bool:
        """Whether tiles share lines with their neighbours, so that what they reach over is held as it lies."""
        return self.dilation == 1 or self.innermost

    def tiles(self, out: int) -> int:
        """How many tiles cover so many outputs; of the last ones only those residues that have outputs left.

        >>> Axis(4, 3, 1, True).tiles(9), Axis(3, 3, 12, True).tiles(32), Axis(2, 3, 12, True).tiles(32)
        (3, 12, 20)
        """
        rounds = -(-out // (self.m * self.dilation))
        return (rounds - 1) * self.dilation + min(self.dilation, out - (rounds - 1) * self.m * self.dilation) if out else 0

    def padded(self, out: int) -> int:
        """Outputs of whole tiles of all residues, as many as these or more."""
        return -(-out // (self.m * self.dilation)) * self.m * self.dilation

    def first(self, tile: Number) -> Number:
        """The first output of a tile, and the first place of the padded input that it sees."""
        if self.dilation == 1:
            return tile * self.m
        return tile // self.dilation * (self.m * self.dilation) + tile % self.dilation

    def lines(self, tiles: Number) -> Number:
        """Lines of the input that a panel holds under so many tiles."""
        return self._covered(tiles) + (self.r - 1) * self.dilation if self.plain else tiles * self.n

    def outputs(self, tiles: Number) -> Number:
        """Lines of outputs that a buffer holds of so many tiles."""
        return self._covered(tiles) if self.plain else tiles * self.m

    def _covered(self, tiles: Number) -> Number:
        """Outputs from the first of some tiles to the last, if they begin at a multiple of the dilation."""
        return (tiles + (self.dilation - 1)) // self.dilation * (self.m * self.dilation)

    def line(self, tile: Number, element: int) -> Number:
        """Where a panel holds an element of a tile; tiles counted from the first of the chunk."""
        return self.first(tile) + element * self.dilation if self.plain else tile * self.n + element

    def output(self, tile: Number, element: int) -> Number:
        """Where a buffer holds an output of a tile."""
        return self.first(tile) + element * self.dilation if self.plain else tile * self.m + element


def axes(sizes: tuple[tuple[int, int], ...], dilations: tuple[int, ...]) -> tuple[Axis, ...]:
    """All axes, the innermost last, from outputs and taps of a tile and dilations."""
    last = len(sizes) - 1
    return tuple(Axis(m, r, d, i == last) for i, ((m, r), d) in enumerate(zip(sizes, dilations, strict=True)))
