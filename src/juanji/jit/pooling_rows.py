"""Pooling with lanes along the innermost axis of channels-first planes.

A window is a product, so it is reduced one axis after the other: all outer taps first, down whole rows of the input into one line in
the first cache; then the line along itself. The line's ends hold what changes nothing (−∞ or 0, with a place after all others), so
padding needs no further thought. A line that has just been written can be read at other places only when it has left the processor for
that cache; so some rows go down first, into a line each. Along the line the lanes are

    slide     neighbouring outputs; with a stride s each tap gathers every s-th element of s vectors
    spread    neighbouring outputs that share a window's value, s at a time: the transpose of a slide with stride s
    run       one window at a time, its elements in the lanes: windows of unequal sizes, or few and long ones
    steps     one value for many neighbouring outputs that look at the same elements: the transpose of a run
"""

from __future__ import annotations

from collections.abc import Iterator

from juanji.jit.emit import I32, I64, Emitter, Int, Type, Value
from juanji.jit.windowed import Best, Output, Pair, WindowLoop, beyond, joined, neutral, read


class Rows(WindowLoop):
    """Scratch memory holds lines, then the places of their values. line: which of them is meant."""

    line: Value

    def item(self, item: Value) -> None:
        """One item of work: plane, band of the first axis, block of columns."""
        e, a, code = self.e, self.a, self.code
        last = code.axes - 1
        rest, block = e.divide(item, a["blocks"])
        plane, band = e.divide(rest, a["bands"])
        image, channel = e.divide(plane, a["channels"])
        xs = a["x"] + image * a["xs_n"] + channel * a["xs_c"]
        if code.lanes == "run" and code.axes == 1:
            self._run_in_place(xs, plane * a["pixels"])
            return
        first = block * a["block"]
        columns = e.least(a["block"], a[f"out{last}"] - first)
        # The line's element i is the row's element origin + i; start … stop of it are inside.
        origin = first * code.stride - a["low"] if code.lanes == "slide" else self._origin()
        start = e.most(e.integer(0) - origin, 0)
        stop = e.least(a["size"] - origin, a["line_all"])
        if code.lanes == "slide":
            stop = e.least(stop, (columns - 1) * code.stride + (a["window"] - 1) * a["dilation"] + 1)
        stop = e.most(stop, start)
        self._clear()

        reduced = {"slide": self._slide, "spread": self._spread, "run": self._run, "steps": self._steps}[code.lanes]

        def down(at: Output) -> None:
            self.down(at._replace(flat=at.flat + origin), start, stop, self._values_at, self._places_at, origin)

        def along(at: Output) -> None:
            reduced(plane * a["pixels"] + at.number + first, first, columns, at.weight)

        def rows(at: Output) -> None:
            low, high = self.ends(last - 1, band)
            with e.loop(low, high, code.together) as following:
                for visit in (down, along):
                    with e.loop(following, e.least(following + code.together, high)) as p:
                        self.line = p - following
                        visit(self.entered(last - 1, p, at))

        at = self.first(xs + origin * self.x_bytes)
        if last:
            self.walk(last - 1, band, at, rows)
        else:
            down(at)
            along(at)

    def _origin(self) -> Value:
        """A spread looks `meets` − 1 elements back, a run nowhere."""
        e = self.e
        return e.integer(1) - self.a["meets"] if self.code.lanes == "spread" else e.integer(0)

    def _places_at(self, i: Int) -> Value:
        assert self.code.places is not None
        all_values = self.a["line"] * self.code.together
        return self.a["scratch"] + all_values + (self.line * self.a["line_all"] + i) * Type(self.code.places).bytes

    def _values_at(self, i: Int) -> Value:
        return self.a["scratch"] + self.line * self.a["line"] + i * self.total.bytes

    def _clear(self) -> None:
        """Lines hold what changes nothing; rows overwrite their insides."""
        e = self.e
        with e.loop(0, self.code.together) as self.line, e.loop(0, self.a["line_all"], self.lanes) as i:
            e.store(neutral(e, self.code, self.vector), self._values_at(i), self.total.bytes)
            if self.code.places is not None:
                e.store(beyond(e, Type(self.code.places, self.lanes)), self._places_at(i))
        self.line = e.integer(0)

    def _slide(self, number: Value, first: Value, columns: Value, weight: Value | None) -> None:
        e, a, code = self.e, self.a, self.code
        with e.loop(0, columns, self.lanes) as following:
            c = e.most(e.least(following, columns - self.lanes), 0)  # the last vector overlaps the one before
            best = self._start(self.lanes)
            if code.window:
                for part in self._neighbours(c * code.stride, code.window, self.lanes, code.stride):
                    best.join(part)
            else:
                with e.loop(0, a["window"]) as tap:
                    best.join(self._line(c * code.stride + tap * a["dilation"], self.lanes, code.stride))
            heavy = None if weight is None else self._heavy(weight, first + c, self.lanes)
            self._put_row(best.get(), heavy, number + c, columns)

    def _spread(self, number: Value, first: Value, columns: Value, weight: Value | None) -> None:
        """Output v, with u = v + low, adds the values u // s − j whose window reaches u: those with u mod s + j·s < window."""
        e, a, code, s = self.e, self.a, self.code, self.code.stride
        places = Type("i32", self.lanes)
        window = e.splat(e.emit(I32, f"trunc {a['window']} to i32"), self.lanes)
        back = a["meets"] - 1 + a["low"] // s
        with e.loop(0, columns, s * self.lanes) as v:
            for part in range(s):
                ahead = code.phase + part * self.lanes
                best = self._start(self.lanes)
                residue = (e.lane_numbers(places) + e.const(places, ahead)) % e.const(places, s)
                with e.loop(0, a["meets"]) as j:
                    value = e.load(self.vector, self._values_at(v // s + back + ahead // s - j))
                    value = e.shuffle(value, value, [(ahead + lane) // s - ahead // s for lane in range(self.lanes)])
                    skipped = e.splat(e.emit(I32, f"trunc {j * s} to i32"), self.lanes)
                    reached = e.compare("slt", residue + skipped, window)
                    best.join((e.select(reached, value, e.zero(self.vector)), None))
                at = v + part * self.lanes
                with e.when(e.compare("slt", at, columns)):
                    self._put_row(best.get(), None, number + at, columns - at)

    def _run(self, number: Value, first: Value, columns: Value, weight: Value | None) -> None:
        e, a, code = self.e, self.a, self.code
        last = code.axes - 1
        with e.loop(0, columns) as p:
            start = e.load(I64, a[f"map_first{last}"] + p * 8)
            count = e.load(I64, a[f"map_count{last}"] + p * 8)
            best = self._start(0)
            whole = e.integer(0)
            if code.long:
                whole = count - count % self.lanes
                many = self._start(self.lanes)
                with e.loop(0, whole, self.lanes) as i:
                    many.join(self._line(start + i, self.lanes))
                best.set(self._across(many.get()))
            with e.loop(whole, count) as i:
                best.join(self._line(start + i * a[f"step{last}"], 0))
            self.put(best.get(), None if weight is None else self._heavy(weight, p, 0), number + p)

    def _run_in_place(self, xs: Value, number: Value) -> None:
        """The windows of a plane's only axis, read where they lie."""
        e, a, code = self.e, self.a, self.code
        with e.loop(0, a["out0"]) as p:
            start = e.load(I64, a["map_first0"] + p * 8)
            count = e.load(I64, a["map_count0"] + p * 8)
            done = e.integer(0)

            def begun(type: Type) -> Best:
                return Best(e, code, type, self.place(start, type.lanes))

            def meet(i: Value, best: Best) -> None:
                lanes = best.value.type.lanes
                at = start + i * a["step0"]
                place = self.place(at, lanes)
                if place is not None and lanes:
                    place = place + e.lane_numbers(place.type)
                value, portion = read(e, code, xs + at * self.x_bytes, best.value.type), self.portion(0, at, best.value.type)
                best.meet(value if portion is None else e.arith("fmul", value, portion), place)

            if code.long:
                bests = [begun(self.vector) for _ in range(code.vectors)]
                many = count - count % (self.lanes * code.vectors)
                done = count - count % self.lanes
                with e.loop(0, many, self.lanes * code.vectors) as i:
                    for v, one in enumerate(bests):
                        meet(i + v * self.lanes, one)
                with e.loop(many, done, self.lanes) as i:
                    meet(i, bests[0])
                for one in bests[1:]:
                    bests[0].join(one.get())
            best = begun(self.total)
            with e.loop(done, count) as i:
                meet(i, best)
            if code.long:
                best.join(self._across(bests[0].get()))
            self.put(best.get(), self._heavy(None, p, 0) if self.weighted else None, number + p)

    def _steps(self, number: Value, first: Value, columns: Value, weight: Value | None) -> None:
        e, a = self.e, self.a
        last = self.code.axes - 1
        with e.loop(0, a["steps"]) as step:
            start, stop = (e.load(I64, a["map_ends"] + (step + i) * 8) for i in range(2))
            at = e.load(I64, a[f"map_first{last}"] + step * 8)
            best = self._start(0)
            with e.loop(0, e.load(I64, a[f"map_count{last}"] + step * 8)) as i:
                best.join(self._line(at + i * a[f"step{last}"], 0))
            value = e.splat(best.value.get(), self.lanes)
            with e.loop(start, stop, self.lanes) as v:
                i = e.most(e.least(v, stop - self.lanes), start)
                self._put_row((value, None), None, number + i, stop - i)

    def _heavy(self, weight: Value | None, p: Value, lanes: int) -> Value:
        """The factors of outputs p on: that of the outer axes times the innermost axis' own."""
        e = self.e
        own = e.load(Type(self.code.total, lanes), self.a[f"map_weight{self.code.axes - 1}"] + p * self.total.bytes)
        if weight is None:
            return own
        return e.arith("fmul", e.splat(weight, lanes) if lanes else weight, own)

    def _start(self, lanes: int) -> Best:
        type = Type(self.code.total, lanes)
        place = None if self.code.places is None else beyond(self.e, Type(self.code.places, lanes))
        return Best(self.e, self.code, type, place)

    def _line(self, i: Value, lanes: int, stride: int = 1) -> Pair:
        """Elements i, i + stride, i + 2·stride ... of the line, and their places."""
        return next(self._neighbours(i, 1, lanes, stride))

    def _neighbours(self, i: Value, window: int, lanes: int, stride: int) -> Iterator[Pair]:
        """`_line` from i, i + 1 ... on: what is skipped for one is what the others want."""
        e, places = self.e, self.code.places
        for tap in range(0, window, stride):
            values = _vectors(e, Type(self.code.total, lanes), self._values_at(i + tap), stride)
            tags = None if places is None else _vectors(e, Type(places, lanes), self._places_at(i + tap), stride)
            for offset in range(min(stride, window - tap)):
                yield _apart(e, values, offset), None if tags is None else _apart(e, tags, offset)

    def _across(self, pair: Pair) -> Pair:
        """The lanes of a vector reduced to one, by halves."""
        e, half = self.e, self.lanes // 2
        while half:
            order = [lane ^ half for lane in range(self.lanes)]
            value, place = pair
            turned = e.shuffle(value, value, order), None if place is None else e.shuffle(place, place, order)
            pair = joined(e, self.code, pair, turned)
            half //= 2
        value, place = pair
        return self._first(value), None if place is None else self._first(place)

    def _first(self, vector: Value) -> Value:
        """The first lane."""
        room = self.e.stack(vector.type)
        self.e.store(vector, room)
        return self.e.load(Type(vector.type.scalar), room)

    def _put_row(self, pair: Pair, weight: Value | None, number: Value, left: Value) -> None:
        """Store one vector of a row, or what is left of the row if that is less."""
        whole = self.e.compare("sge", left, self.e.integer(self.lanes))
        with self.e.when(whole):
            self.put(pair, weight, number)
        with self.e.otherwise(whole):
            self.put(pair, weight, number, left)


def _vectors(e: Emitter, type: Type, pointer: Value, count: int) -> list[Value]:
    return [e.load(type, pointer + v * type.bytes) for v in range(count)]


def _apart(e: Emitter, vectors: list[Value], offset: int) -> Value:
    """Elements offset, offset + n, offset + 2·n ... of n vectors that follow one another."""
    n, lanes = len(vectors), vectors[0].type.lanes
    chosen = vectors[0]
    for v in range(1, n):
        from_this = range(v * lanes, (v + 1) * lanes)
        wanted = [lane * n + offset for lane in range(lanes)]
        kept = wanted if v == 1 else list(range(lanes))
        sources = [lanes + at - v * lanes if at in from_this else min(before, lanes - 1) for before, at in zip(kept, wanted, strict=True)]
        chosen = e.shuffle(chosen, vectors[v], sources)
    return chosen
