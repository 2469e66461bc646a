"""Weights with sites, tiled and locally connected: every schedule of all three products against the definition."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiled import python
from guarded import beside, guarded, scratch
from juanji import machine as machines
from juanji import reference, run
from juanji.algorithms import local, sites, windows
from juanji.algorithms.sited import Sited
from juanji.contraction import OPERANDS, execute, lower
from juanji.describe import describe
from juanji.exact import carried
from juanji.jit.arguments import HEAD
from juanji.jit.compile import assembly, compile_ir
from juanji.jit.load import load
from juanji.jit.memory import address
from juanji.machine import Machine
from juanji.spec import Convolution
from strategies import Array, convolutions, operands
from test_codegen import ARM, VECTORS, called, machine_with, on

X, W, BIAS, Y = (HEAD.index(name) for name in ("x", "w", "bias", "y"))
READ = {"y": ("x", "w"), "x": ("y", "w"), "w": ("x", "y")}
TILES = {"sites": sites, "windows": windows}
CACHES = (1 << 12, 1 << 15, 2 << 20)


def shape_of(spec: Convolution, name: str) -> tuple[int, ...]:
    return {"x": spec.x_shape, "w": spec.w_shape, "y": spec.y_shape}[name]


def compute(
    spec: Convolution,
    produces: str,
    schedule: Any,
    arrays: dict[str, Array],
    machine: Machine | None = None,
    threads: int = 1,
    out: Array | None = None,
) -> Array:
    """One product by one schedule. arrays: x, w, y (the gradient of the output) and the bias, as far as they are read."""
    machine = machine or machines.probe()
    program = local.program(spec, produces, schedule, machine)
    first, second = (arrays[name] for name in READ[produces])
    assert first.flags.c_contiguous or program.fits(first.shape, first.strides, first.itemsize)
    second = program.pack_weights(second)
    bias = program.pack_bias(arrays["bias"]) if produces == "y" and spec.epilogue.bias else None
    result = np.full(shape_of(spec, produces), 7, getattr(spec.dtypes, produces)) if out is None else out
    row = program.row(first.strides)
    row[X], row[W], row[BIAS], row[Y] = address(first), address(second), 0 if bias is None else address(bias), address(result)
    code = load(program.code, program.emit, machine.target, machines.identity())
    run.run_items(code, row, program.items, program.scratch, 1e9 if threads > 1 else 1.0, threads)
    return result


def arrays_of(spec: Convolution, seed: int, integers: bool) -> dict[str, Array]:
    """Operands of all three products."""
    x, w, bias = operands(spec, seed, integers)
    rng = np.random.default_rng(seed + 1)
    y = rng.integers(-4, 4, spec.y_shape, endpoint=True) if integers else rng.standard_normal(spec.y_shape)
    found = {"x": x, "w": w, "y": y.astype(spec.dtypes.y)}
    return found if bias is None else found | {"bias": bias}


def assert_right(spec: Convolution, produces: str, result: Array, arrays: dict[str, Array], exact: bool) -> None:
    """The definition's numbers: to the last bit where no sum rounds, else within what n roundings can do."""
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    eps = float(np.finfo(spec.dtypes.sum).eps)
    if produces == "y":
        plain = dataclasses.replace(spec, dtypes=spec.dtypes._replace(y="float64"))
        expected = reference.conv(plain, arrays["x"], arrays["w"], arrays.get("bias"))
        size = reference.magnitude(plain, arrays["x"], arrays["w"], arrays.get("bias"))
        exact = exact and spec.epilogue.activation in (None, "relu", "relu6")
    else:
        contraction = lower(spec).producing(produces)
        expected = execute(contraction, **{name: wide[name] for name in READ[produces]})
        outside = tuple(b._replace(value=abs(b.value)) for b in spec.boundary)
        absolute = lower(dataclasses.replace(spec, boundary=outside)).producing(produces)
        size = execute(absolute, **{name: np.abs(wide[name]) for name in READ[produces]})
    terms = spec.batch * math.prod(spec.output) * math.prod(spec.kernel) * max(spec.channels, spec.features)
    bound = np.zeros_like(size) if exact else eps * (min(terms, 4096) * size + 4 * np.abs(expected) + 4)
    wrong = np.abs(result.astype(np.float64) - expected) > bound
    assert not wrong.any(), f"{np.count_nonzero(wrong)} of {wrong.size}, first at {np.argwhere(wrong)[0]}"


