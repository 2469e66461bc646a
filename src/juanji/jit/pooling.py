"""Pooling: windows reduced to one value each, the largest, with or without its place, or the sum.

Three loops over the same tables of windows, by what lies in a vector's lanes:

    channels   the channels of channels-last pixels: an output pixel walks the taps of its window
    planes     the same for small channels-first planes: as many of them as there are lanes are turned into pixels, and the results back
    rows       neighbours along the innermost axis of channels-first planes (pooling_rows.py)
"""

from __future__ import annotations

from juanji.jit.arguments import Arguments
from juanji.jit.elements import transpose
from juanji.jit.emit import PTR, Emitter, Type, Value
from juanji.jit.ieee import ieee_mode
from juanji.jit.pooling_rows import Rows
from juanji.jit.target import Target
from juanji.jit.windowed import PLACES, SCALARS, Best, PoolingCode, WindowLoop, finish, read


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

        def pixel(source: Value, flat: Value, own: Value, weight: Value | None, counts: list[Value]) -> None:
            number = (image * a["pixels"] + own) * a["channels"]

            def tile(c: Value, type: Type, vectors: int, count: Value | None = None) -> None:
                bests = [Best(e, self.code, type, self.place(flat, type.lanes)) for _ in range(vectors)]

                def meet(tap: Value, at: Value) -> None:
                    place = self.place(at, type.lanes)
                    named = a[PLACES] + ((image * a["plane"] + at) * a["channels"] + c) * 8 if self.code.matched else None
                    for v, best in enumerate(bests):
                        value = read(e, self.code, tap + v * self.lanes * self.x_bytes, type, count)
                        if named is not None:
                            value = self._matching(value, named + v * self.lanes * 8, own, count)
                        best.meet(value, place)

                self.taps(counts, source + c * self.x_bytes, flat, meet)
                heavy = e.splat(weight, type.lanes) if weight is not None and type.lanes else weight
                for v, best in enumerate(bests):
                    self.put(best.get(), heavy, number + c + v * self.lanes, count)

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

    def _matching(self, value: Value, named: Value, own: Value, count: Value | None) -> Value:
        """The elements whose places name this output, and 0 for the others."""
        e, type = self.e, value.type.of("i64")
        places = e.load(type, named) if count is None else e.load_first(type, named, count)
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
            stored = finish(e, code, value, None if weight is None else e.splat(weight, self.lanes))
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
