"""Overlap-save: sums over large kernels as products of spectra, tile by tile."""

# A tile is N places of the padded input, the kernel K taps. Along one axis (along two everything holds for each),
#
#     y[p] = Σ_t x[p + t]·w[t],   0 <= p <= N − K
#
# are sums within the tile. Transformed at the frequencies k + ½,
#
#     X[k] = Σ_t x[t]·e^(−2πi·(k + ½)·t/N),
#
# X·conj(W) is the transform of a sum that is wrapped round with a change of sign (skew-cyclic): Σ_t ±x[(p + t) mod N]·w[t], where
# the sign is − once p + t has passed N. The first N − K + 1 of its elements do not reach so far, and these alone are kept; tiles
# overlap by the K − 1 others. So the wrapping never shows, be it cyclic or skew-cyclic, and the latter suits real numbers better:
# X[N − 1 − k] is the conjugate of X[k], and exactly N/2 complex numbers are to be kept, without the two real ones at frequencies 0
# and N/2 that need a place and a case of their own. Only the vertical transforms, of real numbers, are of this kind; the horizontal
# ones of what they give are the usual ones, at frequencies k.
#
# A long line is cut into tiles of N = high·wide places that lie as `high` rows of `wide`. With place t = wide·r + s and frequency
# k = i + high·j,
#
#     (k + ½)·t/N  =  (i + ½)·r/high + (i + ½)·s/N + j·s/wide   (mod 1),
#
# vertical transforms at i + ½, a factor for each (i, s), and horizontal ones at j: a tile of a plane but for that factor.
#
# What is summed apart from the kernel's taps is summed in the spectrum, before the way back: channels, taps of outer axes, and parts of
# a kernel that is large beside the tile (part a of it meets the input a·K' places further on). Each of these (channel, tap, part) is one
# depth entry. An axis with a dilation is as many phases that do not meet. Tiles begin at the origin of the output and their size follows
# from the description alone, so that neither threads nor batch nor strides show in the bits.
#
# Rounding errors are spread over a tile: some ε·log₂ N times what the tile holds, not n·ε·Σ|x·w| of the own window as in the direct sum.
# Measured in float32 against float64, for kernels of 11×11 to 61×61 and of 300 to 9000 places, the largest is 2e−7 to 3e−7 of the largest
# output where x and w are normally distributed and 5e−7 to 7e−7 where both are positive (the direct sum: 4e−7 to 4e−6, 6e−7 to 7e−6).
# But a small output beside a much larger one in the same tile has the larger one's error, a sum that floats hold exactly need not come
# out exactly, and a NaN or an infinity reaches the whole tile: precision "strict" does without.

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms.direct import Job, Work, grad_input, tile
from juanji.algorithms.fft_spectra import Spectra, line_factors
from juanji.algorithms.fft_tiles import MOST_SCRATCH, Axes, Fft, candidates, finer, least_spectrum, preparing
from juanji.algorithms.packing import BiasPacking
from juanji.algorithms.problem import Problem, Tables, aligned
from juanji.contraction import Contraction, lower
from juanji.jit.fft import emit_fft
from juanji.jit.fft_codes import FftCode
from juanji.jit.fft_passes import FIRST_REAL, twiddles
from juanji.jit.program import Program
from juanji.machine import Machine
from juanji.phases import phases
from juanji.spec import Convolution

Array = npt.NDArray[Any]

MOST_PHASES = 8  # of a row; each has a spectrum of its own


def accepts(spec: Convolution, produces: str) -> str | None:
    """None, or why this algorithm does not compute the product of the description."""
    if spec.dtypes.integers:
        return "integers are summed exactly"
    if spec.dtypes.sum not in ("float32", "float64"):
        return f"sums in {spec.dtypes.sum} are not built"
    if not spec.shared:
        return "weights of many places have no common spectrum"
    if produces == "w":
        return "gradients of weights are not built"
    if spec.taps is not None and produces == "y" and np.dtype(spec.dtypes.x).kind not in "biu":
        return "a NaN under a tap that is skipped would reach its tile"
    if produces == "x" and any(step > 1 for step in spec.stride):
        return "gradients of a stride are not built"
    contraction = _contraction(spec, produces)
    if contraction is None:
        return "no window reaches the input"
    axes = Axes.of(contraction)
    if axes.wide.stride > 1 or axes.high.stride > 1:
        return f"stride {axes.high.stride}×{axes.wide.stride}: most of what a tile gives would be dropped"
    if (axes.line and axes.wide.dilation > 1) or axes.wide.dilation > MOST_PHASES:
        return f"dilation {axes.wide.dilation} along the last axis leaves gaps that are too wide"
    least = least_spectrum(contraction, spec.dtypes.sum)
    return f"the spectra of one tile's channels would take {least:,} bytes" if least > MOST_SCRATCH else None


def _contraction(spec: Convolution, produces: str) -> Contraction | None:
    """What is summed by transforms. Of a gradient of the input that is not the strips of border which are folded back."""
    found = replace(lower(spec), taps=None)
    return found if produces == "y" else phases(found.producing("x"))[0].contraction


def work(spec: Convolution, produces: str, machine: Machine) -> Work:
    """What computes the output ("y") or the gradient of the input ("x")."""
    contraction = _contraction(spec, produces)
    assert contraction is not None
    problem = Problem(contraction, spec.dtypes, spec.epilogue, machine, overflow=spec.overflow)
    found = tuple(candidates(problem))
    if produces == "x":
        made = grad_input(spec, machine, _job)
    else:
        made = Work((Job(lambda: iter(found), partial(program, problem), partial(finer, problem)),), spec.dtypes.y)
    return replace(made, preparing=preparing(problem, found))


