"""What the generator writes: the same results for every kind of vector, nothing called from outside, the operations that were meant."""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import juanji as jj
from compiled import assert_agrees, kind, planned, schedules
from juanji import machine as machines
from juanji.describe import describe
from juanji.jit.compile import assembly, compile_ir, host
from juanji.jit.emit import PTR, Emitter, Type
from juanji.machine import Machine, Target
from juanji.plans import Plan
from juanji.spec import ACTIVATIONS, Convolution
from strategies import convolutions, operands
from test_direct import LARGE

ARM = Target("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon,+fp-armv8,+fullfp16,+dotprod,+lse,+crc,+aes,+sha2", 128, 32, False)
VECTORS = {  # register files of x86-64 processors: features that LLVM is kept from, width, registers, masks
    "avx2": ("+avx512,+amx,+avx10", 256, 16, False),
    "avx512, 256 bits": ("", 256, 32, True),
    "avx512": ("", 512, 32, True),
}


def machine_with(name: str) -> Machine:
    """This machine with registers of another kind; skips the test where it has none such."""
    machine = machines.probe()
    if not machine.target.triple.startswith("x86_64"):
        pytest.skip(f"{machine.target.triple} has no x86-64 registers")
    kept_from, width, registers, masks = VECTORS[name]
    triple, cpu, features = host()
    without = tuple(kept_from.split(",")) if kept_from else ()
    features = ",".join("-" + f[1:] if without and f.startswith(without) else f for f in features.split(","))
    for target in machines.targets(triple, cpu, features):
        if (target.vector_bits, target.registers, target.masks) == (width, registers, masks):
            return dataclasses.replace(machine, target=target)
    pytest.skip(f"this processor has no {width}-bit vectors with {registers} registers" + (" and masks" if masks else ""))


def on(target: Target) -> Machine:
    """This machine as if it had that register file: for looking at code, not for running it."""
    return dataclasses.replace(machines.probe(), target=target)


def emitted(plan: Plan) -> str:
    """The IR of a plan's kernel."""
    text: str = plan.program.emit(plan.program.code, plan.machine.target)
    return text


def multiply_adds(text: str, type: str) -> int:
    """Vector multiply-adds in the IR, each as often as it is written."""
    return len(re.findall(rf"= call {re.escape(type)} @llvm\.fma\.", text))


def called(text: str) -> set[str]:
    """Names that the assembly calls or jumps to but does not define, and names that a library would have to bring."""
    goals = set(re.findall(r"^\s+(?:callq?|bl|blr|jmpq?|b)\s+(\*?[\w.@%]+)", text, re.MULTILINE))
    defined = set(re.findall(r"^([\w.$]+):", text, re.MULTILINE))
    foreign = {goal for goal in goals if goal not in defined}
    return foreign | set(re.findall(r"\b(?:mem(?:cpy|set|move)|\w*(?:exp|tanh|fma|round\w*)f?@PLT|__\w+|\w+@(?:PLT|GOT\w*))\b", text))


def innermost(text: str, operation: str) -> str:
    """The block with most of the operation among those that jump back to their own beginning, or of all where loops have several."""
    blocks = re.split(r"^(?=\.L\w+:)", text, flags=re.MULTILINE)
    named = [(re.escape(label[1]), b) for b in blocks if (label := re.match(r"(\.L\w+):", b))]
    loops = [b for label, b in named if re.search(rf"^\s+[jb][.\w]*\s+{label}$", b, re.MULTILINE)]
    return max(loops or [b for _, b in named], key=lambda b: len(re.findall(operation, b)))


# Executed -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectors", VECTORS)
@settings(max_examples=100)
@given(
    spec=st.one_of(
        convolutions(taps=True, dtypes=("float32", "float64", "uint8", "uint16")),
        convolutions(max_axes=2, max_channels=24, max_groups=2),
        convolutions(max_axes=2, max_channels=1, max_groups=24),
    ),
    data=st.data(), integers=st.booleans(),
)  # fmt: skip
def test_random_descriptions_on_every_kind_of_vector(vectors: str, spec: Convolution, data: st.DataObject, integers: bool) -> None:
    machine = machine_with(vectors)
    by_kind = schedules(spec, machine)
    schedule = data.draw(st.sampled_from(by_kind[data.draw(st.sampled_from(sorted(by_kind)))]))
    x, w, bias = operands(spec, seed=3, integers=integers)
    assert_agrees(spec, planned(spec, schedule, machine)(x, w, bias), x, w, bias, exact=integers)


