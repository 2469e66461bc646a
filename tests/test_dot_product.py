"""Dot-product instructions against the definition, by every kind of register; how they round; their bits, memory and code; the planner."""

import dataclasses
import itertools
import math
import re
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import juanji as jj
from adjoints import gradient, magnitude
from compiled import counted, python
from juanji import machine as machines
from juanji.algorithms import dot_product
from juanji.algorithms.channel import Channel
from juanji.describe import describe
from juanji.errors import NotBuiltError
from juanji.exact import limits
from juanji.jit import dot_products
from juanji.jit.compile import assembly, compile_ir
from juanji.jit.dot_products import instruction
from juanji.jit.target import Target
from juanji.jit.word_weights import emit_word_weights
from juanji.machine import Machine
from juanji.spec import Convolution, Dtypes, Epilogue
from paged import planned_beside_pages
from strategies import Array, operands
from test_bits import VIEWS, same_bits
from test_codegen import ARM, called, innermost, machine_with
from test_matrix import LAYERS, assert_right, members

pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")

INSTRUCTIONS = machines.probe().peak_int8 and machines.probe().peak_int16 and machines.probe().peak_bfloat16
able = pytest.mark.skipif(not INSTRUCTIONS, reason="this machine has not all dot-product instructions")
REGISTERS = ("this machine", "avx512, 256 bits", "avx2")
FULL_ARM = dataclasses.replace(ARM, cpu="neoverse-v1", features=f"{ARM.features},+i8mm,+bf16")

FLOATS = tuple(Dtypes("bfloat16", "bfloat16", "float32", y) for y in ("bfloat16", "float32", "float16"))
BYTES = tuple(
    Dtypes(x, w, "float32", y)
    for x, w, y in itertools.product(("int8", "uint8", "bool"), ("int8", "uint8", "bool"), ("int32", "uint8"))
)
SHORTS = tuple(Dtypes(x, w, "float32", "int32") for x, w in (("int16", "int16"), ("int16", "uint8"), ("int8", "int16"), ("uint8", "int16")))
PAIRS = sorted({(of.x, of.w) for of in (*BYTES, *SHORTS, *FLOATS)})


def machine_of(registers: str) -> Machine:
    """This machine with registers of a kind."""
    return machines.probe() if registers == "this machine" else machine_with(registers)


def on(target: Target) -> Machine:
    """This machine as if it were another one, with all of its instructions: for looking at code, not for running it."""
    return dataclasses.replace(machines.probe(), target=target, peak_int8=8e11, peak_int16=4e11, peak_bfloat16=4e11)


@st.composite
def jobs(draw: st.DrawFn, dtypes: Any, machine: Machine, produces: str = "y") -> tuple[Convolution, int, Machine]:
    """A description, the number of a schedule, and the machine with more or less cache."""
    spec = draw(members(dtypes))
    if produces == "x":
        spec = dataclasses.replace(spec, epilogue=Epilogue(), dtypes=spec.dtypes._replace(y=spec.dtypes.x))
    l1, l2 = draw(st.sampled_from(((512, 4096), (4096, 64 << 10), (48 << 10, 2 << 20))))
    return spec, draw(st.integers(0, 999)), dataclasses.replace(machine, l1=l1, l2=l2)


planned = partial(counted, "dot_product")


def numbers(spec: Convolution, seed: int) -> tuple[Array, Array, Array | None]:
    """x, w and the bias: normal floats, bytes of all sizes, or shorter short integers, whose sums fit."""
    if not spec.dtypes.integers:
        return operands(spec, seed)
    rng = np.random.default_rng(seed)
    most = 2**15 if {spec.dtypes.x, spec.dtypes.w} <= {"bool", "int8", "uint8"} else 300
    x, w = (
        rng.integers(max(limits(dtype)[0], -most), min(limits(dtype)[1], most), shape, endpoint=True).astype(dtype)
        for dtype, shape in ((spec.dtypes.x, spec.x_shape), (spec.dtypes.w, spec.w_shape))
    )
    return x, w, rng.integers(-1000, 1000, spec.bias_shape) if spec.epilogue.bias else None


def check(spec: Convolution, number: int, machine: Machine, seed: int, threads: int = 1) -> None:
    assert dot_product.accepts(spec, "y") is None
    x, w, bias = numbers(spec, seed)
    out = np.empty(math.prod(spec.y_shape) + 16, spec.dtypes.y)[seed % 16 :][: math.prod(spec.y_shape)].reshape(spec.y_shape)
    assert_right(spec, planned(spec, number, machine)(x, w, bias, out=out, threads=threads), x, w, bias)


