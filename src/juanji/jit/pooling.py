"""Pooling: windows reduced to one value each, the largest, with or without its place, or the sum.

Loops over the same tables of windows, by what lies in a vector's lanes:

    channels   the channels of channels-last pixels: an output pixel walks the taps of its window
    planes     the same for small channels-first planes: as many of them as there are lanes are turned into pixels, and the results back
    whole      the elements of a channels-first plane that is one window: as many planes as there are lanes are reduced to a vector each,
               and these together to their results
    rows       neighbours along the innermost axis of channels-first planes (pooling_rows.py)
"""

from __future__ import annotations

from juanji.jit.arguments import Arguments
from juanji.jit.elements import transpose
from juanji.jit.emit import I1, I32, PTR, Emitter, Type, Value, Var
from juanji.jit.ieee import ieee_mode
from juanji.jit.pooling_rows import Rows
from juanji.jit.target import Target
from juanji.jit.windowed import PLACES, SCALARS, Best, PoolingCode, WindowLoop, greater, joined, neutral, read, strays, tell


def emit_pooling(code: PoolingCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with e.function("kernel", PTR) as (row,), ieee_mode(e, target):
        a = Arguments(e, row, code.names)
        match code.lanes:
            case "channels":
                run = _Channels(e, code, a).item
            case "planes":
                run = _Planes(e, code, a).item
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

        def pixel(source: Value, flat: Value, own: Value, weight: Value | None, counts: list[Value]) -> None:
            number = (image * a["pixels"] + own) * a["channels"]

            def tile(c: Value, type: Type, vectors: int, count: Value | None = None) -> None:
                bests = [Best(e, self.code, type, self.place(flat, type.lanes)) for _ in range(vectors)]
                greatest = e.var(type.of("i64"), e.zero(type.of("i64")))  # of the places that are given

                def meet(tap: Value, at: Value) -> None:
                    place = self.place(at, type.lanes)
                    named = a[PLACES] + ((image * a["plane"] + at) * a["channels"] + c) * 8 if self.code.matched else None
                    for v, best in enumerate(bests):
                        value = read(e, self.code, tap + v * self.lanes * self.x_bytes, type, count)
                        if named is not None:
                            value = self._matching(value, named + v * self.lanes * 8, own, count, greatest)
                        best.meet(value, place)

                self.taps(counts, source + c * self.x_bytes, flat, meet)
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

        self.walk(self.code.axes, band, a["x"] + image * a["xs_n"], pixel)
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
        self._gather(numbers)
        results, tags = a["scratch"] + a["results"], a["scratch"] + a["tags"]

        def pixel(source: Value, flat: Value, number: Value, weight: Value | None, counts: list[Value]) -> None:
            best = Best(e, code, self.vector, self.place(flat, self.lanes))

            def meet(tap: Value, at: Value) -> None:
                value = e.load(self.vector, a["scratch"] + at * self.vector.bytes)
                best.meet(value, self.place(at, self.lanes))

            self.taps(counts, source, flat, meet)
            value, place = best.get()
            stored = self.finish(value, None if weight is None else e.splat(weight, self.lanes))
            e.store(stored, results + number * stored.type.bytes)
            if place is not None:
                e.store(place, tags + number * place.type.bytes)

        self.walk(code.axes, e.integer(0), a["x"], pixel)
        self._back(results, SCALARS[code.y], a["y"], SCALARS[code.y], numbers)
        if code.places is not None:
            self._back(tags, code.places, a[PLACES], "i64", numbers)

    def _gather(self, numbers: list[Value]) -> None:
        """scratch[pixel, lane] = the planes, in the type of the sum."""
        e, a = self.e, self.a
        planes = []
        for number in numbers:
            image, channel = e.divide(number, a["channels"])
            planes.append(a["x"] + image * a["xs_n"] + channel * a["xs_c"])

        def square(at: Value, count: Value | None = None) -> None:
            rows = [read(e, self.code, plane + at * self.x_bytes, self.vector, count) for plane in planes]
            for pixel, column in enumerate(transpose(e, rows)):
                e.store(column, a["scratch"] + (at + pixel) * self.vector.bytes)

        wide = e.compare("sge", a["plane"], e.integer(self.lanes))
        with e.when(wide), e.loop(0, a["plane"], self.lanes) as at:
            square(e.least(at, a["plane"] - self.lanes))
        with e.otherwise(wide):
            if e.masks:
                square(e.integer(0), a["plane"])
            else:
                for lane, plane in enumerate(planes):
                    with e.loop(0, a["plane"]) as at:
                        goal = a["scratch"] + at * self.vector.bytes + lane * self.total.bytes
                        e.store(read(e, self.code, plane + at * self.x_bytes, self.total), goal)

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
                place = goal + (number * a["pixels"] + at) * Type(stored).bytes
                values = column if stored == scalar else e.convert("sext", column, stored)
                with e.when(whole):
                    e.store(values, place)
                with e.otherwise(whole):
                    e.store_first(values, place, count)


# Lanes along a plane that is one window ----------------------------------------------------------------------------------


class _Whole(WindowLoop):
    """Scratch memory holds a vector for each plane."""

    def item(self, item: Value) -> None:
        """One item of work: as many planes as there are lanes; the last items share some."""
        e, a = self.e, self.a
        first = e.least(item * self.lanes, a["planes"] - self.lanes)
        with e.loop(0, self.lanes) as lane:
            image, channel = e.divide(first + lane, a["channels"])
            vector = self._reduced(a["x"] + image * a["xs_n"] + channel * a["xs_c"])
            e.store(vector, a["scratch"] + lane * self.vector.bytes)
        rows = [e.load(self.vector, a["scratch"] + lane * self.vector.bytes) for lane in range(self.lanes)]
        e.store(self.finish(self._across(rows), None), a["y"] + first * self.y_bytes)

    def _reduced(self, plane: Value) -> Value:
        """A plane as one vector, each of its lanes a share of the elements."""
        e, a, code = self.e, self.a, self.code
        bests = [Best(e, code, self.vector, None) for _ in range(code.vectors)]
        wide, size = self.lanes * code.vectors, a["size"]
        many, whole = size - size % wide, size - size % self.lanes

        def value(i: Value) -> Value:
            return read(e, code, plane + i * self.x_bytes, self.vector)

        with e.loop(0, many, wide) as i:
            for v, best in enumerate(bests):
                best.meet(value(i + v * self.lanes), None)
        with e.loop(many, whole, self.lanes) as i:
            bests[0].meet(value(i), None)
        with e.when(e.compare("slt", whole, size)):  # the last vector overlaps, where it changes nothing
            places = Type("i32", self.lanes)
            new = e.emit(I32, f"trunc {self.lanes - (size - whole)} to i32")
            fresh = e.compare("sge", e.lane_numbers(places), e.splat(new, self.lanes))
            nothing = e.zero(self.vector) if code.before else neutral(e, code, self.vector)
            bests[0].meet(e.select(fresh, value(size - self.lanes), nothing), None)
        for best in bests[1:]:
            bests[0].join(best.get())
        return bests[0].get()[0]

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
