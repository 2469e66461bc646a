"""How the matrix unit's panels are filled: with pixels of blocks of channels, or planes of words of channels, as numbers of the unit.

Line by line, by what fits where the input's channels lie and where the unit wants them:

    rows_filler     from channels-last pixels: panel[part][block][pixel] is a row of a tile, the channels of a block
    planes_filler   from channels-first planes: the same, turned in registers as words; or as they lie, so that
                    panel[part][word][pixel] is one word of a pixel's channels, and a row of a tile is pixels

A word holds neighbouring channels; of numbers that are cut into parts, two that lie half a block apart: their vectors need no shuffle.
Past the last channel stand zeros. Few channels have a panel of their own (`matrix_unfolded`).

`every`: of a line, pixels that lie so many apart are wanted alone, and lie side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from juanji.jit.arguments import Arguments
from juanji.jit.elements import transpose
from juanji.jit.emit import LINE, PTR, Emitter, Type, Value
from juanji.jit.matrix_code import MatrixCode
from juanji.jit.matrix_unfolded import emit_unfolded
from juanji.jit.panels import Line, Row, emit_filler, outer_step
from juanji.jit.words import words


def fill_panel(e: Emitter, code: MatrixCode, a: Arguments, origin: list[Value], extent: list[Value], xs: Value) -> None:
    """The panel of one chunk, line by line. Lines of one phase of a stride lie together; phases that no tap meets are left out."""
    last = code.axes - 1
    size = Type(code.line.total).bytes
    first = e.integer(origin[last] * a[f"stride{last}"])
    count = e.integer((extent[last] - 1) * a[f"stride{last}"] + a[f"reach{last}"])

    def walk(axis: int, source: Value, outside: Value, goal: Value, clear: Value) -> None:
        if axis == last:
            if code.unfolded:
                e.call("unfold_line", a.row, goal, source, outside, first, count, clear)
            else:
                e.call("fill_line", a.row, goal, source, outside, first, count)
            return
        begin, reach = origin[axis] * a[f"stride{axis}"], (extent[axis] - 1) * a[f"stride{axis}"] + a[f"reach{axis}"]
        parts = a[f"parts{axis}"]
        with e.loop(0, a[f"phases{axis}"]) as phase:
            lines = (reach - phase + parts - 1) // parts
            with e.loop(0, lines) as j:
                at, constant = begin + j * parts + phase, a["constants"] + axis * size
                inner = outer_step(e, a, f"map{axis}", f"xs{axis}", at, constant, source, outside)
                ends = e.select(e.compare("eq", j, lines - 1), clear, e.integer(0))
                walk(axis + 1, *inner, goal + phase * a[f"apart{axis}"] + j * a[f"ps{axis}"], ends if axis == last - 1 else clear)

    walk(0, xs, Value(e, PTR, "null"), a["scratch"], a["clear"] if code.unfolded else e.integer(0))


def emit_panel(e: Emitter, code: MatrixCode) -> None:
    """Emits the functions that `fill_panel` calls."""
    if code.unfolded:
        emit_unfolded(e, code)
        return
    panel = Panel(code.parts, code.element.bytes, code.every, code.even)
    if code.planar_x:
        planes_filler(e, code.line, code.names, panel, turned=not code.planar)
    else:
        rows_filler(e, code.line, code.names, panel)


@dataclass(frozen=True)
class Panel:
    """What the code of a filler depends on. Numbers are of `size` bytes; even: channels fill all blocks."""

    parts: int
    size: int
    every: int
    even: bool

    @property
    def group(self) -> int:
        """Numbers of a word."""
        return 4 // self.size


def _place(panel: Panel, i: Value) -> Value:
    return i // panel.every


def _wanted(e: Emitter, panel: Panel, i: Value) -> Value:
    return e.compare("eq", i % panel.every, e.integer(0))


def _from(panel: Panel, start: Value) -> Value:
    """The first wanted pixel at or behind another."""
    return start if panel.every == 1 else (start + (panel.every - 1)) // panel.every * panel.every


# From pixels ----------------------------------------------------------------------------------------------------------------


def rows_filler(e: Emitter, line: Line, names: tuple[str, ...], panel: Panel) -> None:
    """Emits the filler of a row of channels-last pixels."""
    block = LINE // panel.size
    vector = e.vector(line.total)

    def put(row: Row, vectors: list[Value], b: Value, i: Value) -> None:
        """The numbers of a block of one pixel."""
        goal = row.goal + b * row.a["panel_b"] + _place(panel, i) * LINE
        half = len(vectors) // 2
        pairs = zip(vectors[:half], vectors[half:], strict=True)
        found = [vectors] if panel.parts == 1 else list(zip(*(words(e, pair, panel.parts) for pair in pairs), strict=True))
        for part, numbers in enumerate(found):
            for place, value in enumerate(numbers):
                e.store(value, goal + row.a["part"] * part + place * value.type.bytes)

    def move(row: Row, b: Value, i: Value, pixel: Value, whole: bool) -> None:
        vectors = []
        for c in range(0, block, vector.lanes):
            at = b * block + c
            count = None if whole else e.most(e.least(row.a["channels"] - at, vector.lanes), 0)
            vectors.append(row.read(pixel + at * row.size, vector, count))
        put(row, vectors, b, i)

    def copy(row: Row, i: Value, pixel: Value) -> None:
        with e.when(_wanted(e, panel, i)):
            whole = e.integer(row.a["panels"]) if panel.even else row.a["panels"] - 1
            with e.loop(0, whole) as b:
                move(row, b, i, pixel, True)
            if not panel.even:
                move(row, whole, i, pixel, False)

    def fill(row: Row, i: Value, number: Value) -> None:
        many = e.splat(number, vector.lanes)
        with e.when(_wanted(e, panel, i)), e.loop(0, row.a["panels"]) as b:
            put(row, [many] * (block // vector.lanes), b, i)

    def inside(row: Row, begin: Value, start: Value, stop: Value) -> None:
        with e.loop(_from(panel, start), stop, panel.every) as i:
            copy(row, i, begin + i * row.a["xs_w"])

    emit_filler(e, line, names, fill, copy, inside)


# From planes ----------------------------------------------------------------------------------------------------------------


def planes_filler(e: Emitter, line: Line, names: tuple[str, ...], panel: Panel, turned: bool) -> None:
    """Emits the filler of a row of pixels out of channels-first planes."""
    put = partial(_put_word, panel=panel, turned=turned)
    copy = partial(_copy_pixel, panel=panel, turned=turned)

    def fill(row: Row, i: Value, number: Value) -> None:
        with e.when(_wanted(e, panel, i)), e.loop(0, row.a["panels"] * (LINE // 4)) as word:
            put(row, word, i, words(e, [number] * panel.group, panel.parts))

    emit_filler(e, line, names, fill, copy, partial(_turn if turned else _lay, panel=panel))


def _word_goal(row: Row, word: Value, i: Value, panel: Panel, turned: bool) -> Value:
    if turned:
        return row.goal + (word // (LINE // 4)) * row.a["panel_b"] + i * LINE + word % (LINE // 4) * 4
    return row.goal + word * row.a["pitch"] + _place(panel, i) * 4


def _put_word(row: Row, word: Value, i: Value, parts: list[Value], panel: Panel, turned: bool) -> None:
    goal = _word_goal(row, word, i, panel, turned)
    for part, value in enumerate(parts):
        row.e.store(value, goal + row.a["part"] * part)


def _copy_pixel(row: Row, i: Value, pointer: Value, panel: Panel, turned: bool) -> None:
    e = row.e
    with e.when(_wanted(e, panel, i)), e.loop(0, row.a["panels"] * (LINE // 4)) as word:
        numbers = [_known(row, panel, word, k, row.read(plane, row.total)) for k, plane in enumerate(_planes(row, panel, word, pointer))]
        _put_word(row, word, i, words(e, numbers, panel.parts), panel, turned)


def _planes(row: Row, panel: Panel, word: Value, pointer: Value) -> list[Value]:
    """Where the channels of a word begin; past the last channel, its own once more."""
    last = row.a["channels"] - 1
    channels = (_channel(panel, word, k) for k in range(panel.group))
    return [pointer + (c if panel.even else row.e.least(c, last)) * row.a["xs_c"] for c in channels]


def _channel(panel: Panel, word: Value, k: int) -> Value:
    """The channel of a word's k-th number (`matrix_program.Layout.reduction`)."""
    if panel.parts == 1:
        return word * panel.group + k
    across = LINE // 4
    return word // across * (2 * across) + word % across + k * across


