"""Weights as words for dot-product instructions: neighbours of the reduction side by side, and what each feature's sum begins with."""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit.arguments import HEAD, kernel
from juanji.jit.dot_products import Dot
from juanji.jit.emit import I64, Emitter, Value
from juanji.jit.target import Target
from juanji.jit.words import words


@dataclass(frozen=True)
class WordWeightsCode:
    """Everything that the code depends on."""

    dot: Dot
    vectors: int

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. map_rows: bytes to each number of each word, below zero where there is none; item, goal: of a block."""
        return (*HEAD, "map_rows", "steps", "item", "goal")


def emit_word_weights(code: WordWeightsCode, target: Target) -> str:
    """The IR of one kernel, from float32 w[item][row][feature] to y[item][step][feature], and behind them `Dot.correction`·Σ w[feature]."""
    e = Emitter(target.vector_bits, target.masks)
    vector, dot = e.vector("f32"), code.dot
    width = vector.bytes * code.vectors
    with kernel(e, target, code.names) as a, e.loop(a["begin"], a["end"]) as item:
        source, goal = a["w"] + item * a["item"], a["y"] + item * a["goal"]
        sums = [e.var(vector.of("i32"), e.zero(vector.of("i32"))) for _ in range(code.vectors)]
        with e.loop(0, a["steps"]) as step:
            rows = []
            for k in range(dot.group):
                at = e.load(I64, a["map_rows"] + (step * dot.group + k) * 8, 8)
                rows.append((e.compare("sge", at, e.integer(0)), source + e.most(at, 0)))
            for v, total in enumerate(sums):
                numbers = [e.select(known, e.load(vector, start + v * vector.bytes), e.zero(vector)) for known, start in rows]
                if dot.scalar != "bf16":
                    wholes = [e.convert("fptosi", number, "i32") for number in numbers]
                    if dot.turned:
                        total.set(_plus(e, total.get(), wholes))
                    numbers = [e.convert("trunc", whole, dot.scalar) for whole in wholes]
                e.store(words(e, numbers, int(dot.scalar == "bf16"))[0], goal + step * width + v * vector.bytes)
        if dot.turned:
            for v, total in enumerate(sums):
                found = e.arith("mul", total.get(), e.const(total.type, dot.correction))
                e.store(found, goal + a["steps"] * width + v * vector.bytes)
    return e.text()


def _plus(e: Emitter, total: Value, numbers: list[Value]) -> Value:
    for number in numbers:
        total = e.arith("add", total, number)
    return total
