"""Pooling: windows reduced to one value each, the largest, with or without its place, or the sum.

Loops over the same tables of windows, by what lies in a vector's lanes:

    channels   the channels of channels-last pixels: an output pixel walks the taps of its window
    planes     the same for small channels-first planes: as many of them as there are lanes are turned into pixels, and the results back;
               where windows are large, lines that these are first reduced to
    whole      the elements of a channels-first plane that is one window: as many planes as there are lanes are reduced to a vector each,
               and these together to their results
    rows       neighbours along the innermost axis of channels-first planes (pooling_rows.py)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from juanji.jit.arguments import kernel
from juanji.jit.elements import transpose
from juanji.jit.emit import I1, I32, I64, PTR, Emitter, Type, Value, Var
from juanji.jit.pooling_rows import Rows
from juanji.jit.target import Target
from juanji.jit.windowed import PLACES, SCALARS, Best, Output, PoolingCode, WindowLoop, greater, joined, neutral, read, strays, tell

BESIDE = 4  # planes that are one window each, reduced together: one alone waits for its sums


def emit_pooling(code: PoolingCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        match code.lanes:
            case "channels":
                run = _Channels(e, code, a).item
            case "planes":
                run = (_Lined if code.lined else _Planes)(e, code, a).item
            case "whole":
                run = _Whole(e, code, a).item
            case _:
                run = Rows(e, code, a).item
        with e.loop(a["begin"], a["end"]) as item:
            run(item)
    return e.text()


# Lanes along the channels -----------------------------------------------------------------------------------------------


class _Channels(WindowLoop):
    """Where matched, an element counts only if its place, read beside it, names the output: the gradient of a maximum."""

    def item(self, item: Value) -> None:
        """One item of work: image, band of the first axis, share of the channels."""
        e, a = self.e, self.a
        rest, share = e.divide(item, a["blocks"])
        image, band = e.divide(rest, a["bands"])
        start = share * a["block"]
        stop = e.least(start + a["block"], a["channels"])
        outside = e.var(I1, e.zero(I1))  # whether a place named none of the outputs

        def pixel(at: Output) -> None:
            source, flat, own, weight = at[:4]
            number = (image * a["pixels"] + own) * a["channels"]

            def tile(c: Value, type: Type, vectors: int, count: Value | None = None) -> None:
                bests = [Best(e, self.code, type, self.place(flat, type.lanes)) for _ in range(vectors)]
                greatest = e.var(type.of("i64"), e.zero(type.of("i64")))  # of the places that are given

                def meet(tap: Value, element: Value, portion: Value | None) -> None:
                    place = self.place(element, type.lanes)
                    named = a[PLACES] + ((image * a["plane"] + element) * a["channels"] + c) * 8 if self.code.matched else None
                    for v, best in enumerate(bests):
                        value = read(e, self.code, tap + v * self.lanes * self.x_bytes, type, count)
                        if named is not None:
                            value = self._matching(value, named + v * self.lanes * 8, own, count, greatest)
                        best.meet(value, place, portion)

                self.taps(at._replace(source=source + c * self.x_bytes), meet)
                heavy = e.splat(weight, type.lanes) if weight is not None and type.lanes else weight
                for v, best in enumerate(bests):
                    self.put(best.get(), heavy, number + c + v * self.lanes, count)
                if self.code.matched:
                    outside.set(e.arith("or", outside.get(), strays(e, greatest.get(), a["pixels"])))

            wide = self.lanes * self.code.vectors
            many = stop - (stop - start) % wide
            single = stop - (stop - start) % self.lanes
            with e.loop(start, many, wide) as c:
                tile(c, self.vector, self.code.vectors)
            if self.code.vectors > 1:
                with e.loop(many, single, self.lanes) as c:
                    tile(c, self.vector, 1)
            if e.masks:
                with e.when(e.compare("slt", single, stop)):
                    tile(single, self.vector, 1, stop - single)
            else:
                with e.loop(single, stop) as c:
                    tile(c, self.total, 1)

        self.walk(self.code.axes, band, self.first(a["x"] + image * a["xs_n"]), pixel)
        if self.code.matched:
            tell(e, a, outside.get())

    def _matching(self, value: Value, named: Value, own: Value, count: Value | None, greatest: Var) -> Value:
        """The elements whose places name this output, and 0 for the others."""
        e, type = self.e, greatest.type
        places = e.load(type, named) if count is None else e.load_first(type, named, count)
        greatest.set(greater(e, places, greatest.get()))
        return e.select(e.compare("eq", places, e.splat(own, type.lanes) if type.lanes else own), value, e.zero(value.type))


# Lanes along planes -----------------------------------------------------------------------------------------------------


class _Planes(WindowLoop):
    """Scratch memory holds the planes' pixels, then the results', then their places'."""

    def item(self, item: Value) -> None:
        """One item of work: as many planes as there are lanes; where fewer are left, the last one fills the rest."""
        e, a, code = self.e, self.a, self.code
        numbers = [e.least(item * self.lanes + lane, a["planes"] - 1) for lane in range(self.lanes)]
        self._turn(item, numbers)
        self._reduce()
        self._back(a["scratch"] + a["results"], SCALARS[code.y], a["y"], SCALARS[code.y], numbers)
        if code.places is not None:
            self._back(a["scratch"] + a["tags"], code.places, a[PLACES], "i64", numbers)

    def _plane(self, number: Value) -> Value:
        """Where a plane lies."""
        a = self.a
        image, channel = self.e.divide(number, a["channels"])
        return a["x"] + image * a["xs_n"] + channel * a["xs_c"]

    def _turn(self, item: Value, numbers: list[Value]) -> None:
        """The planes as pixels."""
        self._gather([self._plane(number) for number in numbers], self.a["plane"], self.x_bytes, partial(read, self.e, self.code))

    def _reduce(self) -> None:
        """The windows of these pixels."""

        def pixel(at: Output) -> None:
            best = Best(self.e, self.code, self.vector, self.place(at.flat, self.lanes))

            def meet(_: Value, flat: Value, portion: Value | None) -> None:
                best.meet(self._pixel(flat), self.place(flat, self.lanes), portion)

            self.taps(at, meet)
            self._keep(best, at)

        self.walk(self.code.axes, self.e.integer(0), self.first(self.a["x"]), pixel)

    def _pixel(self, number: Value) -> Value:
        return self.e.load(self.vector, self.a["scratch"] + number * self.vector.bytes)

    def _keep(self, best: Best, at: Output) -> None:
        """Store a result, to be turned back."""
        e, a = self.e, self.a
        value, place = best.get()
        stored = self.finish(value, None if at.weight is None else e.splat(at.weight, self.lanes))
        e.store(stored, a["scratch"] + a["results"] + at.number * stored.type.bytes)
        if place is not None:
            e.store(place, a["scratch"] + a["tags"] + at.number * place.type.bytes)

    def _gather(self, planes: list[Value], size: Value, width: int, load: Callable[..., Value]) -> None:
        """scratch[pixel, lane] = the planes, of so many elements of so many bytes, which are loaded in the type of the sum."""
        e, a = self.e, self.a

        def square(at: Value, count: Value | None = None) -> None:
            rows = [load(plane + at * width, self.vector, count) for plane in planes]
            for pixel, column in enumerate(transpose(e, rows)):
                e.store(column, a["scratch"] + (at + pixel) * self.vector.bytes)

        wide = e.compare("sge", size, e.integer(self.lanes))
        with e.when(wide), e.loop(0, size, self.lanes) as at:
            square(e.least(at, size - self.lanes))
        with e.otherwise(wide):
            if e.masks:
                square(e.integer(0), size)
            else:
                for lane, plane in enumerate(planes):
                    with e.loop(0, size) as at:
                        goal = a["scratch"] + at * self.vector.bytes + lane * self.total.bytes
                        e.store(load(plane + at * width, self.total), goal)

    def _back(self, panel: Value, scalar: str, goal: Value, stored: str, numbers: list[Value]) -> None:
        """Results as planes again; `scalar` is what the panel holds, `stored` what the planes hold."""
        e, a = self.e, self.a
        vector = Type(scalar, self.lanes)
        count = e.least(a["pixels"], self.lanes)
        whole = e.compare("eq", count, e.integer(self.lanes))
        with e.loop(0, a["pixels"], self.lanes) as following:
            at = e.most(e.least(following, a["pixels"] - self.lanes), 0)
            rows = [e.load(vector, panel + (at + pixel) * vector.bytes) for pixel in range(self.lanes)]
            for number, column in zip(numbers, transpose(e, rows), strict=True):
                first = number * a["pixels"] + at
                place = goal + first * Type(stored).bytes
                values = column if stored == scalar else e.convert("sext", column, stored)
                with e.when(whole):
                    e.store(self.times(values, first), place)
                with e.otherwise(whole):
                    e.store_first(self.times(values, first, count), place, count)