@able
@pytest.mark.parametrize("registers", REGISTERS)
@pytest.mark.parametrize("dtypes", [FLOATS, BYTES, SHORTS], ids=["floats", "bytes", "shorts"])
def test_any_schedule_computes_the_description(dtypes: tuple[Dtypes, ...], registers: str) -> None:
    machine = machine_of(registers)
    if registers == "avx2" and dtypes is FLOATS:
        pytest.skip("bfloat16 products come with AVX-512")

    @settings(max_examples=20)
    @given(job=jobs(dtypes, machine), seed=st.integers(0, 999), threads=st.integers(1, 3))
    def draw(job: tuple[Convolution, int, Machine], seed: int, threads: int) -> None:
        check(*job, seed, threads)

    draw()


@able
@pytest.mark.slow
@pytest.mark.parametrize("registers", REGISTERS)
def test_thousands_of_schedules_compute_their_descriptions(registers: str) -> None:
    dtypes = (*BYTES, *SHORTS) if registers == "avx2" else (*BYTES, *SHORTS, *FLOATS)

    @settings(max_examples=1500)
    @given(job=jobs(dtypes, machine_of(registers)), seed=st.integers(0, 999), threads=st.integers(1, 3))
    def draw(job: tuple[Convolution, int, Machine], seed: int, threads: int) -> None:
        check(*job, seed, threads)

    draw()


@able
def test_any_schedule_computes_the_gradient_of_the_input() -> None:
    @settings(max_examples=8)
    @given(job=jobs(FLOATS[:2], machines.probe(), "x"), seed=st.integers(0, 999))
    def draw(job: tuple[Convolution, int, Machine], seed: int) -> None:
        spec, number, machine = job
        rng = np.random.default_rng(seed)
        dy, w = (rng.standard_normal(shape).astype("bfloat16") for shape in (spec.y_shape, spec.w_shape))
        dx = planned(spec, number, machine, "x")(dy, w, threads=1 + seed % 3).astype(float)
        exact = gradient(spec, "x", dy.astype(float), w.astype(float))
        size, terms = magnitude(spec, "x", dy.astype(float), w.astype(float))
        wrong = np.abs(dx - exact) > (0.5 * (np.max(terms) + 4) + 4) * 2.0**-23 * size + 2.0**-8 * np.abs(exact) + 2.0**-24
        assert not wrong.any(), f"{np.count_nonzero(wrong)} of {dx.size}: {dx[wrong][0]} is not {exact[wrong][0]}"

    draw()


@able
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 64, 130])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_extreme_bytes_are_exact(layout: str, channels: int) -> None:
    """Every sign with every other, at the ends of their ranges, with a constant outside."""
    rng = np.random.default_rng(channels)
    for x_type, w_type in itertools.product(("int8", "uint8"), repeat=2):
        x, w = (
            rng.choice(np.array([*limits(dtype), 0], dtype), shape)
            for dtype, shape in ((x_type, (2, channels, 5, 21)), (w_type, (17, channels, 3, 3)))
        )
        if layout == "channels_last":
            x, w = (np.ascontiguousarray(x.transpose(0, 2, 3, 1)), np.ascontiguousarray(w.transpose(2, 3, 1, 0)))
        given: dict[str, Any] = {"layout": layout, "padding": 2, "boundary": ("constant", 127), "out_dtype": "int32"}
        y = jj.conv(x, w, algorithm="dot_product", **given)
        np.testing.assert_array_equal(y, jj.conv(x.astype(np.int64), w.astype(np.int64), **given))


# How it rounds --------------------------------------------------------------------------------------------------------------


def fused(total: Array, product: Array) -> Array:
    """Their sum, which float64 holds exactly, rounded to float32."""
    return np.asarray(total.astype(float) + product, np.float32)


@able
@pytest.mark.skipif(not machines.probe().target.triple.startswith("x86_64"), reason="vdpbf16ps is an instruction of x86-64")
def test_pairs_of_bfloat16_are_added_as_is_documented() -> None:
    rng = np.random.default_rng(1)
    x, w = (rng.uniform(0.5, 2, shape).astype("bfloat16") for shape in ((1, 6, 200), (16, 6, 1)))
    bias = rng.standard_normal(16).astype(np.float32)
    total = np.broadcast_to(bias[:, None], (16, 200))
    for channel in (1, 0, 3, 2, 5, 4):
        total = fused(total, w[:, channel].astype(float) * x[0, channel].astype(float))
    y = jj.conv(x, w, bias, algorithm="dot_product", out_dtype="float32")
    np.testing.assert_array_equal(y[0], total)


