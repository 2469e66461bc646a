"""Runs of neighbours whose elements belong to a few planes in turn: taken apart, and put together, in registers. Squares of elements
from memory, turned."""

from collections.abc import Callable

from juanji.jit.elements import transpose
from juanji.jit.emit import Emitter, Type, Value

PIECE = 16  # bytes within which lanes change places at no cost of a crossing


def parted(e: Emitter, vectors: list[Value]) -> list[Value]:
    """Neighbouring elements apart by their number modulo the number of vectors.

    Of an even number evens and odds are taken apart first, and each of these again; else each plane gathers what it has of every vector.
    """
    count, lanes = len(vectors), vectors[0].type.lanes
    if count % 2 == 0:
        pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
        even, odd = (parted(e, [e.shuffle(a, b, range(first, 2 * lanes, 2)) for a, b in pairs]) for first in (0, 1))
        return [part for both in zip(even, odd, strict=True) for part in both]
    return [_gathered(e, vectors, [divmod(lane * count + plane, lanes) for lane in range(lanes)]) for plane in range(count)]


def interleaved(e: Emitter, planes: list[Value]) -> list[Value]:
    """The inverse: the first elements of all vectors, then the second ones, as many vectors."""
    count, lanes = len(planes), planes[0].type.lanes
    if count % 2 == 0:
        pairs = zip(interleaved(e, planes[::2]), interleaved(e, planes[1::2]), strict=True)
        places = [lane // 2 + lane % 2 * lanes for lane in range(2 * lanes)]
        return [e.shuffle(even, odd, half) for even, odd in pairs for half in (places[:lanes], places[lanes:])]
    elements = [divmod(element, count)[::-1] for element in range(count * lanes)]  # plane, lane
    return [_gathered(e, planes, elements[first : first + lanes]) for first in range(0, count * lanes, lanes)]


def _gathered(e: Emitter, vectors: list[Value], elements: list[tuple[int, int]]) -> Value:
    """A vector of elements, each given by the number of its vector and its lane there: one vector after the other is mixed in."""
    lanes = vectors[0].type.lanes
    mixed = e.shuffle(vectors[0], vectors[0], [lane if which == 0 else 0 for which, lane in elements])
    for number, vector in enumerate(vectors[1:], 1):
        mixed = e.shuffle(mixed, vector, [lanes + lane if which == number else i for i, (which, lane) in enumerate(elements)])
    return mixed


def moves(count: int) -> int:
    """Shuffles that either takes for each of so many vectors."""
    return 1 + moves(count // 2) if count % 2 == 0 else count - 1


def turned(e: Emitter, vector: Type, place: Callable[[int, int], Value]) -> list[Value]:
    """The columns of a square of as many rows as a vector has lanes. place(row, column): where an element lies, its row behind it.

    A vector is put together of pieces of rows so far apart that what remains is to turn small squares, within its pieces: half of the
    instructions that change lanes become loads.
    """
    side = min(PIECE // Type(vector.scalar).bytes, vector.lanes)
    piece, columns = Type(vector.scalar, side), []
    for column in range(0, vector.lanes, side):
        rows = [[e.load(piece, place(row, column)) for row in range(first, vector.lanes, side)] for first in range(side)]
        columns += transpose(e, [_together(e, pieces) for pieces in rows])
    return columns


def _together(e: Emitter, pieces: list[Value]) -> Value:
    """Vectors behind each other as one; as many as a power of two."""
    while len(pieces) > 1:
        count = 2 * pieces[0].type.lanes
        pieces = [e.shuffle(a, b, range(count)) for a, b in zip(pieces[::2], pieces[1::2], strict=True)]
    return pieces[0]
