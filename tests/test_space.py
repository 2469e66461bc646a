"""The space tile's lines: rows read where they lie, what stands beside them as zeros of masked lanes, ends and rings of line buffers."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiled import assert_agrees, planned, schedules
from juanji import machine as machines
from juanji.algorithms.space import Space
from juanji.describe import describe
from juanji.jit.emit import Emitter
from juanji.spec import Convolution
from strategies import Array, operands
from test_bounds import ENDS, STARTS, batch, compute

MASKS = Emitter(machines.probe().target.vector_bits, machines.probe().target.masks).masks
masked = pytest.mark.skipif(not MASKS, reason="this machine has no masks")


def tiles(spec: Convolution) -> list[Space]:
    """The schedules of the space tile."""
    return [schedule for found in schedules(spec).values() for schedule in found if isinstance(schedule, Space)]


def code(spec: Convolution, schedule: Space) -> Any:
    """What its kernel is compiled from."""
    return planned(spec, schedule).program.code


@masked
@settings(max_examples=40)
@given(data=st.data(), dtype=st.sampled_from(("float32", "float64")), kernel=st.integers(1, 7), dilation=st.integers(1, 3))
def test_zeros_beside_rows_are_those_of_a_padded_array(data: st.DataObject, dtype: str, kernel: int, dilation: int) -> None:
    """The same bits, whatever the tile and however narrow the row."""
    low, high = data.draw(st.integers(0, 8)), data.draw(st.integers(0, 8))
    width = data.draw(st.integers(max((kernel - 1) * dilation + 1 - low - high, 1), 90))
    options: dict[str, Any] = {"dtype": dtype, "dilation": (1, dilation)}
    spec = describe((2, 2, 9, width), (3, 2, 3, kernel), padding=((1, 1), (low, high)), **options)
    x, w, _ = operands(spec, seed=2, integers=False)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (low, high)))
    schedule = data.draw(st.sampled_from(tiles(spec)))
    whole = describe(padded.shape, w.shape, **options)
    np.testing.assert_array_equal(planned(spec, schedule)(x, w), planned(whole, tiles(whole)[0])(padded, w))


@masked
def test_masks_where_zeros_stand_and_line_buffers_elsewhere() -> None:
    x, w = (1, 1, 40, 12 * machines.probe().vector_bits // 32), (1, 1, 5, 5)
    zeros, mirrored, inside = (describe(x, w, padding=p, boundary=b) for p, b in ((2, "zero"), (2, "reflect"), (0, "zero")))
    assert all(code(zeros, tile).masks == (2, 2) and tile.ends == 0 for tile in tiles(zeros))
    assert all(code(inside, tile).masks is None and tile.ends == 0 for tile in tiles(inside))
    assert all(code(mirrored, tile).masks is None for tile in tiles(mirrored))
    assert any(tile.ends for tile in tiles(mirrored))
    nines = describe(x, w, padding=2, boundary=("constant", 9.0))
    assert all(code(nines, tile).masks is None for tile in tiles(nines))
    long = describe((1, 1, 40, 5000), w, padding=2)  # whose ends are few beside the rest
    assert all(code(long, tile).masks is None and tile.ends for tile in tiles(long))


def filled(spec: Convolution, schedule: Space) -> Array:
    """The result, held against the definition."""
    x, w, bias = operands(spec, seed=3, integers=True)
    y = planned(spec, schedule)(x, w, bias)
    assert_agrees(spec, y, x, w, bias, exact=True)
    return y


@pytest.mark.parametrize("boundary", ["reflect", "wrap", "edge"])
@pytest.mark.parametrize("kernel", [3, 5, 9])
def test_first_and_last_blocks_of_long_rows(boundary: str, kernel: int) -> None:
    spec = describe((1, 1, 13, 700), (1, 1, kernel, kernel), padding=kernel // 2, boundary=boundary)
    for schedule in [tile for tile in tiles(spec) if tile.ends][::7]:
        filled(spec, schedule)
        filled(spec, dataclasses.replace(schedule, block=schedule.vectors * 16 * 2, band=4 * schedule.rows))


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("height", [7, 16, 29])
def test_lines_are_kept_from_tile_to_tile(stride: int, height: int) -> None:
    """Converted lines, also where the last tile is moved up, by bands that begin anywhere."""
    spec = describe((2, 2, height, 75), (2, 2, 3, 3), dtype="uint8", w_dtype="float32", out_dtype="float32", padding=1, stride=stride)
    for schedule in tiles(spec)[::9]:
        one = filled(spec, schedule)
        np.testing.assert_array_equal(filled(spec, dataclasses.replace(schedule, band=schedule.rows)), one)


def narrow_batch() -> None:
    """Rows of fewer columns than a tile has, and of a few more, whose neighbours in memory must not be touched."""
    machine = machines.probe()
    for width in (1, 2, 15, 16, 17, 31, 33, 50, 130):
        for kernel, padding in ((3, 1), (4, (2, 1)), (7, 3), (3, 2)):
            w_padding = padding if isinstance(padding, tuple) else (padding, padding)
            if width + sum(w_padding) < kernel:
                continue
            spec = describe((1, 2, 5, width), (3, 2, 3, kernel), padding=((1, 1), w_padding))
            for schedule in tiles(spec)[:: max(len(tiles(spec)) // 3, 1)]:
                for sides in (ENDS, STARTS):
                    compute(spec, schedule, machine, sides)
                    compute(spec, schedule, machine, sides, x_strides=(4 * 2 * 5 * 200, 4 * 5 * 200, 4 * 200, 4))


def test_narrow_rows_beside_protected_pages() -> None:
    batch("narrow_batch()", "test_space")


def test_parted_lines_of_every_length() -> None:
    """Runs of a few vectors more or less, whose last step overlaps the one before."""
    for stride in (2, 4):
        for width in (*range(1, 12), *range(28, 37), *range(60, 70), 127, 128, 129, 150):
            spec = describe((1, 1, 2, width), (1, 1, 1, 3), padding=((0, 0), (1, 1)), stride=(1, stride))
            filled(spec, tiles(spec)[0])