@able
def test_what_is_not_as_ieee_says() -> None:
    given: dict[str, Any] = {"algorithm": "dot_product", "out_dtype": "float32"}
    ones, tiny = np.ones((16, 2, 1), "bfloat16"), np.full((1, 2, 20), 1e-39, np.float32).astype("bfloat16")
    assert not jj.conv(tiny, ones, **given).any()
    assert jj.conv(tiny, ones, out_dtype="float32", precision="strict").all()
    small = np.full((1, 2, 20), 1e-20, np.float32).astype("bfloat16")
    assert not jj.conv(small, ones * np.float32(1e-19).astype("bfloat16"), **given).any()
    x = np.ones((1, 2, 20), "bfloat16")
    x[0, 0, 0], x[0, 1, 1] = np.inf, np.nan
    y = jj.conv(x, ones, **given)
    assert not np.isfinite(y[0, :, :2]).any()
    assert (y[0, :, 2:] == 2).all()


# Its bits -------------------------------------------------------------------------------------------------------------------


def layer(name: str, dtype: str) -> tuple[Convolution, Array, Array, Array | None]:
    x_shape, w_shape, arguments = LAYERS[name]
    if dtype != "bfloat16":
        arguments = {key: value for key, value in arguments.items() if key != "activation"} | {"out_dtype": "int32"}
    spec = describe(x_shape, w_shape, dtype=dtype, **arguments)
    spec = dataclasses.replace(spec, dtypes=spec.dtypes._replace(sum="float32"))
    return spec, *numbers(spec, len(name))