def _known(row: Row, panel: Panel, word: Value, k: int, numbers: Value) -> Value:
    """The numbers of channel k of a word, or zeros past the last one."""
    e = row.e
    if panel.even:
        return numbers
    return e.select(e.compare("slt", _channel(panel, word, k), row.a["channels"]), numbers, e.zero(numbers.type))


def _lanes(row: Row) -> Type:
    """As many numbers as a vector has words."""
    return row.e.vector("i32").of(row.line.total)


def _lay(row: Row, begin: Value, start: Value, stop: Value, panel: Panel) -> None:
    """Words side by side in planes of their own."""
    e, a, type = row.e, row.a, _lanes(row)
    lanes, every = type.lanes, panel.every
    start = _from(panel, start)
    count = (stop - start + (every - 1)) // every  # wanted
    many = e.compare("sge", count, e.integer(lanes))

    def numbers(plane: Value, i: Value, left: Value | None) -> Value:
        """Those of `lanes` wanted pixels, or of those that are left."""
        at = plane + i * row.size
        if every == 1:
            return row.read(at, type, left)
        low, high = (None, None) if left is None else (e.least(left * 2 - 1, lanes), e.most(left * 2 - lanes, 0))
        first = row.read(at, type, low)
        # One pixel less, so that none behind the last wanted one is touched.
        second = row.read(at + (lanes - 1) * row.size, type, high)
        return e.shuffle(first, second, [*range(0, lanes, 2), *range(lanes + 1, 2 * lanes, 2)])

    def words_of(word: Value, i: Value, left: Value | None = None) -> list[Value]:
        planes = _planes(row, panel, word, begin)
        return words(e, [_known(row, panel, word, k, numbers(plane, i, left)) for k, plane in enumerate(planes)], panel.parts)

    with e.loop(0, a["panels"] * (LINE // 4)) as word:
        with e.when(many), e.loop(0, count, lanes) as j:
            i = start + e.least(j, count - lanes) * every
            _put_word(row, word, i, words_of(word, i), panel, False)
        with e.otherwise(many):
            goal = _word_goal(row, word, start, panel, False)
            for part, value in enumerate(words_of(word, start, count)):
                e.store_first(value, goal + a["part"] * part, count)


def _turn(row: Row, begin: Value, start: Value, stop: Value, panel: Panel) -> None:
    """Squares of words turned, so that those of a pixel's block lie side by side."""
    e, a, type = row.e, row.a, _lanes(row)
    vector, lanes, across = type.of("i32"), type.lanes, LINE // 4
    square = across * vector.bytes
    lying, turned = e.stack(vector, panel.parts * across), e.stack(vector, across)
    many = e.compare("sge", stop - start, e.integer(lanes))

    def lay(b: Value, i: Value, left: Value | None) -> None:
        """The words of a block as they come."""
        with e.loop(0, across) as k:
            word = b * across + k
            planes = _planes(row, panel, word, begin)
            numbers = [_known(row, panel, word, n, row.read(plane + i * row.size, type, left)) for n, plane in enumerate(planes)]
            for number, value in enumerate(words(e, numbers, panel.parts)):
                e.store(value, lying + k * vector.bytes + number * square)

    with e.loop(0, a["panels"]) as b, e.loop(start, stop, lanes) as j:
        i = e.most(start, e.least(j, stop - lanes))
        left = e.least(stop - i, lanes)
        with e.when(many):
            lay(b, i, None)
        with e.otherwise(many):
            lay(b, i, left)
        with e.loop(0, panel.parts) as part:
            goal = row.goal + b * a["panel_b"] + i * LINE + a["part"] * part
            place = e.select(many, goal, turned)
            for first in range(0, across, lanes):
                lines = [e.load(vector, lying + part * square + n * vector.bytes) for n in range(first, first + lanes)]
                for pixel, value in enumerate(transpose(e, lines)):
                    e.store(value, place + (pixel * LINE + first * 4))
            with e.otherwise(many), e.loop(0, left * LINE, vector.bytes) as at:
                e.store(e.load(vector, turned + at), goal + at)