@st.composite
def sited(draw: st.DrawFn, /, lined: bool | None = None, **limits: Any) -> Convolution:
    """A description with sites. lined: with as many neighbouring sites and planes as the site tile wants; None for now and then."""
    spec = draw(convolutions(**limits))
    if draw(st.booleans()) if lined is None else lined:
        spec = dataclasses.replace(spec, size=(*spec.size[:-1], spec.size[-1] + draw(st.integers(9, 60)) * spec.stride[-1]))
        if spec.channels > 1 or spec.features > 1:
            spec = dataclasses.replace(spec, layout="channels_first")
        *outer, last = spec.output
        sites = (*(draw(st.integers(1, p) | st.just(p)) for p in outer), draw(st.integers(1, last) | st.just(last)))
    else:
        sites = tuple(draw(st.integers(1, p) | st.just(p)) for p in spec.output)
    return dataclasses.replace(spec, sites=sites)


@st.composite
def jobs(draw: st.DrawFn, /, machine: Machine | None = None, tile: str = "", **limits: Any) -> tuple[Convolution, str, Any, Machine]:
    """A description, a product, a schedule of one tile or any, and the machine, with more or less cache, that it is made for."""
    machine = dataclasses.replace(machine or machines.probe(), l2=draw(st.sampled_from(CACHES)))
    spec, produces = draw(sited(lined=tile == "sites" if tile else None, **limits)), draw(st.sampled_from(OPERANDS))
    wanted = [TILES[tile]] if tile else list(TILES.values())
    found = [some for some in (list(one.candidates(Sited(spec, produces, machine))) for one in wanted) if some]
    assume(found)
    schedule, cycles = draw(st.sampled_from(draw(st.sampled_from(found))))
    assert cycles > 0
    return spec, produces, schedule, machine


def check(job: tuple[Convolution, str, Any, Machine], seed: int, integers: bool, threads: int) -> None:
    spec, produces, schedule, machine = job
    arrays = arrays_of(spec, seed, integers)
    assert_right(spec, produces, compute(spec, produces, schedule, arrays, machine, threads), arrays, integers)


@pytest.mark.parametrize("tile", TILES)
@settings(max_examples=50)
@given(data=st.data(), seed=st.integers(0, 99), integers=st.booleans(), threads=st.integers(1, 2))
def test_any_schedule_computes_the_product(tile: str, data: st.DataObject, seed: int, integers: bool, threads: int) -> None:
    check(data.draw(jobs(tile=tile)), seed, integers, threads)


@pytest.mark.slow
@pytest.mark.parametrize("tile", TILES)
@settings(max_examples=3000)
@given(data=st.data(), seed=st.integers(0, 99), integers=st.booleans(), threads=st.integers(1, 2))
def test_thousands_of_schedules(tile: str, data: st.DataObject, seed: int, integers: bool, threads: int) -> None:
    check(data.draw(jobs(tile=tile)), seed, integers, threads)


@pytest.mark.parametrize("vectors", VECTORS)
@settings(max_examples=15)
@given(data=st.data())
def test_every_kind_of_vector(vectors: str, data: st.DataObject) -> None:
    check(data.draw(jobs(machine_with(vectors))), 3, True, 1)


