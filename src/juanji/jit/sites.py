"""The site tile: lanes along neighbouring sites of the last axis.

Where a site has few weights, or few sites take turns along a row, one site after the other is mostly overhead. Here `lanes` neighbours
go together; a row of fewer sites is repeated until it fills a vector, because tiling with T kernels is tiling with 2·T of which each
comes twice:

    weights  of each site lie together; squares of sites × weights are turned in registers, and wait in scratch as
             wt[weight][lane]: they are read once, in their own order, whichever that is
    windows  of neighbouring sites are neighbours: xt[channel, tap][lane] is a vector of the input where it lies, or of a patch of
             it in scratch (neighbours.py) where a boundary, a stride or another element type comes between, or many features meet it
    products y[o] = bias[o] + Σ_r xt[r]·wt[o, r],   dxt[r] = Σ_o dyt[o]·wt[o, r],   dwt[o, r] = Σ_rows dyt[o]·xt[r],
             each one chain of fused multiply-adds in rising order; dwt is turned back as it is stored, repeated sites added up

Rows are the positions of a vector of sites, the images of each together; a tile computes some of them with each vector of weights
that it loads. The part of dx that an item owns is that of the window tiles (rows.py). Lanes beyond the last site compute with
zeros, or with the last site's weights, and are not stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from juanji.jit.arguments import kernel
from juanji.jit.elements import multiply_add, plus
from juanji.jit.emit import I64, PTR, Emitter, Int, Value
from juanji.jit.neighbours import fill_patch
from juanji.jit.rows import Counter, Part, Rows, each_site, own_part, put, touching, within
from juanji.jit.site_rows import Note, SiteCode, SiteKernel, Sites, fill_offsets, note_rows, turn_back, turn_biases, turn_weights
from juanji.jit.target import Target


def emit_sites(code: SiteCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        k = SiteKernel(e, a, code.x, code.w, code.y, code.total, code.axes, False, code.narrowing, code)
        with e.loop(k.a["begin"], k.a["end"]) as item:
            (_grad_input if code.produces == "x" else _own_sites)(k, item)
    return e.text()


def _own_sites(k: SiteKernel, item: Value) -> None:
    """One item of work: a block of vectors of sites."""
    e, a, code = k.e, k.a, k.code
    if code.in_place:
        fill_offsets(k)
    grid = Counter(e, [*(a[f"sites{axis}"] for axis in range(k.axes - 1)), a["vectors"]])
    first = item * a["block"]
    grid.start(first)
    with e.loop(first, e.least(first + a["block"], a["all_sites"])):
        *outer, vector = (place.get() for place in grid.places)
        site = Sites.at(k, outer, vector)
        if code.produces == "y":
            turn_weights(k, site)
            if code.bias:
                turn_biases(k, site)
        else:
            with e.loop(0, a["all_weights"]) as weight:
                k.store(e.zero(k.vector), k.turned + weight * k.vector.bytes)
        rows = Rows(k, [*outer, site.first], a["batch"], together=True)
        with e.loop(0, rows.count, a["chunk"]) as done:
            count = e.least(rows.count - done, a["chunk"])
            _compute(k, site, note_rows(k, rows, site, count), count)
        if code.produces == "w":
            turn_back(k, site)
        grid.advance()


def _compute(k: SiteKernel, site: Sites, inside: Value, count: Value) -> None:
    """The products of some rows that were noted. inside: whether all of their windows are inside the array."""
    e, a, code = k.e, k.a, k.code
    elements, group = a["map_elements"], a["channels"] * a["channel_pitch"]
    if code.in_place:
        elements = e.select(inside, a["scratch"] + a["offsets"], elements)
        group = e.select(inside, a["channels"] * a["xs_c"], group)
    else:
        inside = e.compare("ne", count, count)
    with e.otherwise(inside), e.loop(0, count) as row:
        note, goal = Note.of(k, row), k.windows + row * a["windows_pitch"]
        if code.produces == "w":  # the sums of all lanes go on, of which a row at the end has fewer: it adds zeros to the others
            with e.when(e.compare("slt", note.lanes, site.count)), e.loop(0, a["windows_pitch"], k.vector.bytes) as at:
                e.store(e.zero(k.vector), goal + at)
        fill_patch(k, note.positions, a["x"] + note.image * a["xs_n"], note.lanes, code.apart, a["groups"] * a["channels"], goal)
        e.store(goal, a["scratch"] + a["notes"] + row * code.note)
    (_forward if code.produces == "y" else _grad_weight)(k, count, _Elements(k, elements, group))


@dataclass(frozen=True)
class _Elements:
    """Where the elements of windows lie: a table of places by their number; from the window of one group to that of the next."""

    k: SiteKernel
    table: Value
    group: Value

    def place(self, r: Value) -> Value:
        """Where element r of a group's window lies from its beginning on."""
        return self.k.e.load(I64, self.table + r * 8, 8)