class _Lined(_Planes):
    """Each plane is first reduced down its columns, to a line for each row of its results: there is less to turn where windows are large.

    Scratch memory holds these lines behind all else. Places do not come this way.
    """

    def _turn(self, item: Value, numbers: list[Value]) -> None:
        e, a, last = self.e, self.a, self.code.axes - 1
        lines, size = a["scratch"] + a["lines"], a["lined"] * self.total.bytes
        with e.loop(0, self.lanes) as lane:
            number = e.least(item * self.lanes + lane, a["planes"] - 1)
            line = e.var(PTR, lines + lane * size)

            def row(at: Output) -> None:
                self.down(at, e.integer(0), a["size"], lambda i: line.get() + i * self.total.bytes)
                line.set(line.get() + a["size"] * self.total.bytes)

            self.walk(last, e.integer(0), self.first(self._plane(number)), row)
        self._gather([lines + lane * size for lane in range(self.lanes)], a["lined"], self.total.bytes, self._line)

    def _line(self, pointer: Value, type: Type, count: Value | None = None) -> Value:
        return self.e.load(type, pointer) if count is None else self.e.load_first(type, pointer, count)

    def _reduce(self) -> None:
        e, a, last = self.e, self.a, self.code.axes - 1
        start = e.var(I64, e.integer(0))

        def row(at: Output) -> None:
            with e.loop(*self.ends(last, e.integer(0))) as p:
                each = self.entered(last, p, at)
                best = Best(e, self.code, self.vector, None)
                with e.loop(0, each.counts[-1]) as tap:
                    best.join((self._pixel(start.get() + (each.flat - at.flat) + tap * a[f"step{last}"]), None))
                self._keep(best, each)
            start.set(start.get() + a["size"])

        self.walk(last, e.integer(0), self.first(a["x"]), row)


