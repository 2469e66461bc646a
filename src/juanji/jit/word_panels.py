"""Panels of words: neighbouring channels side by side in 32 bits, as dot-product instructions take them.

They lie as other panels of the channel tile do, a word where these have a number:

    pixels  panel[block][pixel][word of the block], from pixels, or from planes whose squares are turned in registers
    planes  panel[word][pixel], from planes

Where channels do not fill the last word it begins so many channels earlier: it then holds some twice, which meet weights that are zero, and
nothing beyond a pixel is read. Where there are fewer channels than a word holds, its upper numbers are zero.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import NamedTuple

from juanji.jit.dot_products import UPPER_BITS, Dot
from juanji.jit.elements import read, transpose
from juanji.jit.emit import I32, Emitter, Type, Value
from juanji.jit.panels import Line, Row, emit_filler, fill_pixel
from juanji.jit.words import words as side_by_side

WORD = 4  # bytes


class Words(NamedTuple):
    """What words are made of.

    channels: of a word, fewer than it has room for where there are fewer. even: whether they fill all words. few: how many there are where
    they fill one or two words, but not quite, else 0.
    """

    dot: Dot
    channels: int
    even: bool
    few: int

    @classmethod
    def of(cls, dot: Dot, channels: int) -> Words:
        """The words of so many channels."""
        even = channels % dot.group == 0
        return cls(dot, min(channels, dot.group), even, 0 if even or channels > 2 * dot.group else channels)


def word_filler(e: Emitter, dtype: str, axes: int, names: tuple[str, ...], words: Words, planar_x: bool, planar: bool) -> None:
    """Emits the filler of a row of pixels, out of planes (planar_x) or pixels, into planes of words (planar) or pixels."""
    line = Line(dtype, "i32", 1, True, axes)
    inside = _lay if planar else _turn if planar_x else _copy_pixels
    copy = partial(_gather if planar_x else _copy_pixel, words=words, planar=planar)
    emit_filler(e, line, names, _fill_planes if planar else fill_pixel, copy, partial(inside, words=words))


def _goal(row: Row, word: Value, i: Value, planar: bool) -> Value:
    if planar:
        return row.goal + word * row.a["ps_c"] + i * WORD
    block = row.a["panel_c"]
    return row.goal + (word // block) * row.a["ps_b"] + (i * block + word % block) * WORD


def _first(row: Row, word: Value, words: Words) -> Value:
    """The first channel of a word."""
    place = word * words.dot.group
    return place if words.even else row.e.least(place, row.a["channels"] - words.channels)


def _turned(e: Emitter, words: Words, value: Value) -> Value:
    return e.arith("xor", value, e.const(value.type, UPPER_BITS)) if words.dot.turned else value


def _joined(row: Row, start: Value, step: Value, words: Words, type: Type, count: Value | None = None) -> Value:
    """Words of numbers `step` bytes apart: one, or as many as `type` has lanes, whose first numbers are neighbours."""
    e = row.e
    numbers = [_number(row, start + step * k, words.dot, type, count) for k in range(words.channels)]
    numbers += [e.zero(numbers[0].type)] * (words.dot.group - words.channels)
    return _turned(e, words, side_by_side(e, numbers, parts=0)[0])


def _number(row: Row, pointer: Value, dot: Dot, type: Type, count: Value | None = None) -> Value:
    """Numbers as long as the instruction has them, as bags of bits."""
    bits, dtype = 32 // dot.group, row.line.dtype
    return read(row.e, pointer, f"int{bits}" if row.size * 8 == bits else dtype, type.of(f"i{bits}"), count)


def _fill_planes(row: Row, i: Value, number: Value) -> None:
    with row.e.loop(0, row.a["channels_all"]) as word:
        row.e.store(number, _goal(row, word, i, planar=True))


# From planes ----------------------------------------------------------------------------------------------------------------


def _gather(row: Row, i: Value, pointer: Value, words: Words, planar: bool) -> None:
    """One pixel, word by word."""
    with row.e.loop(0, row.a["channels_all"]) as word:
        start = pointer + _first(row, word, words) * row.a["xs_c"]
        row.e.store(_joined(row, start, row.a["xs_c"], words, I32), _goal(row, word, i, planar))


def _lay(row: Row, begin: Value, start: Value, stop: Value, words: Words) -> None:
    """Words side by side in planes of their own, a vector at a time; the last vector overlaps the one before."""
    e, a, vector = row.e, row.a, row.e.vector("i32")
    lanes = vector.lanes
    wide = e.compare("sge", stop - start, e.integer(lanes))
    with e.loop(0, a["channels_all"]) as word:
        plane = begin + _first(row, word, words) * a["xs_c"]
        with e.when(wide), e.loop(start, stop, lanes) as next_i:
            i = e.least(next_i, stop - lanes)
            e.store(_joined(row, plane + i * row.size, a["xs_c"], words, vector), _goal(row, word, i, planar=True))
        with e.otherwise(wide):
            if e.masks:
                few = _joined(row, plane + start * row.size, a["xs_c"], words, vector, stop - start)
                e.store_first(few, _goal(row, word, start, planar=True), stop - start)
            else:
                with e.loop(start, stop) as i:
                    e.store(_joined(row, plane + i * row.size, a["xs_c"], words, I32), _goal(row, word, i, planar=True))


def _turn(row: Row, begin: Value, start: Value, stop: Value, words: Words) -> None:
    """Squares of words turned; blocks are multiples of a vector. What lies beyond the last pixel or word is read there once more."""
    e, a, vector = row.e, row.a, row.e.vector("i32")
    lanes = vector.lanes
    wide = e.compare("sge", stop - start, e.integer(lanes))
    with e.otherwise(wide), e.loop(start, stop) as i:
        _gather(row, i, begin + i * a["xs_w"], words, planar=False)
    with e.when(wide), e.loop(0, a["channels_all"], lanes) as word, e.loop(start, stop, lanes) as next_i:
        i = e.least(next_i, stop - lanes)
        square = []
        for lane in range(lanes):
            plane = begin + _first(row, e.least(word + lane, a["channels_all"] - 1), words) * a["xs_c"]
            square.append(_joined(row, plane + i * row.size, a["xs_c"], words, vector))
        goal = _goal(row, word, i, planar=False)
        for pixel, value in enumerate(transpose(e, square)):
            e.store(value, goal + pixel * a["panel_c"] * WORD)


# From pixels ----------------------------------------------------------------------------------------------------------------


def _copy_pixels(row: Row, begin: Value, start: Value, stop: Value, words: Words) -> None:
    """Pixel by pixel, or where a block holds all words in one run: of words as they lie, or of pixels of few channels."""
    e, a = row.e, row.a
    whole = e.compare("ne", a["whole"], e.integer(0))

    def one_by_one() -> None:
        with e.loop(start, stop) as i:
            _copy_pixel(row, i, begin + i * a["xs_w"], words, planar=False)

    if words.even:
        with e.when(whole):
            _copy_run(row, begin + start * a["xs_w"], row.goal + start * a["panel_c"] * WORD, (stop - start) * a["panel_c"], words)
        with e.otherwise(whole):
            one_by_one()
    elif words.few:
        many = e.arith("and", whole, e.compare("sge", stop - start, e.integer(e.vector("i32").lanes)))
        with e.when(many):
            _spread_run(row, begin, start, stop, words)
        with e.otherwise(many):
            one_by_one()
    else:
        one_by_one()


def _spread_run(row: Row, begin: Value, start: Value, stop: Value, words: Words) -> None:
    """Pixels that fill one word or two, but not quite, a vector of words at a time; the last vector overlaps the one before."""
    e, vector, group = row.e, row.e.vector("i32"), words.dot.group
    each = -(-words.few // group)
    pixels = vector.lanes // each
    places = []
    for pixel, word in itertools.product(range(pixels), range(each)):
        first = pixel * words.few + min(word * group, words.few - words.channels)
        places += [first + k if k < words.channels else pixels * words.few for k in range(group)]
    with e.loop(start, stop, pixels) as next_i:
        i = e.least(next_i, stop - pixels)
        numbers = _number(row, begin + i * row.a["xs_w"], words.dot, Type("", pixels * words.few))
        spread = e.shuffle(numbers, e.zero(numbers.type), places)
        e.store(_turned(e, words, e.emit(vector, f"bitcast {spread} to {vector}")), row.goal + i * each * WORD)


def _copy_pixel(row: Row, i: Value, pointer: Value, words: Words, planar: bool) -> None:
    """A run of words for each block; the last word by itself where it begins earlier."""
    e, a, size = row.e, row.a, row.size
    whole = a["channels_all"] - (0 if words.even else 1)
    with e.loop(0, a["panels"]) as b:
        first = b * a["panel_c"]
        count = e.least(a["panel_c"], whole - first)
        _copy_run(row, pointer + first * words.dot.group * size, _goal(row, first, i, planar), count, words)
    if not words.even:
        start = pointer + _first(row, whole, words) * size
        e.store(_joined(row, start, e.integer(size), words, I32), _goal(row, whole, i, planar))


def _copy_run(row: Row, source: Value, goal: Value, count: Value, words: Words) -> None:
    """So many words out of neighbours."""
    e, vector, pitch = row.e, row.e.vector("i32"), words.dot.group * row.size

    def run(at: Value, type: Type, left: Value | None = None) -> Value:
        many = Type("", type.lanes * words.dot.group if type.lanes else words.dot.group)
        numbers = _number(row, source + at * pitch, words.dot, many, None if left is None else left * words.dot.group)
        return _turned(e, words, e.emit(type, f"bitcast {numbers} to {type}"))

    wide = e.compare("sge", count, e.integer(vector.lanes))
    with e.when(wide), e.loop(0, count, vector.lanes) as next_at:
        at = e.least(next_at, count - vector.lanes)
        e.store(run(at, vector), goal + at * WORD)
    with e.otherwise(wide):
        if e.masks:
            e.store_first(run(e.integer(0), vector, count), goal, count)
        else:
            with e.loop(0, count) as at:
                e.store(run(at, I32), goal + at * WORD)