@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize(
    "name", ["picture", "colour, interleaved", "first layer", "dense, channels last", "groups", "depthwise, channels last", "volume"]
)
def test_large_sizes_on_every_kind_of_vector(name: str, vectors: str) -> None:
    machine = machine_with(vectors)
    x_shape, w_shape, arguments = LARGE[name]
    for dtype in ("float32", "uint8"):
        spec = describe(x_shape, w_shape, dtype=dtype, w_dtype="float32", **arguments)
        x, w, bias = operands(spec, seed=4, integers=True)
        expected = None
        for found in schedules(spec, machine).values():
            for schedule in (found[len(found) // 3], found[-1]):
                y = planned(spec, schedule, machine)(x, w, bias)
                if expected is None:
                    assert_agrees(spec, y, x, w, bias, exact=True)
                    expected = y
                np.testing.assert_array_equal(y, expected, err_msg=str(schedule))


# Looked at ------------------------------------------------------------------------------------------------------------------

BYTES = {"dtype": "uint8", "w_dtype": "float32", "out_dtype": "uint8"}
WORDS = {"dtype": "uint16", "w_dtype": "float32", "out_dtype": "uint16"}
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "picture": ((1, 1, 200, 300), (1, 1, 3, 3), {"padding": 1}),
    "bytes": ((1, 1, 200, 300), (1, 1, 3, 3), {"padding": 1, **BYTES}),
    "words, half size": ((1, 1, 200, 300), (1, 1, 5, 5), {"padding": 2, "stride": 2, **WORDS}),
    "stride 3": ((1, 2, 90, 100), (4, 2, 3, 3), {"stride": 3, "bias": True}),
    "first layer": ((1, 3, 64, 64), (32, 3, 7, 7), {"stride": 2, "padding": 3, "bias": True, "activation": "relu"}),
    "dense": ((1, 64, 28, 28), (64, 64, 3, 3), {"padding": 1, "bias": True, "activation": "relu6"}),
    "dense, channels last": ((1, 28, 28, 64), (3, 3, 64, 64), {"padding": 1, "layout": "channels_last"}),
    "dense, f64": ((1, 28, 28, 20), (3, 3, 20, 50), {"padding": 1, "layout": "channels_last", "dtype": "float64", "activation": "tanh"}),
    "depthwise": ((1, 28, 28, 64), (3, 3, 1, 64), {"padding": 1, "layout": "channels_last", "groups": 64, "activation": "sigmoid"}),
    "depthwise planes": ((1, 24, 28, 30), (24, 1, 3, 3), {"padding": 1, "groups": 24, "stride": (1, 2), "activation": "tanh"}),
    "depthwise, large kernel": ((1, 9, 9, 40), (11, 11, 1, 40), {"padding": 5, "layout": "channels_last", "groups": 40}),
    "bytes, depthwise": ((1, 28, 28, 64), (3, 3, 1, 64), {"padding": 1, "layout": "channels_last", "groups": 64, **BYTES}),
    "volume": ((1, 3, 12, 13, 40), (4, 3, 3, 3, 3), {"padding": 1, "activation": "leaky_relu"}),
}  # fmt: skip


def plans(name: str, machine: Machine) -> list[Plan]:
    """A few schedules of each kind for one of the `LAYERS`."""
    x, w, arguments = LAYERS[name]
    spec = describe(x, w, **arguments)
    chosen = [found[i] for found in schedules(spec, machine).values() for i in sorted({len(found) // 2, len(found) - 1})]
    return [planned(spec, schedule, machine) for schedule in chosen]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("target", ["this machine", "aarch64", "avx2"])
def test_kernels_are_freestanding(name: str, target: str) -> None:
    machine = on(ARM) if target == "aarch64" else machines.probe() if target == "this machine" else machine_with(target)
    for plan in plans(name, machine):
        text = emitted(plan)
        assert called(assembly(text, machine.target)) == set(), str(plan.schedule)
        code = compile_ir(text, machine.target)  # nothing is left for a loader to do, or this raises
        assert 0 < len(code) < 64 << 10


@pytest.mark.parametrize("activation", [*ACTIVATIONS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_call_nothing(activation: str, dtype: str) -> None:
    for machine in (machines.probe(), on(ARM)):
        spec = describe((1, 8, 9, 40), (3, 3, 40, 40), dtype=dtype, activation=activation, layout="channels_last", bias=True)
        for found in schedules(spec, machine).values():
            text = emitted(planned(spec, found[-1], machine))
            assert called(assembly(text, machine.target)) == set()
            assert compile_ir(text, machine.target)


def test_what_a_loader_would_have_to_bring_is_refused() -> None:
    from juanji.errors import CompileError

    machine, f32 = machines.probe(), Type("f32")
    for target in (machine.target, ARM):
        e = Emitter(target.vector_bits, target.masks)
        with e.function("kernel", PTR) as (row,):
            e.store(e.intrinsic("sin", f32, e.load(f32, row)), row)
        assert called(assembly(e.text(), target))
        with pytest.raises(CompileError, match=r"`\w+` from outside"):
            compile_ir(e.text(), target)
    with pytest.raises(CompileError, match="not valid"):
        compile_ir("this is no IR", machine.target)


@pytest.mark.parametrize("name", LAYERS)
def test_aarch64_code_is_made_of_vectors(name: str) -> None:
    machine = on(ARM)
    for plan in plans(name, machine):
        arrangement, vector = ("2d", "<2 x double>") if plan.spec.dtypes.sum == "float64" else ("4s", "<4 x float>")
        text = assembly(emitted(plan), ARM)
        multiply = rf"\bfmla\s+v\d+\.{arrangement}"
        assert len(re.findall(multiply, text)) >= multiply_adds(emitted(plan), vector) > 0
        assert not re.findall(r"\bfn?m(?:add|sub)\s+[sdh]\d", text), str(plan.schedule)
        assert not re.findall(r"\bf(?:add|mul)\s+[sdh]\d", innermost(text, multiply)), str(plan.schedule)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (1, 7), (4, 2)])
@pytest.mark.parametrize("vectors", [*VECTORS])
def test_the_space_tile_multiplies_what_it_must(kernel: tuple[int, int], vectors: str) -> None:
    machine = machine_with(vectors)
    lanes = machine.vector_bits // 32
    spec = describe((1, 1, 100, 300), (3, 1, *kernel))
    straight = 0
    for name, found in schedules(spec, machine).items():
        if not name.startswith("Space"):
            continue
        for schedule in found[:: max(len(found) // 6, 1)]:
            wanted = schedule.rows * schedule.features * schedule.vectors * kernel[0] * kernel[1]
            if wanted > 160:  # larger tiles are loops
                continue
            straight += 1
            text = emitted(planned(spec, schedule, machine))
            assert multiply_adds(text, f"<{lanes} x float>") == wanted, str(schedule)
            assert len(re.findall(r"\bvfn?m(?:add|sub)\d+ps\b", assembly(text, machine.target))) == wanted, str(schedule)
    assert straight


def test_the_emitter_counts_its_multiply_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    text = Emitter.text

    def counting(e: Emitter) -> str:
        counts.append(e.fmas)
        return text(e)

    monkeypatch.setattr(Emitter, "text", counting)
    machine = machines.probe()
    for name in LAYERS:
        for plan in plans(name, machine):
            counts.clear()
            written = emitted(plan)
            assert counts == [len(re.findall(r"= call \S.* @llvm\.fma\.", written))]


def test_taps_that_are_zero_cost_nothing() -> None:
    machine = machines.probe()
    kernel = np.zeros((5, 5), np.float32)
    counts = {}
    for kept in (1, 4, 9, 16, 25):
        kernel.reshape(-1)[np.linspace(0, 24, kept).astype(int)] = 1
        plan = jj.plan((1, 1, 100, 300), kernel[None, None])
        tiles = {kind(s): s for found in schedules(plan.spec).values() for s in found if (getattr(s, "rows", 0), s.vectors) == (2, 2)}
        for schedule in tiles.values():
            found = multiply_adds(emitted(planned(plan.spec, schedule)), f"<{machine.vector_bits // 32} x float>")
            assert found == 4 * np.count_nonzero(kernel)
            counts[kept] = found
        kernel[...] = 0
    assert sorted(counts.values()) == list(counts.values())
    assert len(counts) == 5


@pytest.mark.parametrize(("pixels", "vectors"), [(6, 4), (4, 4), (8, 3), (9, 3), (12, 2), (12, 1)])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("registers", [*VECTORS])
def test_sums_stay_in_registers(registers: str, layout: str, pixels: int, vectors: int) -> None:
    machine = machine_with(registers)
    x, w = ((1, 64, 28, 28), (256, 64, 3, 3)) if layout == "channels_first" else ((1, 28, 28, 64), (3, 3, 64, 256))
    spec = describe(x, w, padding=1, layout=layout)
    met = 0
    for found in schedules(spec, machine).values():
        for schedule in found:
            if (getattr(schedule, "pixels", 0), schedule.vectors) != (pixels, vectors):
                continue
            met += 1
            text = assembly(emitted(planned(spec, schedule, machine)), machine.target)
            multiply = r"\bvfmadd\d+ps\b"
            inner = innermost(text, multiply)
            steps = len(re.findall(multiply, inner)) / (pixels * vectors)
            assert steps == int(steps) >= 1, str(schedule)
            spilled = re.findall(r".*%[xyz]mm\d+, .*\(%rsp\).*|.*\(%rsp\).*, %[xyz]mm\d+.*", inner)
            assert not spilled, f"{schedule}\n" + "\n".join(spilled)
            break
    if not met:
        pytest.skip(f"no tile of {pixels} × {vectors} fits {machine.registers} registers")


@pytest.mark.parametrize("vectors", [1, 2])
def test_weights_are_asked_for_by_tiles_narrower_than_a_cache_line(vectors: int) -> None:
    # A step of one 256-bit vector takes half a line of weights: the share of a line that a tile asks for must not become none.
    machine = dataclasses.replace(machine_with("avx2"), l2=1 << 14)
    spec = describe((1, 64, 6, 6), (16, 64, 3, 3), padding=1)
    found = [s for group in schedules(spec, machine).values() for s in group if getattr(s, "prefetch", False) and s.vectors == vectors]
    assert found
    x, w, bias = operands(spec, seed=3, integers=True)
    plan = planned(spec, found[0], machine)
    assert not re.search(r"urem i64 %\w+, 0\b", emitted(plan))
    assert_agrees(spec, plan(x, w, bias), x, w, bias, exact=True)