def _grad_input(k: SiteKernel, item: Value) -> None:
    """One item of work: some images, band of places along the first axis."""
    e, a = k.e, k.a
    grid = [*(a[f"sites{axis}"] for axis in range(k.axes - 1)), a["vectors"]]
    share, band = e.divide(item, a["bands"])
    image = share * a["images"]
    channels = a["groups"] * a["channels"]
    inner = a["vectors"]
    for extent in grid[1:-1]:
        inner = inner * extent
    owned = own_part(k, image, e.integer(0), channels, band)
    with owned as part, touching(k, part, inner) as (first, end), each_site(k, grid, first, end) as (_, (*outer, vector)):
        site = Sites.at(k, outer, vector)
        turn_weights(k, site)
        rows = Rows(k, [*outer, site.first], part.images, together=True)
        with e.loop(0, rows.count, a["chunk"]) as done:
            count = e.least(rows.count - done, a["chunk"])
            note_rows(k, rows, site, count, image)
            _grad_windows(k, count)
            row = e.var(I64, e.integer(0))
            with e.repeat() as leave:
                leave(e.compare("sge", row.get(), count))
                note, found = Note.of(k, row.get()), k.windows + row.get() * a["windows_pitch"]
                images = e.least(part.images - note.image, count - row.get())  # that follow, of the same position
                _add_windows(k, part, note, images, found)
                row.set(row.get() + images)


# Vectors of the input, of its gradient, of the output's ---------------------------------------------------------------------


@contextmanager
def _each_channel(k: SiteKernel, goal: Value) -> Iterator[tuple[Value, Value]]:
    """All channels by number, and where their vector of one tap lies."""
    e, a = k.e, k.a
    with e.loop(0, a["blocks_c"]) as block, e.loop(0, a["block_c"]) as c:
        yield block * a["block_c"] + c, goal + block * a["depth"] * k.vector.bytes + c * a["channel_step"]


def _add_windows(k: SiteKernel, part: Part, note: Note, images: Value, windows: Value) -> None:
    """Add dxt[channel, tap][lane] of some images to the elements of the part that the windows were gathered from.

    Taps of the last axis are outermost: what is added next lies apart from what is being stored.
    """
    e, a, size, count = k.e, k.a, k.total.bytes, note.lanes
    last = k.axes - 1
    places = k.places(note.positions)
    with e.loop(0, a[f"taps{last}"]) as tap:
        place = places[last] + tap * a[f"step{last}"]
        low, high = e.integer(0), e.integer(0)  # lanes between these are neighbours in the array
        if k.code.apart == 1:
            low = e.least(e.most(a["low_w"] - place, 0), count)
            high = e.most(e.least(a["low_w"] + a["size_w"] - place, count), low)

        def each_line(axis: int, line: Int, goal: Value) -> None:
            if axis == last:
                add_line(windows + (line * a[f"taps{last}"] + tap) * a["tap_step"], goal)
                return
            with e.loop(0, a[f"taps{axis}"]) as j:
                where = e.load(I64, a[f"map{axis}"] + (places[axis] + j * a[f"step{axis}"]) * 8, 8)
                known = e.compare("sge", where, e.integer(0)) if axis else within(k, where, part)
                with e.when(known):
                    at = goal + (where - (0 if axis else part.low)) * a[f"xs{axis}"]
                    each_line(axis + 1, line * a[f"taps{axis}"] + j, at)

        def add_line(source: Value, goal: Value) -> None:
            if k.code.apart == 1:
                first, lanes = goal + (place + low - a["low_w"]) * size, high - low
                with _each_channel(k, source + low * size) as (channel, at), e.loop(0, images) as n:
                    to = first + channel * a["xs_c"] + n * a["xs_n"]
                    put(k, plus(e, k.load(to), k.load(at + n * a["windows_pitch"])), to, None, lanes)
            for begin, end in ((e.integer(0), low), (high, count)):
                with e.loop(begin, end) as lane:
                    where = e.load(I64, a[f"map{last}"] + (place + lane * a[f"stride{last}"]) * 8, 8)
                    with e.when(e.compare("sge", where, e.integer(0))):
                        add_column(source + lane * size, goal + where * size)

        def add_column(source: Value, goal: Value) -> None:
            with _each_channel(k, source) as (channel, at), e.loop(0, images) as n:
                to = goal + channel * a["xs_c"] + n * a["xs_n"]
                e.store(plus(e, e.load(k.total, to), e.load(k.total, at + n * a["windows_pitch"])), to)

        each_line(0, e.integer(0), part.at + note.image * a["xs_n"])


