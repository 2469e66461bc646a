"""Runs of neighbours whose elements belong to a few planes in turn: taken apart, and put together, in registers."""

from juanji.jit.emit import Emitter, Value


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
