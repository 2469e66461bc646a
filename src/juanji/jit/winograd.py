"""Winograd's convolution: tiles of m outputs per axis from n = m + r − 1 products per axis, in one kernel.

With A', G and B' of `toom`, a tile of the output is A' [Σ_c (G g_c G') ∘ (B' d_c B)] A: what is multiplied for one point of the
transformed tile is a matrix product of tiles × channels by channels × features. A chunk is a box of tiles of some images. For it

    load        every tile is transformed, lanes along the channels, into V[tile][point][channel]; from the input where it lies, each
                pixel by a pointer, or from a panel that `panels` fills (other element types, channels-first, few channels)
    multiply    M[block][tile][point][feature of the block] = Σ_channel V·U: a register tile of `tiles` × `vectors`, V broadcast from
                memory; all steps evenly ask for the next weights, as many as the line buffers hold without delay. Weights that
                come with a single call are transformed here, a block just before it is used: they go from memory to the second
                cache and nowhere else
    store       every tile of M is transformed, lanes along the features, bias added, activated, and put down; channels-first
                outputs wait in a buffer of pixels and are transposed from there, squares of lanes × lanes at a time

Where tiles stand, and how they do with a dilation, tells `winograd_axes`.

The sum of each point runs over all channels in order, one chain of fused multiply-adds that starts from zero. Chunks, blocks and
register tiles cut the work but no chain, so that they do not show in the bits; m and the points do.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD, Arguments, each_item, kernel
from juanji.jit.channel import fill_lines, store_squares
from juanji.jit.chunks import chunk_behind
from juanji.jit.elements import SCALARS, finish, transpose
from juanji.jit.emit import I64, LINE, PTR, Emitter, Type, Value
from juanji.jit.pack import BLOCK_ARGUMENTS, PackCode
from juanji.jit.panels import LINE_ARGUMENTS, Line, pixel_filler, transposing_filler
from juanji.jit.target import Target
from juanji.jit.toom import apply, transforms
from juanji.jit.winograd_axes import Axis, axes
from juanji.jit.winograd_weights import WeightsCode, order_and_transform


@dataclass(frozen=True)
class WinogradCode:
    """Everything that the code depends on."""

    x: str
    total: str
    y: str
    sizes: tuple[tuple[int, int], ...]  # per axis the outputs of a tile and the taps
    dilations: tuple[int, ...]
    panel: bool  # False: the input is read where it lies, channels-last
    planar_x: bool  # the input lies plane by plane
    channels_last_y: bool
    bias: bool
    activation: str | None
    narrowing: Narrowing
    tiles: int
    vectors: int
    prefetch: int  # lines of the next weights that each step asks for
    packs: PackCode | None  # how the kernel puts weights in order that it transforms itself; None if they are transformed

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        fields = ("out", "grid", "box", "map", "xs", "ps", "ys")
        each = tuple(f"{name}{axis}" for axis in range(self.axes) for name in fields)
        return (
            *HEAD, *LINE_ARGUMENTS, *each, "batch", "images", "groups", "channels", "count_f", "blocks_f", "split", "splits",
            "xs_n", "xs_c", "ys_n", "ys_c", "ps_b", "panels", "panel_c", "channels_all", "whole", "slices", "slice",
            "block", "step", "values", "v_point", "v_tile", "products", "m_tile", "m_block", "outside", "outside_pitch", "pixels",
            "stream", "ahead", *((*BLOCK_ARGUMENTS, "ws_c", "packed", "transformed") if self.packs else ()),
        )  # fmt: skip

    @property
    def axes(self) -> int:
        """Spatial axes."""
        return len(self.sizes)

    @property
    def along(self) -> tuple[Axis, ...]:
        """Where tiles stand along each axis."""
        return axes(self.sizes, self.dilations)

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of a transformed tile per axis: as many as elements of the input under it."""
        return tuple(axis.n for axis in self.along)

    @property
    def points(self) -> int:
        """Points of a transformed tile."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class _Chunk:
    """Inside the kernel: a box of tiles of some images."""

    image: Value  # the first
    images: Value
    origin: list[Value]  # in tiles
    extent: list[Value]
    tiles: Value  # of all images


def emit_winograd(code: WinogradCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    total = SCALARS[code.total]
    with kernel(e, target, code.names) as a:
        if not code.panel:
            _constants(e, code, a)
        held = chunk_behind(e, a, a["splits"], a["groups"])  # whose tiles are transformed: its groups and shares of features follow
        with each_item(e, a) as item:
            rest, split = e.divide(item, a["splits"])
            number, group = e.divide(rest, a["groups"])
            chunk = _chunk(e, code, a, number)
            with e.when(e.compare("ne", number, held.get())):
                _load(e, code, a, chunk)
            held.set(number)
            blocks = split * a["split"], e.least((split + 1) * a["split"], a["blocks_f"])
            _multiply(e, code, a, chunk, group, blocks)
            _store(e, code, a, chunk, group, blocks)
    if code.panel:
        filler = transposing_filler if code.planar_x else pixel_filler
        filler(e, Line(code.x, total, 1, True, code.axes), code.names)
    return e.text()


def _chunk(e: Emitter, code: WinogradCode, a: Arguments, number: Value) -> _Chunk:
    origin: list[Value] = []
    for axis in reversed(range(code.axes)):
        number, place = e.divide(number, e.integer((a[f"grid{axis}"] + a[f"box{axis}"] - 1) // a[f"box{axis}"]))
        origin.insert(0, place * a[f"box{axis}"])
    extent = [e.least(a[f"box{axis}"], a[f"grid{axis}"] - place) for axis, place in enumerate(origin)]
    image = number * a["images"]
    images = e.least(a["images"], a["batch"] - image)
    tiles = images
    for length in extent:
        tiles = tiles * length
    return _Chunk(image, images, origin, extent, tiles)


def _each_tile(e: Emitter, extent: Sequence[Value], first: Value, body: Callable[[list[Value], Value], None]) -> None:
    """The body for the tiles of a box in row order, with their places in it and their numbers from `first`."""

    def walk(places: list[Value], number: Value) -> None:
        if len(places) == len(extent):
            body(places, number)
            return
        with e.loop(0, extent[len(places)]) as place:
            walk([*places, place], number * extent[len(places)] + place)

    walk([], first)


# Load -----------------------------------------------------------------------------------------------------------------------


def _constants(e: Emitter, code: WinogradCode, a: Arguments) -> None:
    """A pixel of each axis's constant, in all channels: what pointers outside the array name."""
    vector = e.vector(SCALARS[code.total])
    for axis in range(code.axes):
        number = e.splat(e.load(Type(vector.scalar), a["constants"] + axis * vector.bytes // vector.lanes), vector.lanes)
        goal = a["scratch"] + a["outside"] + axis * a["outside_pitch"]
        with e.loop(0, a["outside_pitch"], vector.bytes) as at:
            e.store(number, goal + at)


def _load(e: Emitter, code: WinogradCode, a: Arguments, chunk: _Chunk) -> None:
    """V of a chunk. The channels of a panel come in slices."""
    vector = e.vector(SCALARS[code.total])
    element = vector.bytes // vector.lanes
    matrices = [transforms(m, r).input for m, r in code.sizes]

    inner = code.along[-1]
    new = inner.m if inner.dilation == 1 else inner.n  # columns of the next tile that this one does not see
    following = a[f"xs{code.axes - 1}"] * inner.first(1)

    def transform(pixels: list[Value], goal: Value) -> None:
        """All channels of a tile; the last vector overlaps the one before."""
        with e.loop(0, a["slice"], vector.lanes) as next_c:
            at = e.least(next_c, a["slice"] - vector.lanes) * element
            if not code.panel:  # the columns that the next tile sees first
                for place, pixel in enumerate(pixels):
                    if place % inner.n >= inner.n - new:
                        e.prefetch(pixel + at + following, 1)
            apply(
                e,
                matrices,
                lambda place: e.load(vector, pixels[place] + at),
                lambda point, value: e.store(value, goal + at + point * a["v_point"]),
            )

    goal = a["scratch"] + a["values"]

    def from_panel(places: list[Value], tile: Value, slice: Value) -> None:
        transform(_pixels_of_panel(code, a, places), goal + slice * element + tile * a["v_tile"])

    def from_input(places: list[Value], tile: Value, source: Value) -> None:
        whole = [origin + place for origin, place in zip(chunk.origin, places, strict=True)]
        transform(_pixels_in_place(e, code, a, source, whole), goal + tile * a["v_tile"])

    with e.loop(0, chunk.images) as image:
        source = a["x"] + (chunk.image + image) * a["xs_n"]
        if code.panel:
            *outer, line = map(_lines, code.along, chunk.origin, chunk.extent)
            with e.loop(0, a["slices"]) as number:
                slice = number * a["channels_all"]
                start = line[1](e.integer(0)), line[0]
                fill_lines(e, code.axes, Type(vector.scalar), False, a, outer, start, source + slice * a["xs_c"])
                _each_tile(e, chunk.extent, image, partial(from_panel, slice=slice))
        else:
            _each_tile(e, chunk.extent, image, partial(from_input, source=source))


def _lines(axis: Axis, origin: Value, extent: Value) -> tuple[Value, Callable[[Value], Value]]:
    """How many lines a panel holds under the tiles of a chunk, and where in the padded extent each lies."""
    if axis.plain:
        return axis.lines(extent), partial(operator.add, axis.first(origin))
    return axis.lines(extent), lambda j: axis.first(origin + j // axis.n) + j % axis.n * axis.dilation


def _pixels_of_panel(code: WinogradCode, a: Arguments, places: Sequence[Value]) -> list[Value]:
    """Pointers to the pixels under a tile, in row order."""
    pixels = [a["scratch"]]
    for i, (axis, place) in enumerate(zip(code.along, places, strict=True)):
        pixels = [pixel + axis.line(place, j) * a[f"ps{i}"] for pixel in pixels for j in range(axis.n)]
    return pixels


def _pixels_in_place(e: Emitter, code: WinogradCode, a: Arguments, source: Value, tile: Sequence[Value]) -> list[Value]:
    """The same in the input, or to a pixel of constants; where two axes are outside, the later one's."""
    pixels = [source]
    outside: list[list[tuple[Value, Value]]] = [[]]
    for i, (axis, place) in enumerate(zip(code.along, tile, strict=True)):
        constant = a["scratch"] + a["outside"] + i * a["outside_pitch"]
        steps = []
        for j in range(axis.n):
            where = e.load(I64, a[f"map{i}"] + (axis.first(place) + j * axis.dilation) * 8)
            known = e.compare("sge", where, e.integer(0))
            steps.append((known, where * a[f"xs{i}"]))
        pixels = [pixel + step for pixel in pixels for _, step in steps]
        outside = [[*before, (known, constant)] for before in outside for known, _ in steps]
    for number, conditions in enumerate(outside):
        for known, constant in conditions:
            pixels[number] = e.select(known, pixels[number], constant)
    return pixels


# Multiply -------------------------------------------------------------------------------------------------------------------


def _multiply(e: Emitter, code: WinogradCode, a: Arguments, chunk: _Chunk, group: Value, blocks: tuple[Value, Value]) -> None:
    """M of a chunk for some blocks of a group's features: point by point, or, where weights are transformed here, as these come."""
    vector = e.vector(SCALARS[code.total])
    element, width = vector.bytes // vector.lanes, vector.bytes * code.vectors
    first, last = blocks

    def products(point: Value, block: Value, c: Value, weights: Value, following: Value) -> None:
        """The sums of one point over a block of channels from c on."""
        count = e.least(a["block"], a["channels"] - c)
        values = a["scratch"] + a["values"] + point * a["v_point"] + (group * a["channels"] + c) * element
        goal = a["scratch"] + a["products"] + (block - first) * a["m_block"] + point * width
        with e.loop(0, chunk.tiles, code.tiles) as tile:
            ahead = following + tile // code.tiles * count * a["ahead"]
            _tile(e, code, a, (values, weights, goal, ahead), (tile, chunk.tiles, count), c)

    if code.packs:
        transformed = a["scratch"] + a["transformed"]
        with e.loop(first, last) as block, e.loop(0, a["channels"], a["block"]) as c:
            _transform(e, code, a, group, block, c)
            with e.loop(0, code.points) as point:
                weights = transformed + point * a["step"]
                products(point, block, c, weights, weights)
        return
    with e.loop(0, code.points) as point, e.loop(first, last) as block:
        number = (group * a["blocks_f"] + block) * code.points + point
        weights = a["w"] + number * a["step"]
        more = e.compare("slt", block + 1, last)
        following = weights + e.select(more, a["step"] * code.points, a["step"] * ((first + 1 - last) * code.points + 1))
        with e.loop(0, a["channels"], a["block"]) as c:
            products(point, block, c, weights + c * width, following + c * width)


def _transform(e: Emitter, code: WinogradCode, a: Arguments, group: Value, block: Value, c: Value) -> None:
    """The transformed weights of a block of features and a block of channels, which divides all channels."""
    vector = e.vector(SCALARS[code.total])
    f = block * (vector.lanes * code.vectors)
    source = a["w"] + group * a["ws_g"] + f * a["ws_f"] + c * a["ws_c"]
    pointers = source, a["scratch"] + a["packed"], a["scratch"] + a["transformed"]
    weights = WeightsCode(code.total, code.sizes, code.packs)
    order_and_transform(e, weights, a, pointers, a["count_f"] - f, vector.bytes * code.vectors)


def _tile(
    e: Emitter,
    code: WinogradCode,
    a: Arguments,
    pointers: tuple[Value, Value, Value, Value],
    counts: tuple[Value, Value, Value],
    c: Value,
) -> None:
    """acc[tile, vector] over a block of channels from c on, taken up from M unless it is the first, put down in M."""
    (values, weights, goal, ahead), (tile, tiles, count) = pointers, counts
    vector = e.vector(SCALARS[code.total])
    element, width = Type(vector.scalar), vector.bytes * code.vectors
    rows = [e.least(tile + i, tiles - 1) for i in range(code.tiles)]  # past the last tile that one is computed again
    sources = [values + row * a["v_tile"] for row in rows]
    goals = [goal + row * a["m_tile"] for row in rows]
    acc = [[e.var(vector, e.zero(vector)) for _ in range(code.vectors)] for _ in rows]
    with e.when(e.compare("sgt", c, e.integer(0))):
        for row, start in zip(acc, goals, strict=True):
            for v, total in enumerate(row):
                total.set(e.load(vector, start + v * vector.bytes))
    w, next_w = e.var(PTR, weights), e.var(PTR, ahead)
    with e.loop(0, count) as channel:
        step = w.get()
        for line in range(code.prefetch):
            e.prefetch(next_w.get() + line * LINE, 2)
        loaded = [e.load(vector, step + v * vector.bytes) for v in range(code.vectors)]
        for row, source in zip(acc, sources, strict=True):
            x = e.splat(e.load(element, source + channel * element.bytes), vector.lanes)
            for total, weight in zip(row, loaded, strict=True):
                total.set(e.fma(x, weight, total.get()))
        w.set(step + width)
        next_w.set(next_w.get() + a["ahead"])
    for row, start in zip(acc, goals, strict=True):
        for v, total in enumerate(row):
            e.store(total.get(), start + v * vector.bytes)


# Store ----------------------------------------------------------------------------------------------------------------------


def _store(e: Emitter, code: WinogradCode, a: Arguments, chunk: _Chunk, group: Value, blocks: tuple[Value, Value]) -> None:
    """The outputs of a chunk for some blocks of a group's features."""
    vector = e.vector(SCALARS[code.total])
    width = vector.lanes * code.vectors
    corners = [axis.first(origin) if axis.plain else e.integer(0) for axis, origin in zip(code.along, chunk.origin, strict=True)]
    outputs = [a[f"out{i}"] - corner for i, corner in enumerate(corners)]
    with e.loop(*blocks) as block:
        f = block * width
        features = e.least(a["count_f"] - f, width)
        products = a["scratch"] + a["products"] + (block - blocks[0]) * a["m_block"]
        bias = a["bias"] + (group * a["blocks_f"] + block) * (width * (vector.bytes // vector.lanes))
        goal = a["y"] + (group * a["count_f"] + f) * a["ys_c"]
        for i, corner in enumerate(corners):
            goal = goal + corner * a[f"ys{i}"]
        with e.loop(0, chunk.images) as image:
            store = _store_pixels if code.channels_last_y else _store_planes
            store(e, code, a, chunk, image, (products, bias, goal + (chunk.image + image) * a["ys_n"]), outputs, features)


def _store_pixels(
    e: Emitter, code: WinogradCode, a: Arguments, chunk: _Chunk, image: Value, pointers: tuple[Value, Value, Value], outputs: list[Value],
    features: Value,
) -> None:  # fmt: skip
    """The outputs of one image and block, each pixel's features where they belong. outputs: how many there are from the corner on."""
    products, bias, corner = pointers
    vector, out = e.vector(SCALARS[code.total]), Type(SCALARS[code.y])
    parameter = e.load(Type(vector.scalar), a["constants"] + code.axes * (vector.bytes // vector.lanes))

    steps = [a[f"ys{axis}"] for axis in range(code.axes)]
    past = e.streamable(vector.lanes * out.bytes, a["stream"], corner, *steps)

    def put(places: list[Value], tile: Value) -> None:
        along = [
            [axis.output(place, j) if axis.plain else axis.first(origin + place) + j * axis.dilation for j in range(axis.m)]
            for axis, origin, place in zip(code.along, chunk.origin, places, strict=True)
        ]
        goals = _goals(e, along, outputs, corner, steps, a["scratch"] + a["pixels"])
        with e.loop(0, features, vector.lanes) as f:
            found = _transformed(e, code, a, products, bias, tile, f)
            stored = [finish(e, value, code.y, code.activation, parameter, code.narrowing) for value in found]
            whole = e.compare("sge", features - f, e.integer(vector.lanes))
            with e.when(whole):
                for condition, store in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
                    with condition:
                        for value, goal in zip(stored, goals, strict=True):
                            store(value, goal + f * out.bytes)
            with e.otherwise(whole):
                for value, goal in zip(stored, goals, strict=True):
                    e.store_first(value, goal + f * out.bytes, features - f)

    _each_tile(e, chunk.extent, image, put)


def _store_planes(
    e: Emitter, code: WinogradCode, a: Arguments, chunk: _Chunk, image: Value, pointers: tuple[Value, Value, Value], outputs: list[Value],
    features: Value,
) -> None:  # fmt: skip
    """The same plane by plane: the pixels of a vector of features, then their transposes.

    A buffer holds the outputs of the chunk's tiles: whole lines of the innermost axis, of the others the lines that tiles have.
    """
    products, bias, corner = pointers
    vector, out = e.vector(SCALARS[code.total]), Type(SCALARS[code.y])
    lanes = vector.lanes
    parameter = e.load(Type(vector.scalar), a["constants"] + code.axes * (vector.bytes // lanes))
    spare = a["scratch"] + a["pixels"]
    pixels = spare + vector.bytes
    held = [axis.outputs(n) for axis, n in zip(code.along, chunk.extent, strict=True)]
    held = [e.least(n, outputs[i]) if code.along[i].plain else n for i, n in enumerate(held)]
    steps = [e.integer(vector.bytes)]
    for length in reversed(held[1:]):
        steps.insert(0, steps[0] * length)
    # Rows that are whole lie one behind the other in the output as in the buffer.
    whole = e.integer(int(all(axis.plain for axis in code.along)), Type("i1"))
    for i in range(1, code.axes):
        whole = e.arith("and", whole, e.compare("eq", held[i], a[f"out{i}"]))
    area = held[0]
    for length in held[1:]:
        area = area * length
    run = e.select(whole, area, held[-1])
    buffer = e.stack(Type(out.scalar, lanes), lanes)
    with e.loop(0, features, lanes) as f:

        def put(places: list[Value], tile: Value) -> None:
            along = [[axis.output(place, j) for j in range(axis.m)] for axis, place in zip(code.along, places, strict=True)]
            goals = _goals(e, along, held, pixels, steps, spare)
            for value, goal in zip(_transformed(e, code, a, products, bias, tile, f), goals, strict=True):
                e.store(value, goal)

        _each_tile(e, chunk.extent, image, put)

        def rows(axis: int, source: Value, goal: Value) -> None:
            if axis < code.axes - 1:
                along, origin = code.along[axis], chunk.origin[axis]
                with e.loop(0, e.select(whole, e.integer(1), held[axis])) as row:
                    at = row if along.plain else along.first(origin + row // along.m) + row % along.m * along.dilation
                    with e.when(e.compare("slt", at, outputs[axis])):
                        rows(axis + 1, source + row * steps[axis], goal + at * a[f"ys{axis}"])
                return
            size = e.least(features - f, lanes), e.least(run, lanes)
            with e.loop(0, run, lanes) as next_p:
                p = e.most(e.least(next_p, run - lanes), 0)
                columns = transpose(e, [e.load(vector, source + (p + i) * vector.bytes) for i in range(lanes)])
                stored = [finish(e, column, code.y, code.activation, parameter, code.narrowing) for column in columns]
                store_squares(e, stored, buffer, goal + p * out.bytes, a["ys_c"], size)

        rows(0, pixels, corner + f * a["ys_c"])


def _transformed(e: Emitter, code: WinogradCode, a: Arguments, products: Value, bias: Value, tile: Value, f: Value) -> list[Value]:
    """The outputs of a tile for one vector of features, bias added."""
    vector = e.vector(SCALARS[code.total])
    element = vector.bytes // vector.lanes
    start = products + tile * a["m_tile"] + f * element
    found: dict[int, Value] = {}
    matrices = [transforms(m, r).output for m, r in code.sizes]
    apply(e, matrices, lambda point: e.load(vector, start + point * (vector.bytes * code.vectors)), found.__setitem__)
    if code.bias:
        addend = e.load(vector, bias + f * element)
        found = {number: e.arith("fadd", value, addend) for number, value in found.items()}
    return [found[number] for number in range(len(found))]


def _goals(
    e: Emitter, places: Sequence[Sequence[Value]], outputs: Sequence[Value], corner: Value, steps: Sequence[Value], spare: Value
) -> list[Value]:
    """Pointers to a tile's outputs, in row order, from their places along each axis; past the edge, to where nobody looks."""
    found = [(corner, e.integer(1, Type("i1")))]
    for along, length, step in zip(places, outputs, steps, strict=True):
        inside = [(at, e.compare("slt", at, length)) for at in along]
        found = [(goal + at * step, e.arith("and", known, here)) for goal, known in found for at, here in inside]
    return [e.select(known, goal, spare) for goal, known in found]