# Products -------------------------------------------------------------------------------------------------------------------


def _clamped(k: SiteKernel, first: Int, count: Value, step: int) -> list[Value]:
    """As many numbers as a tile takes; past the end the last one again."""
    return [k.e.least(first + i, count - 1) for i in range(step)]


def _forward(k: SiteKernel, count: Value, seen: _Elements) -> None:
    """y[o] = bias[o] + Σ_r xt[r]·wt[o, r] of `count` rows, stored where neighbouring outputs lie."""
    e, a, code, width = k.e, k.a, k.code, k.vector.bytes
    with e.loop(0, count, code.rows) as row:
        notes = [Note.of(k, number) for number in _clamped(k, row, count, code.rows)]
        with e.loop(0, a["groups"]) as group, e.loop(0, a["features"], code.across) as first:
            features = _clamped(k, first, a["features"], code.across)
            outputs = [group * a["features"] + o for o in features]
            weights = [k.turned + group * a["group_step"] + o * a["o_step"] for o in features]
            windows = [note.input + group * seen.group for note in notes]
            acc = [[e.var(k.vector, k.load(k.above + o * width) if code.bias else e.zero(k.vector)) for o in outputs] for _ in notes]
            with e.loop(0, a["depth"]) as r:
                place = seen.place(r)
                met = [k.load(weight + r * a["r_step"]) for weight in weights]
                for line, window in zip(acc, windows, strict=True):
                    value = k.load(window + place)
                    for one, weight in zip(line, met, strict=True):
                        one.set(multiply_add(e, value, weight, one.get()))
            for line, note in zip(acc, notes, strict=True):
                for one, o in zip(line, outputs, strict=True):
                    put(k, k.finish(one.get(), "y", code.activation), note.output + o * a["ys_c"], None, note.lanes)


def _grad_windows(k: SiteKernel, count: Value) -> None:
    """dxt[r] = Σ_o dyt[o]·wt[o, r] of `count` rows."""
    e, a, code, width = k.e, k.a, k.code, k.vector.bytes
    with e.loop(0, count, code.rows) as row, e.loop(0, a["groups"]) as group, e.loop(0, a["depth"], code.across) as first:
        numbers = _clamped(k, row, count, code.rows)
        elements = _clamped(k, first, a["depth"], code.across)
        weights = [k.turned + group * a["group_step"] + r * a["r_step"] for r in elements]
        acc = [[e.var(k.vector, e.zero(k.vector)) for _ in elements] for _ in numbers]
        above = [k.above + number * a["above_pitch"] + group * a["features"] * width for number in numbers]
        with e.loop(0, a["features"]) as o:
            met = [k.load(weight + o * a["o_step"]) for weight in weights]
            for line, errors in zip(acc, above, strict=True):
                gradient = k.load(errors + o * width)
                for one, weight in zip(line, met, strict=True):
                    one.set(multiply_add(e, gradient, weight, one.get()))
        for line, number in zip(acc, numbers, strict=True):
            for one, r in zip(line, elements, strict=True):
                k.store(one.get(), k.windows + number * a["windows_pitch"] + (group * a["depth"] + r) * width)


def _grad_weight(k: SiteKernel, count: Value, seen: _Elements) -> None:
    """dwt[o, r] += dyt[o]·xt[r], summed over `count` rows."""
    e, a, code, width = k.e, k.a, k.code, k.vector.bytes
    with e.loop(0, a["groups"]) as group, e.loop(0, a["features"], code.across) as o, e.loop(0, a["depth"], code.rows) as r:
        features, elements = _clamped(k, o, a["features"], code.across), _clamped(k, r, a["depth"], code.rows)
        above = [k.above + (group * a["features"] + feature) * width for feature in features]
        sums = [k.turned + group * a["group_step"] + feature * a["o_step"] for feature in features]
        goals = [[at + element * a["r_step"] for element in elements] for at in sums]
        acc = [[e.var(k.vector, k.load(goal)) for goal in line] for line in goals]
        places = [seen.place(element) + group * seen.group for element in elements]
        with e.loop(0, count) as row:
            window = e.load(PTR, a["scratch"] + a["notes"] + row * code.note, 8)
            values = [k.load(window + place) for place in places]
            for line, errors in zip(acc, above, strict=True):
                gradient = k.load(errors + row * a["above_pitch"])
                for one, value in zip(line, values, strict=True):
                    one.set(multiply_add(e, gradient, value, one.get()))
        for line, ats in zip(acc, goals, strict=True):
            for one, goal in zip(line, ats, strict=True):
                k.store(one.get(), goal)