# Lanes along a plane that is one window ----------------------------------------------------------------------------------


class _Whole(WindowLoop):
    """Scratch memory holds a vector for each plane."""

    def item(self, item: Value) -> None:
        """One item of work: as many planes of an image as there are lanes, some beside each other; its last items share some."""
        e, a = self.e, self.a
        beside = min(self.lanes, 2 if self.code.vectors > 2 and not e.masks else BESIDE)  # with masks come twice as many registers
        image, group = e.divide(item, a["blocks"])
        first = e.least(group * self.lanes, a["channels"] - self.lanes)
        start = a["x"] + image * a["xs_n"] + first * a["xs_c"]
        with e.loop(0, self.lanes, beside) as lane:
            for i, vector in enumerate(self._reduced([start + (lane + i) * a["xs_c"] for i in range(beside)])):
                e.store(vector, a["scratch"] + (lane + i) * self.vector.bytes)
        rows = [e.load(self.vector, a["scratch"] + lane * self.vector.bytes) for lane in range(self.lanes)]
        self.put((self._across(rows), None), None, image * a["channels"] + first)

    def _reduced(self, planes: list[Value]) -> list[Value]:
        """Planes as one vector each, whose lanes have a share of the elements each."""
        e, a, code = self.e, self.a, self.code
        bests = [[Best(e, code, self.vector, None) for _ in range(code.vectors)] for _ in planes]
        wide, size = self.lanes * code.vectors, a["size"]
        many, whole = size - size % wide, size - size % self.lanes

        def value(plane: Value, i: Value) -> Value:
            return read(e, code, plane + i * self.x_bytes, self.vector)

        with e.loop(0, many, wide) as i:
            for v in range(code.vectors):
                for plane, own in zip(planes, bests, strict=True):
                    own[v].meet(value(plane, i + v * self.lanes), None)
        with e.loop(many, whole, self.lanes) as i:
            for plane, (best, *_) in zip(planes, bests, strict=True):
                best.meet(value(plane, i), None)
        with e.when(e.compare("slt", whole, size)):  # the last vectors overlap, where they change nothing
            places = Type("i32", self.lanes)
            new = e.emit(I32, f"trunc {self.lanes - (size - whole)} to i32")
            fresh = e.compare("sge", e.lane_numbers(places), e.splat(new, self.lanes))
            nothing = e.zero(self.vector) if code.before else neutral(e, code, self.vector)
            for plane, (best, *_) in zip(planes, bests, strict=True):
                best.meet(e.select(fresh, value(plane, size - self.lanes), nothing), None)
        for best, *others in bests:
            for other in others:
                best.join(other.get())
        return [best.get()[0] for best, *_ in bests]

    def _across(self, rows: list[Value]) -> Value:
        """One vector of what the lanes of each of these come to: halves of two vectors beside each other, until one is left."""
        groups = 1  # of lanes that belong to one row
        while len(rows) > 1:
            half, width = len(rows) // 2, self.lanes // groups
            lanes = [group * width + lane + other * self.lanes for group in range(groups) for other in (0, 1) for lane in range(width // 2)]
            rows = [self._paired(rows[j], rows[j + half], lanes, width // 2) for j in range(half)]
            groups *= 2
        return rows[0]

    def _paired(self, one: Value, other: Value, lanes: list[int], ahead: int) -> Value:
        e = self.e
        low, high = e.shuffle(one, other, lanes), e.shuffle(one, other, [lane + ahead for lane in lanes])
        return joined(e, self.code, (low, None), (high, None))[0]