@able
@pytest.mark.parametrize("name", LAYERS)
def test_schedules_threads_batches_and_layouts_do_not_show(name: str) -> None:
    spec, x, w, bias = layer(name, "bfloat16")
    expected = planned(spec)(x, w, bias, threads=1)
    count = len(list(dot_product.work(spec, "y", machines.probe()).jobs[0].candidates()))
    for number in range(0, count, max(count // 4, 1)):
        assert same_bits(planned(spec, number)(x, w, bias, threads=1 + number % 4), expected)
    one = dataclasses.replace(spec, batch=1)
    for i in range(spec.batch):
        assert same_bits(planned(one, 3 * i)(x[i : i + 1], w, bias), expected[i : i + 1])
    other = "channels_last" if spec.layout == "channels_first" else "channels_first"
    away, back = (1, -1) if other == "channels_last" else (-1, 1)
    y = planned(dataclasses.replace(spec, layout=other), 3)(np.ascontiguousarray(np.moveaxis(x, away, back)), w, bias)
    assert same_bits(np.ascontiguousarray(np.moveaxis(y, back, away)), expected)


@able
@pytest.mark.parametrize("dtype", ["int8", "int16", "bfloat16"])
@pytest.mark.parametrize("view", [view for view in VIEWS if "byte order" not in view])
@pytest.mark.parametrize("name", ["dense", "in place"])
def test_views_do_not_show(name: str, view: str, dtype: str) -> None:
    spec, x, w, bias = layer(name, dtype)
    plan = planned(spec)
    assert same_bits(plan(VIEWS[view](x), VIEWS[view](w), bias), plan(x, w, bias))


@able
def test_a_stride_is_every_so_many_outputs() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((1, 70, 20, 33)).astype("bfloat16"), rng.standard_normal((40, 70, 3, 3)).astype("bfloat16")
    all_of_them, some = (jj.conv(x, w, padding=1, stride=stride, algorithm="dot_product") for stride in (1, (2, 3)))
    assert same_bits(np.ascontiguousarray(all_of_them[:, :, ::2, ::3]), some)


# Memory ---------------------------------------------------------------------------------------------------------------------


def pages_batch(registers: str, examples: int) -> None:
    dtypes = (*BYTES, *SHORTS) if registers == "avx2" else (*BYTES, *SHORTS, *FLOATS)

    @settings(max_examples=examples, deadline=None, database=None)
    @given(job=jobs(dtypes, machine_of(registers)), at_end=st.booleans())
    def draw(job: tuple[Convolution, int, Machine], at_end: bool) -> None:
        spec, number, machine = job
        print(spec, repr(spec), number, at_end, sep="\n", flush=True)
        plan = planned(spec, number, machine)
        x, w, bias = numbers(spec, 1)
        assert same_bits(planned_beside_pages(plan, x, w, bias, at_end), plan(x, w, bias, threads=1))

    draw()


@able
@pytest.mark.parametrize("registers", REGISTERS)
def test_no_byte_outside_the_arrays_is_touched(registers: str) -> None:
    ended = python(f"import test_dot_product; test_dot_product.pages_batch({registers!r}, 10)", timeout=300)
    assert ended.returncode == 0, f"exit status {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"


@able
@pytest.mark.slow
@pytest.mark.parametrize("registers", REGISTERS)
def test_no_byte_outside_many_arrays_is_touched(registers: str) -> None:
    ended = python(f"import test_dot_product; test_dot_product.pages_batch({registers!r}, 600)", timeout=1800)
    assert ended.returncode == 0, f"exit status {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"


# Its code -------------------------------------------------------------------------------------------------------------------

X86 = "x86_64-unknown-linux-gnu"
WIDE = Target(X86, "icelake-server", "+avx512f,+avx512bw,+avx512vl,+avx512dq,+avx512vnni,+avx512bf16", 512, 32, True)
NARROW = Target(X86, "alderlake", "+avx2,+fma,+avxvnni", 256, 16, False)
NAMES = {  # what the assembly calls them, by target and element types
    ("wide", "int8", "int8"): r"vpdpbusd\b.*zmm", ("wide", "uint8", "uint8"): r"vpdpbusd\b.*zmm",
    ("wide", "int16", "int16"): r"vpdpwssd\b.*zmm", ("wide", "uint8", "int16"): r"vpdpwssd\b.*zmm",
    ("wide", "bfloat16", "bfloat16"): r"vdpbf16ps\b.*zmm",
    ("narrow", "int8", "uint8"): r"\{vex\}\s+vpdpbusd\b.*ymm", ("narrow", "int16", "int8"): r"\{vex\}\s+vpdpwssd\b.*ymm",
    ("arm", "int8", "int8"): r"\bsdot\s+v", ("arm", "uint8", "uint8"): r"\budot\s+v", ("arm", "uint8", "int8"): r"\busdot\s+v",
    ("arm", "int8", "uint8"): r"\busdot\s+v", ("arm", "bfloat16", "bfloat16"): r"\bbfdot\s+v",
}  # fmt: skip
TARGETS = {"wide": WIDE, "narrow": NARROW, "arm": FULL_ARM}


@pytest.mark.parametrize(("target", "x", "w"), NAMES)
@pytest.mark.parametrize("name", ["dense", "dense, channels last", "colours"])
def test_kernels_are_made_of_the_instruction_and_call_nothing(name: str, target: str, x: str, w: str) -> None:
    machine = on(TARGETS[target])
    spec, *_ = layer(name, "bfloat16" if x == "bfloat16" else "int8")
    spec = dataclasses.replace(spec, dtypes=spec.dtypes._replace(x=x, w=w))
    job = dot_product.work(spec, "y", machine).jobs[0]
    schedule: Channel = min(job.candidates(), key=lambda choice: choice[1])[0]
    program = job.program(schedule)
    packing: Any = program.pack_weights
    text = program.emit(program.code, machine.target)
    for written in (text, emit_word_weights(packing.code, machine.target)):
        assert called(assembly(written, machine.target)) == set()
        assert 0 < len(compile_ir(written, machine.target)) < 64 << 10
    inner = innermost(assembly(text, machine.target), NAMES[target, x, w])
    assert len(re.findall(NAMES[target, x, w], inner)) >= schedule.pixels * schedule.vectors
    if name != "colours":  # two steps of which LLVM writes as one, with a sum more than there are registers
        assert not re.search(r"\(%rsp\).*[zy]mm|[zy]mm.*\(%rsp\)", inner)


def test_targets_without_the_instructions_have_none() -> None:
    for target in TARGETS.values():
        bare = dataclasses.replace(target, features="+avx512f,+avx512bw,+avx512vl,+avx512dq" if target is WIDE else "+avx2,+fma")
        for pair in PAIRS:
            assert instruction(bare, *pair) is None
    assert instruction(NARROW, "bfloat16", "bfloat16") is None
    assert instruction(dataclasses.replace(NARROW, features="+avx512vnni"), "int8", "int8") is None  # not in 256 bits
    assert instruction(ARM, "uint8", "int8") is None  # whose signs differ: I8MM
    assert instruction(WIDE, "float32", "float32") is instruction(WIDE, "uint16", "int16") is None


# The machine and the planner -------------------------------------------------------------------------------------------------


@able
def test_what_does_not_compute_what_it_should_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    target = machines.probe().target
    assert all(machines._peak_dots(target, dtype) > 0 for dtype in ("int8", "int16", "bfloat16"))
    right = dot_products.multiply_add
    monkeypatch.setattr(dot_products, "multiply_add", lambda e, x, w, acc, dot: right(e, w, w, acc, dot))
    assert all(machines._peak_dots(target, dtype) == 0 for dtype in ("int8", "int16", "bfloat16"))


def test_without_instructions_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = dataclasses.replace(machines.probe(), peak_int8=0.0)
    monkeypatch.setattr(machines, "probe", lambda: machine)
    spec = layer("dense", "int8")[0]
    assert dot_product.accepts(spec, "y") == "this processor has no dot products of int8 with int8"


@able
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"gradient": "weight"}, "no gradients of weights"),
        ({"dtype": "float32"}, "not float32"),
        ({"dtype": "uint16"}, "no dot products of uint16"),
        ({"dtype": "bfloat16", "boundary": ("constant", 0.1)}, "constants outside"),
        ({"dtype": "int8", "out_dtype": "float64"}, "it writes no float64"),
    ],
)
def test_what_it_does_not_compute(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotBuiltError, match=reason):
        jj.plan((1, 32, 20, 20), (32, 32, 3, 3), algorithm="dot_product", padding=1, **arguments)