def _job(problem: Problem) -> Job:
    """Strips of border are narrow, and summed directly."""
    return tile(problem) if problem.goal else Job(partial(candidates, problem), partial(program, problem), partial(finer, problem))


# The kernel -------------------------------------------------------------------------------------------------------------------


def program(problem: Problem, schedule: Fft) -> Program:
    """The kernel of a schedule, and its arguments."""
    dtypes, axes, s = problem.dtypes, Axes.of(problem.contraction), schedule
    outer, high, wide = axes.outer, axes.high, axes.wide
    code = FftCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        high=s.high,
        wide=s.wide,
        line=s.line,
        outer=len(outer),
        unit_x=not problem.last or problem.x_shape[-1] == 1,
        unit_y=(not problem.last or problem.y_shape[-1] == 1) and wide.step == 1,
        bias=problem.epilogue.bias,
        activation=problem.epilogue.activation,
        narrowing=problem.narrowing,
        kept=s.rows // FIRST_REAL[s.high],
        features=s.features,
    )
    spectra = Spectra(problem, axes, s)
    pair, ways = spectra.pair, axes.phases
    columns = s.wide if s.line else (s.columns + s.part[1] - 1) * ways
    places = _places(columns, ways, s.wide, problem.lanes) * pair
    pitch = (ways * s.wide + 1) * pair
    factors: Array = line_factors(s.high, s.wide, problem.lanes, dtypes.sum) if s.line else np.empty(0)
    tables = Tables(problem, axes.all)
    more = (places, twiddles(s.high, True, dtypes.sum), twiddles(s.wide, False, dtypes.sum), factors)
    tile_w = s.rows * s.wide if s.line else s.columns * ways
    strips, tiles = axes.grid(s)
    segments, shares = -(-tiles // s.run), -(-spectra.blocks // s.share)
    width = -(-columns // problem.lanes) * problem.lanes * problem.bytes
    line, stage = width + 64, (s.wide if s.line else tile_w) * np.dtype(dtypes.y).itemsize + 64  # not a power of two apart
    offsets, scratch = _scratch(
        rows=s.high * 8, goals=s.high * 8, zeros=width, tmp=pair * max(s.high, s.wide), f=spectra.groups * pitch,
        g=spectra.groups * pitch * max(s.features, 1), x=spectra.groups * pitch * spectra.depth * (s.features > 0),
        y=s.features * s.wide * pair, panel=s.high * line, stage=s.rows * stage,
    )  # fmt: skip
    ys, channel = problem.y_strides, problem.channel_dimension
    words = {
        "constants": tables.constants, "map_w": tables.maps[-1], "size_w": wide.size, "low_w": wide.low, "phase": 0, "line": line,
        "slack": 0, "groups": problem.groups, "channels": problem.channels, "count_f": problem.features, "blocks_f": spectra.blocks,
        "shares": shares, "share": s.share, "depth": spectra.depth,
        "ys_n": ys[0], "ys_c": ys[channel], "ys_h": problem.y_step(high), "ys_w": problem.y_step(wide),
        "ws_g": spectra.blocks * spectra.step, "phases_h": high.dilation, "strips": strips, "tile_h": s.rows, "out_h": high.out,
        "tiles": tiles, "run": s.run, "segments": segments, "tile_w": tile_w, "out_w": wide.out, "extent_w": wide.extent,
        "columns": columns, "kept": 0 if s.line or s.features else (s.part[1] - 1) * ways, "phases_w": ways, "tile_x": s.columns,
        "need_x": columns // ways, "parts_h": s.parts[0], "parts_w": s.parts[1], "part_h": s.part[0] * high.dilation,
        "part_w": s.part[1] * wide.dilation, "pitch": pitch, "apart": spectra.depth * pair, "stream": int(problem.stream), "stage": stage,
        **dict(zip(("map_places", "map_column", "map_row", "map_line"), (a.ctypes.data for a in more), strict=True)), **offsets,
    }  # fmt: skip
    x_axes = {"xs_n": 0, "xs_c": channel, "xs_w": wide.x, **{f"xs{i}": axis.x for i, axis in enumerate(outer)}}
    for i, axis in enumerate(outer):
        words |= {f"out{i}": axis.out, f"taps{i}": axis.kernel, f"stride{i}": axis.stride, f"dilation{i}": axis.dilation}
        words |= {f"map{i}": tables.maps[i], f"ys{i}": problem.y_step(axis)}
    if not s.line:
        words |= {"map_h": tables.maps[-2], "extent_h": high.extent}
        x_axes["xs_h"] = high.x
    return Program(
        code=code,
        emit=emit_fft,
        names=code.names,
        words=words,
        x_axes=x_axes,
        close=problem.close(unit=code.unit_x),
        items=problem.batch * problem.groups * math.prod(axis.out for axis in outer) * high.dilation * strips * segments * shares,
        scratch=scratch,
        pack_weights=spectra,
        pack_bias=BiasPacking(dtypes.sum, 1, 1),
        tables=(*tables.arrays, *more),
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )


def _places(columns: int, ways: int, wide: int, lanes: int) -> npt.NDArray[np.int64]:
    """Where each column of a tile has its place in a row of the spectrum: phase after phase; past the last column a spare one."""
    x = np.arange(columns + lanes, dtype=np.int64)
    return np.where(x < columns, x % ways * wide + x // ways, ways * wide)


def _scratch(**sizes: int) -> tuple[dict[str, int], int]:
    """Where each buffer begins, by its argument's name, and the bytes of all."""
    offsets, end = {}, 0
    for name, size in sizes.items():
        offsets[f"at_{name}"] = end
        end = aligned(end + size) + 64  # not a power of two apart
    return offsets, end
