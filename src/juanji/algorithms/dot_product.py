"""The direct sum by dot-product instructions: words of neighbouring channels, whose products a vector unit adds at once.

The channel tile with words in the place of channels (`words`, `jit.word_panels`): a word of a pixel is broadcast and meets a vector of
words of weights. What instructions there are, and how they add, is in `jit.dot_products`; whether this machine has them, and how fast they
are, `machine` finds by executing them.

    int8, uint8, bool   four products a lane, int32 sums, exact: taken where no sum can leave int32
    int16               two products a lane, likewise, also where the other operand has bytes
    bfloat16            two products a lane, float32 sums

Sums of integers are those of the direct sum, bit for bit. Those of bfloat16 numbers are rounded as often as the direct sum's, in an order
of their own that follows from the description of one image alone; subnormal numbers and sums count as zeros, so that precision="strict"
keeps to the direct sum. Where channels do not fill the last word, an infinity beside a channel that is missing from it may give NaN.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from juanji import machine as machines
from juanji.algorithms import channel, direct
from juanji.algorithms.direct import Job, Work
from juanji.algorithms.matrix import whole
from juanji.algorithms.problem import Problem
from juanji.algorithms.words import WordProblem
from juanji.contraction import lower
from juanji.jit.dot_products import instruction
from juanji.machine import Machine
from juanji.spec import Convolution

PREPARING, PREPARING_CALL = 0.7, 2e4  # cycles per weight, and to begin


def accepts(spec: Convolution, produces: str) -> str | None:
    """None, or why this algorithm does not compute the product of the description."""
    if produces == "w":
        return "it computes no gradients of weights"
    if not spec.shared or spec.taps is not None:
        return "its weights are shared, and none of them skipped"
    x = spec.dtypes.x if produces == "y" else spec.dtypes.y
    if "float" in x and x != "bfloat16":
        return f"it multiplies bytes, short integers and bfloat16, not {x}"
    if not machines.probe().peak_of_dots(x, spec.dtypes.w):
        return f"this processor has no dot products of {x} with {spec.dtypes.w}"
    return _rounded(spec) if x == "bfloat16" else whole(spec, produces)


def _rounded(spec: Convolution) -> str | None:
    """The same for sums of bfloat16 numbers."""
    if spec.dtypes.sum != "float32":
        return f"no sums in {spec.dtypes.sum}"
    if any(b.constant and b.value != 0 for b in spec.boundary):
        return f"constants outside need not be {spec.dtypes.x}"
    return None


def work(spec: Convolution, produces: str, machine: Machine) -> Work:
    """What computes the output ("y") or the gradient of the input ("x")."""
    if produces == "y":
        problem = Problem(lower(spec), spec.dtypes._replace(sum="float32"), spec.epilogue, machine, overflow=spec.overflow)
        found = Work((_job(problem),), spec.dtypes.y)
    else:
        found = direct.grad_input(spec, machine, lambda problem: direct.tile(problem) if problem.goal else _job(problem))
    return replace(found, preparing=PREPARING_CALL + PREPARING * math.prod(spec.w_shape))


def _job(problem: Problem) -> Job:
    dot = instruction(problem.machine.target, problem.dtypes.x, problem.dtypes.w)
    assert dot is not None  # `accepts` has looked
    of = WordProblem(problem, dot)
    return Job(partial(channel.candidates, of), partial(channel.program, of), partial(channel.finer, of))