def chosen(dtype: str, machine: Machine) -> str:
    """What the planner takes for a dense layer on a machine."""
    from juanji import planner

    spec = layer("many channels", dtype)[0]
    seconds = {}
    for name in ("direct", "matrix", "dot_product"):
        if planner.ALGORITHMS[name].accepts(spec, "y") is None:
            seconds[name] = planner._expected(spec, "y", [name], machine)[name]
    return min(seconds, key=lambda name: seconds[name])


@able
def test_it_is_chosen_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen("int16", machines.probe()) == "dot_product"
    machine = dataclasses.replace(machines.probe(), peak_matrix=0.0, peak_bfloat16=machines.probe().peak_f32 / 2)
    monkeypatch.setattr(machines, "probe", lambda: machine)
    assert chosen("int8", machine) == "dot_product"
    assert chosen("bfloat16", machine) == "direct"  # half as fast
    machine = dataclasses.replace(machine, peak_bfloat16=machine.peak_f32 * 2)
    assert chosen("bfloat16", machine) == "dot_product"


@able
def test_integers_are_exact_and_so_allowed_by_strict() -> None:
    x, w = np.full((1, 64, 20, 20), 100, np.int16), np.full((64, 64, 3, 3), -20, np.int16)
    plan = jj.plan(x.shape, w.shape, dtype="int16", precision="strict", algorithm="dot_product")
    assert (plan(x, w) == -2000 * 64 * 9).all()
    with pytest.raises(NotBuiltError, match="precision is strict"):
        jj.plan(x.shape, w.shape, dtype="bfloat16", precision="strict", algorithm="dot_product")


@able
@pytest.mark.parametrize("algorithm", ["auto", "dot_product"])
@pytest.mark.parametrize(("dtype", "most"), [("int8", 127), ("uint8", 255), ("int16", 300)])
def test_sums_that_float32_does_not_hold_are_those_of_int32(dtype: str, most: int, algorithm: str) -> None:
    x, w = np.full((1, 700, 9, 9), most, dtype), np.full((20, 700, 3, 3), most - 1, dtype)
    bias = np.array([-5, 2**30, *range(18)])
    plan: Any = jj.plan(x.shape, w.shape, dtype=dtype, out_dtype="int64", bias=True, algorithm=algorithm)
    assert (plan(x, w, bias) == (most * (most - 1) * 6300 + bias)[:, None, None]).all()
    used = plan.plan({"x": (0, most), "w": (0, most - 1), "bias": (0, 2**30)})
    assert used.spec.dtypes.sum == "int32"
    assert used.algorithm in (("matrix", "dot_product") if algorithm == "auto" else ("dot_product",))


@able
def test_sums_that_int32_does_not_hold_are_exact_too() -> None:
    x, w = np.full((1, 64, 5, 40), 2**15 - 1, np.int16), np.full((20, 64, 3, 3), -(2**15), np.int16)
    assert (jj.conv(x, w) == -(2**15) * (2**15 - 1) * 576).all()


@able
def test_a_plan_names_it() -> None:
    plan = jj.plan((1, 64, 20, 20), (64, 64, 3, 3), dtype="int8", out_dtype="int32", algorithm="dot_product").explain()
    assert plan["algorithm"] == "dot_product"
    assert "64 channels in words of 4" in plan["schedule"][0]