# Sizes with several of everything: chunks of rows, blocks and vectors of sites, shares of the features, channels, bands, images.
LAST = {"layout": "channels_last"}
LARGE: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "picture": ((1, 1, 40, 70), (38, 68, 1, 1, 3, 3), {"sharing": "local", "bias": True}),
    "picture, tiled": ((2, 1, 41, 70), (3, 20, 1, 1, 3, 3), {"sharing": "tiled", "padding": 1, "boundary": "reflect"}),
    "depthwise": ((2, 20, 9, 21), (9, 21, 20, 1, 3, 3), {"sharing": "local", "groups": 20, "padding": 1, "boundary": "wrap"}),
    "dense": ((5, 19, 7, 7), (7, 7, 33, 19, 3, 3), {"sharing": "local", "padding": 1, "bias": True, "activation": "relu"}),
    "dense, last": ((5, 7, 7, 40), (7, 7, 3, 3, 40, 35), {"sharing": "local", "padding": 1, **LAST, "bias": True}),
    "tiled": ((2, 20, 16, 15), (2, 3, 37, 20, 3, 3), {"sharing": "tiled", "padding": 1, "boundary": ("edge", ("constant", 3))}),
    "tiled, last": ((3, 25, 23, 20), (2, 3, 3, 3, 20, 37), {"sharing": "tiled", "stride": 2, **LAST}),
    "groups, last": ((2, 11, 10, 40), (4, 4, 36, 3, 3, 20), {"sharing": "tiled", "groups": 2, "weight_layout": "O*I", **LAST}),
    "pointwise": ((2, 50, 5, 20), (5, 20, 21, 50, 1, 1), {"sharing": "local"}),
    "signal": ((2, 2, 300), (149, 3, 2, 4), {"sharing": "local", "stride": 2, "flip": True}),
    "volume": ((1, 3, 6, 7, 20), (2, 7, 20, 4, 3, 3, 3, 3), {"sharing": "tiled", "padding": 1, "boundary": "symmetric"}),
}  # fmt: skip


def large(name: str, **changes: Any) -> Convolution:
    x, w, arguments = LARGE[name]
    return describe(x, w, **{**arguments, **changes})


def few(spec: Convolution, produces: str, machine: Machine) -> list[Any]:
    """Of each tile the best schedule and the last."""
    chosen = []
    for tile in TILES.values():
        found = sorted(tile.candidates(Sited(spec, produces, machine)), key=lambda entry: entry[1])
        chosen += [found[i][0] for i in sorted({0, len(found) - 1}) if found]
    return chosen


def check_large(name: str, dtype: str) -> None:
    spec = large(name, dtype=dtype)
    arrays = arrays_of(spec, 5, True)
    for produces in OPERANDS:
        expected = None
        for threads, l2 in ((1, 2 << 20), (2, 1 << 15)):
            machine = dataclasses.replace(machines.probe(), l2=l2)
            for schedule in few(spec, produces, machine):
                result = compute(spec, produces, schedule, arrays, machine, threads)
                if expected is None:
                    assert_right(spec, produces, result, arrays, True)
                    expected = result
                np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", LARGE)
def test_large_sizes(name: str) -> None:
    check_large(name, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_sizes_of_doubles(name: str) -> None:
    check_large(name, "float64")


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint16", "int64", "uint64"])
@pytest.mark.parametrize("name", ["picture", "tiled, last"])
def test_other_element_types(name: str, dtype: str) -> None:
    spec = large(name, dtype=dtype, bias=False)
    rng = np.random.default_rng(12)
    arrays = {operand: rng.integers(0, 2, shape_of(spec, operand)).astype(getattr(spec.dtypes, operand)) for operand in OPERANDS}
    for produces in OPERANDS:
        carried_spec = carried(spec, produces)
        expected = execute(lower(spec).producing(produces), **{operand: arrays[operand].astype(np.float64) for operand in READ[produces]})
        schedule = min(local.candidates(carried_spec, produces, machines.probe()), key=lambda entry: entry[1])[0]
        np.testing.assert_array_equal(compute(carried_spec, produces, schedule, arrays), expected)


@pytest.mark.parametrize("name", ["picture", "dense"])
def test_weights_that_no_image_meets_have_no_gradient(name: str) -> None:
    spec = dataclasses.replace(large(name), batch=0)
    for schedule in few(spec, "w", machines.probe()):
        assert not compute(spec, "w", schedule, arrays_of(spec, 13, True)).any()


@pytest.mark.parametrize("name", LARGE)
def test_adjoints(name: str) -> None:
    """⟨A(w)·x, dy⟩ = ⟨x, A(w)ᵀ·dy⟩ = ⟨w, dw⟩ where the sum is linear in x and in w."""
    spec = large(name, dtype="float64", bias=False, activation=None, boundary="zero")
    arrays = arrays_of(spec, 6, False)
    found = {}
    for produces in OPERANDS:
        schedule = min(local.candidates(spec, produces, machines.probe()), key=lambda entry: entry[1])[0]
        found[produces] = float(np.vdot(compute(spec, produces, schedule, arrays), arrays[produces]))
    np.testing.assert_allclose([found["x"], found["w"]], found["y"], rtol=1e-11, atol=1e-9)


# Bits -----------------------------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(spec=sited(max_batch=1), produces=st.sampled_from(("y", "x")), batch=st.integers(2, 4), data=st.data())
def test_bits_do_not_depend_on_batch_schedule_and_threads(spec: Convolution, produces: str, batch: int, data: st.DataObject) -> None:
    machine = machines.probe()
    many = dataclasses.replace(spec, batch=batch)
    arrays = arrays_of(many, 7, False)
    schedules = [schedule for schedule, _ in local.candidates(many, produces, machine)]
    together = compute(many, produces, data.draw(st.sampled_from(schedules)), arrays, machine, threads=2)
    alone = [schedule for schedule, _ in local.candidates(spec, produces, machine)]
    for image in range(batch):
        one = {name: array[image : image + 1] if name in ("x", "y") else array for name, array in arrays.items()}
        result = compute(spec, produces, data.draw(st.sampled_from(alone)), one, machine)
        assert result.tobytes() == together[image : image + 1].tobytes()


@settings(max_examples=15)
@given(spec=sited(), data=st.data())
def test_bits_of_the_gradient_of_the_weights_do_not_depend_on_schedule_and_threads(spec: Convolution, data: st.DataObject) -> None:
    machine = machines.probe()
    arrays = arrays_of(spec, 8, False)
    schedules = [schedule for schedule, _ in local.candidates(spec, "w", machine)]
    results = {compute(spec, "w", data.draw(st.sampled_from(schedules)), arrays, machine, threads).tobytes() for threads in (1, 2, 2)}
    assert len(results) == 1


@settings(max_examples=20)
@given(job=jobs(), data=st.data())
def test_views(job: tuple[Convolution, str, Any, Machine], data: st.DataObject) -> None:
    spec, produces, schedule, machine = job
    arrays = arrays_of(spec, 9, True)
    first = READ[produces][0]
    expected = compute(spec, produces, schedule, arrays, machine)
    array = arrays[first]
    close = local.program(spec, produces, schedule, machine).close
    free = [axis for axis in range(array.ndim) if axis not in close]
    gaps = {axis: data.draw(st.sampled_from((1, 2, -1, -2))) for axis in free}
    big = np.zeros([length * abs(gaps.get(axis, 1)) for axis, length in enumerate(array.shape)], array.dtype)
    view = big[tuple(slice(None, None, gaps.get(axis, 1)) for axis in range(array.ndim))]
    view[...] = array
    np.testing.assert_array_equal(compute(spec, produces, schedule, {**arrays, first: view}, machine), expected)


# Neighbouring sites, whose windows are gathered together: over borders of every kind, with strides that part lines into phases.
BETWEEN = (("constant", 3), ("constant", -2))
NEIGHBOURS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, dict[str, Any]]] = {
    "reflect, stride 2": ((3, 5, 9, 43), (7, 5, 3, 5), 22, {"stride": (2, 2), "padding": 2, "boundary": "reflect"}),
    "wrap, stride 3": ((2, 3, 4, 61), (9, 3, 3, 4), 21, {"stride": (1, 3), "padding": (1, 2), "boundary": "wrap", "flip": True}),
    "constants, stride 4": ((1, 3, 3, 67), (5, 3, 2, 3), 18, {"stride": (2, 4), "padding": 2, "boundary": BETWEEN}),
    "constant, wrap": ((2, 3, 3, 14), (5, 3, 3, 3), 16, {"padding": 2, "boundary": (("constant", 3), "wrap")}),
    "edge, dilated": ((2, 3, 6, 19), (6, 3, 4, 3), 15, {"dilation": 2, "padding": (0, 1), "boundary": "edge", "weight_layout": "O*I"}),
    "features together": ((2, 6, 4, 20), (1, 3, 6, 11), 18, {"weight_layout": "*IO"}),
    "tiled": ((2, 4, 5, 38), (5, 4, 3, 3), 9, {"padding": (1, 0), "boundary": "symmetric"}),
    "groups": ((5, 8, 2, 6), (20, 4, 1, 2), 5, {"groups": 2}),
    "signal": ((3, 4, 30), (5, 4, 5), 26, {"bias": True, "activation": "relu"}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", NEIGHBOURS)
def test_neighbouring_sites_together_have_the_bits_of_single_ones(name: str, dtype: str) -> None:
    x, w, last, arguments = NEIGHBOURS[name]
    spec = describe(x, w, dtype=dtype, **arguments)
    spec = dataclasses.replace(spec, sites=(*spec.output[:-1], last))
    arrays = arrays_of(spec, 14, False)
    for produces in ("y", "w"):
        for l2 in (2 << 20, 1 << 17):  # in which all rows have room, and in which some have
            machine = dataclasses.replace(machines.probe(), l2=l2)
            found = sorted(windows.candidates(Sited(spec, produces, machine)), key=lambda entry: entry[1])
            best = {schedule.stretch: schedule for schedule, _ in reversed(found)}
            assert 1 in best
            results = {compute(spec, produces, schedule, arrays, machine).tobytes() for schedule in best.values()}
            assert len(best) == (2 if machine.target.masks else 1)
            assert len(results) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", NEIGHBOURS)
def test_neighbouring_windows_are_added_back_together(name: str, dtype: str) -> None:
    """Wherever they can be, with every tile: the order of these sums shows in the bits."""
    x, w, last, arguments = NEIGHBOURS[name]
    spec = describe(x, w, dtype=dtype, bias=False, **{key: value for key, value in arguments.items() if key not in ("bias", "activation")})
    spec = dataclasses.replace(spec, sites=(*spec.output[:-1], last))
    arrays = arrays_of(spec, 14, True)
    for l2 in (2 << 20, 1 << 17):
        machine = dataclasses.replace(machines.probe(), l2=l2)
        found = [schedule for schedule, _ in windows.candidates(Sited(spec, "x", machine))]
        together = machine.target.masks and len(x) > 3
        assert {schedule.stretch > 1 for schedule in found} == {together}
        for schedule in (found[0], found[-1]):
            assert_right(spec, "x", compute(spec, "x", schedule, arrays, machine), arrays, dtype != "float16")


# Numbers that are none, and outside ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["picture", "dense", "dense, last", "tiled, last"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_weight_spoils_its_own_outputs_only(name: str, bad: float) -> None:
    spec = large(name, bias=False, activation=None)
    arrays = arrays_of(spec, 10, True)
    clean = {tile: compute(spec, "y", schedule, arrays) for tile, schedule in enumerate(few(spec, "y", machines.probe()))}
    arrays["w"].reshape(-1)[arrays["w"].size // 2] = bad
    for tile, schedule in enumerate(few(spec, "y", machines.probe())):
        y = compute(spec, "y", schedule, arrays)
        with np.errstate(invalid="ignore"):
            expected = reference.conv(spec, arrays["x"], arrays["w"])
        np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))
        np.testing.assert_array_equal(y[np.isfinite(y)], clean[tile][np.isfinite(y)])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_element_spoils_the_gradients_of_what_it_meets_only(bad: float) -> None:
    """Rows at the end of a line have fewer lanes than others, whose windows lay in the same place before."""
    spec = describe((4, 2, 7, 43), (2, 5, 2, 2, 3, 3), sharing="tiled", padding=1)
    arrays = arrays_of(spec, 15, True)
    arrays["x"][:, 1, 6, 29] = bad
    with np.errstate(invalid="ignore"):
        expected = execute(lower(spec).producing("w"), x=arrays["x"], y=arrays["y"])
        for schedule in few(spec, "w", machines.probe()):
            dw = compute(spec, "w", schedule, arrays)
            np.testing.assert_array_equal(np.isfinite(dw), np.isfinite(expected))


def beside_pages(spec: Convolution, produces: str, schedule: Any, machine: Machine, at_end: bool) -> None:
    print(repr(spec), produces, schedule, at_end, sep="\n", flush=True)
    arrays = arrays_of(spec, 11, True)

    def room(self: object, size: int) -> tuple[int, object]:
        return scratch(size, at_end)

    type(run._thread).scratch = room  # type: ignore[method-assign,assignment]
    near = {name: beside(array, at_end) for name, array in arrays.items()}
    out = guarded(shape_of(spec, produces), getattr(spec.dtypes, produces), at_end)
    assert_right(spec, produces, compute(spec, produces, schedule, near, machine, out=out), arrays, True)


def random_batch(vectors: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None)
    @given(data=st.data(), at_end=st.booleans())
    def draw(data: st.DataObject, at_end: bool) -> None:
        beside_pages(*data.draw(jobs(machine_with(vectors))), at_end)

    draw()


def large_batch() -> None:
    for name in ("picture, tiled", "depthwise", "dense", "groups, last", "signal"):
        spec = large(name)
        for produces in OPERANDS:
            for number, schedule in enumerate(few(spec, produces, machines.probe())):
                beside_pages(spec, produces, schedule, machines.probe(), number % 2 == 0)


@pytest.mark.parametrize("call", ["random_batch('avx512', 40)", "random_batch('avx2', 25)", "large_batch()"])
def test_nothing_outside_is_read_or_written(call: str) -> None:
    ended = python(f"import test_local; test_local.{call}", timeout=300)
    assert ended.returncode == 0, f"{ended.returncode}\n{ended.stdout[-1500:]}\n{ended.stderr[-1500:]}"


# The code -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["this machine", "aarch64", "avx2"])
@pytest.mark.parametrize("name", ["picture", "dense, last", "tiled"])
def test_kernels_are_freestanding(name: str, target: str) -> None:
    machine = on(ARM) if target == "aarch64" else machines.probe() if target == "this machine" else machine_with(target)
    spec = large(name, activation="tanh")
    for produces in OPERANDS:
        for tile in TILES.values():
            found = min(tile.candidates(Sited(spec, produces, machine)), key=lambda entry: entry[1], default=None)
            if found:
                made = local.program(spec, produces, found[0], machine)
                text = made.emit(made.code, machine.target)
                assert called(assembly(text, machine.target)) == set()
                assert 0 < len(compile_ir(text, machine.target)) < 64 << 10


@pytest.mark.parametrize("produces", OPERANDS)
def test_sizes_are_arguments(produces: str) -> None:
    """One piece of code serves other sizes, strides, boundaries and site counts, and all rows of taps that fit the same vector."""
    machine = machines.probe()
    first = describe((4, 8, 20, 30), (18, 28, 16, 8, 3, 3), sharing="local")
    second = describe((7, 8, 23, 31), (4, 16, 16, 8, 5, 4), sharing="tiled", stride=(2, 1), padding=2, boundary="wrap")
    for tile in TILES.values():
        codes = [
            {local.program(spec, produces, schedule, machine).code for schedule, _ in tile.candidates(Sited(spec, produces, machine))}
            for spec in (first, second)
        ]
        assert not codes[1] or codes[0] & codes[1]


def test_scratch_is_small() -> None:
    machine = machines.probe()
    for name in LARGE:
        spec = large(name)
        for produces in OPERANDS:
            for schedule, _ in local.candidates(spec, produces, machine):
                assert local.program(spec, produces, schedule, machine).scratch <= machine.l2


def test_schedules_print_what_they_are() -> None:
    spec = large("picture")
    for produces, text in (("y", "vectors of sites"), ("x", "images × ")):
        schedule = min(local.candidates(spec, produces, machines.probe()), key=lambda entry: entry[1])[0]
        assert text in str(schedule)
    assert "local tile" in str(next(local.candidates(large("dense"), "y", machines.probe()))[0])
