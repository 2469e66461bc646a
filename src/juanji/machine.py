"""What this computer can do, found by executing and timing, never by the CPU's name.

Measured once and kept beside the compiled code. `target` is all that the generated code depends on.
"""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import importlib.util
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import CompileError, NotBuiltError
from juanji.jit import dot_products, permission, store, tiles
from juanji.jit.elements import SCALARS
from juanji.jit.emit import I64, PTR, Emitter
from juanji.jit.load import load
from juanji.jit.lock import compiling
from juanji.jit.target import Target
from juanji.recall import recalled

CHAINS = 12  # independent multiply-adds in flight: enough to hide their latency on any machine, few enough for 16 registers


@dataclass(frozen=True)
class Machine:
    """Of one core: peaks in FLOP/s (a multiply-add is two), bandwidth in B/s (read and written, copying), caches in bytes.

    peak_int8, peak_int16, peak_bfloat16: of dot-product instructions for such numbers, 0 without them.
    peak_matrix: of the matrix unit with bfloat16 numbers, 0 without one that this process may use.
    """

    name: str
    target: Target
    l1: int
    l2: int
    cores: int
    peak_f32: float
    peak_f64: float
    bandwidth: float
    peak_int8: float = 0.0
    peak_int16: float = 0.0
    peak_bfloat16: float = 0.0
    peak_matrix: float = 0.0

    @property
    def vector_bits(self) -> int:
        """Width of the registers that code is made for."""
        return self.target.vector_bits

    @property
    def registers(self) -> int:
        """How many vector registers there are."""
        return self.target.registers

    @property
    def features(self) -> str:
        """What LLVM was told that this machine has."""
        return self.target.features

    def peak(self, dtype: str) -> float:
        """FLOP/s of one core for sums of a dtype."""
        return self.peak_f64 if dtype == "float64" else self.peak_f32

    def peak_of_products(self, x: str, w: str) -> float:
        """FLOP/s of the matrix unit for products of these element types, 0 if it has none."""
        return self.peak_matrix * (1 if x == "bfloat16" else 2) if (x, w) in tiles.PRODUCTS else 0.0

    def peak_of_dots(self, x: str, w: str) -> float:
        """FLOP/s of the dot-product instruction for products of these element types, 0 if there is none."""
        dot = dot_products.instruction(self.target, x, w)
        return 0.0 if dot is None else {"i8": self.peak_int8, "i16": self.peak_int16, "bf16": self.peak_bfloat16}[dot.scalar]


def probe() -> Machine:
    """The machine this process runs on."""
    with compiling:
        return _probe()


@lru_cache(maxsize=1)
def _probe() -> Machine:
    names = [f.name for f in dataclasses.fields(Machine) + dataclasses.fields(Target)]
    key = hashlib.sha256(f"{_processor()} {names}".encode()).hexdigest()  # another version may keep other facts
    kept = store.read(key)
    if kept is not None:
        facts = json.loads(kept)
        found = Machine(**(facts | {"target": Target(**facts["target"]), "cores": _cores()}))
    else:
        found = _measure()
        store.write(key, json.dumps(dataclasses.asdict(found)).encode())
    return dataclasses.replace(found, peak_matrix=_matrix(found.target, key))


@lru_cache(maxsize=256)
def loaded(key: Any, emit: Callable[[Any, Target], str]) -> store.Code:
    """The code of `emit` for this machine."""
    return load(key, emit, probe().target, identity())


@lru_cache(maxsize=1)
def identity() -> str:
    """A hash of what compiled code depends on besides its own key: the processor, LLVM, and the generator."""
    generator = recalled("generator", lambda: {"hash": store.generator_hash()})["hash"]
    return hashlib.sha256(f"{_processor()} {generator}".encode()).hexdigest()


@lru_cache(maxsize=1)
def _processor() -> str:
    """A hash of what the system tells of the processor, and of LLVM's version."""
    digest = hashlib.sha256(repr(os.uname()[-1] if hasattr(os, "uname") else os.environ.get("PROCESSOR_IDENTIFIER")).encode())
    info = Path("/proc/cpuinfo")
    if info.exists():
        first = info.read_text().split("\n\n")[0].splitlines()
        digest.update("\n".join(line for line in first if line.startswith(("model", "flags", "Features", "CPU"))).encode())
    # llvmlite's version, read from beside it: importing it, or asking the package database, would cost a second process most of its start.
    llvmlite = importlib.util.find_spec("llvmlite")
    if llvmlite is None or llvmlite.origin is None:
        raise CompileError("llvmlite is not installed; it comes with juanji: pip install juanji")
    digest.update(Path(llvmlite.origin).with_name("_version.py").read_bytes())
    return digest.hexdigest()


def targets(triple: str, cpu: str, features: str) -> list[Target]:
    """The register files that code could be made for on a machine with these features, widest last."""
    has = set(features.split(","))
    if triple.startswith("x86_64"):
        if not {"+avx2", "+fma"} <= has:
            raise NotBuiltError("x86-64 processors without AVX2 and FMA are not built for yet")
        wide = {"+avx512f", "+avx512bw", "+avx512vl", "+avx512dq"} <= has
        narrow = Target(triple, cpu, features + ",+prefer-256-bit" if wide else features, 256, 32 if wide else 16, wide)
        return [narrow, Target(triple, cpu, features + ",-prefer-256-bit", 512, 32, True)] if wide else [narrow]
    if triple.startswith(("aarch64", "arm64")):
        return [Target(triple, cpu, features, 128, 32, False)]
    raise NotBuiltError(f"code for {triple.split('-')[0]} is not built yet; x86-64 and aarch64 are")


def _measure() -> Machine:
    from juanji.jit.compile import host

    triple, cpu, features = host()
    rates = {target: _peak(target, "f32") for target in targets(triple, cpu, features)}
    target = max(rates, key=lambda t: rates[t])
    return Machine(
        name=cpu,
        target=target,
        l1=_cache(1, 32 << 10),
        l2=_cache(2, 1 << 20),
        cores=_cores(),
        peak_f32=rates[target],
        peak_f64=_peak(target, "f64"),
        bandwidth=_bandwidth(),
        peak_int8=_peak_dots(target, "int8"),
        peak_int16=_peak_dots(target, "int16"),
        peak_bfloat16=_peak_dots(target, "bfloat16"),
    )


def peak_loop(target: Target, scalar: str) -> str:
    """The IR of independent chains of multiply-adds in registers: a row of the number of rounds, a vector, and room for all chains."""
    e = Emitter(target.vector_bits, target.masks)
    vector = e.vector(scalar)
    with e.function("kernel", PTR) as (row,):
        factor = e.load(vector, row + 8)
        chains = [e.var(vector, factor) for _ in range(CHAINS)]
        with e.loop(0, e.load(I64, row)):
            for chain in chains:
                chain.set(e.fma(chain.get(), factor, factor))
        for i, chain in enumerate(chains):
            e.store(chain.get(), row + (8 + i * vector.bytes))
    return e.text()


def _peak(target: Target, scalar: str) -> float:
    """FLOP/s of independent chains of multiply-adds in registers, the best of several short runs."""
    from juanji.jit.compile import compile_ir

    vector = Emitter(target.vector_bits, target.masks).vector(scalar)
    code = store.Code(compile_ir(peak_loop(target, scalar), target))
    rounds = 10_000
    room = np.zeros(1 + CHAINS * vector.bytes // 8, np.int64)
    best = float("inf")
    for _ in range(40):
        room[:] = 0
        best = min(best, _timed(code, room, rounds))
    return 2.0 * rounds * CHAINS * vector.lanes / best


def _timed(code: store.Code, room: npt.NDArray[Any], rounds: int) -> float:
    """Seconds of so many rounds, the first word of a kernel's arguments."""
    room.view(np.int64)[0] = rounds
    start = time.perf_counter()
    code.call(ctypes.c_void_p(room.ctypes.data))
    return time.perf_counter() - start


def dot_loop(target: Target, dot: dot_products.Dot) -> str:
    """The IR of chains of dot products in registers: a row of the number of rounds, words of x and of w, and the sums of one chain."""
    e = Emitter(target.vector_bits, target.masks)
    vector = e.vector(SCALARS[dot.total])
    with e.function("kernel", PTR) as (row,):
        x, w = (e.load(vector, row + (8 + i * vector.bytes)) for i in range(2))
        chains = [e.var(vector, e.load(vector, row + (8 + 2 * vector.bytes))) for _ in range(CHAINS)]
        with e.loop(0, e.load(I64, row)):
            for chain in chains:
                chain.set(dot_products.multiply_add(e, x, w, chain.get(), dot))
        for chain in reversed(chains):
            e.store(chain.get(), e.unknown(row + (8 + 2 * vector.bytes)))
    return e.text()


def _peak_dots(target: Target, dtype: str) -> float:
    """FLOP/s of dot products of numbers of a type, 0 without an instruction, or if first products are not what they should be."""
    from juanji.jit.compile import compile_ir

    dot = dot_products.instruction(target, dtype, dtype)
    if dot is None:
        return 0.0
    code = store.Code(compile_ir(dot_loop(target, dot), target))
    count = target.vector_bits // 8 // 4 * dot.group
    x, w = (np.arange(count) * step % 7 - 3 for step in (3, 5))
    room = np.zeros(8 + 3 * target.vector_bits // 8, np.uint8)
    for place, numbers in enumerate((x ^ -128 if dot.turned else x, w)):
        stored = numbers.astype(np.float32).view(np.uint32) >> 16 if dtype == "bfloat16" else numbers
        words = stored.astype(np.uint16 if dtype == "bfloat16" else dtype).view(np.uint8)
        room[8 + place * len(words) :][: len(words)] = words
    _timed(code, room, 1)
    sums, products, weights = room[8 + 2 * len(words) :].view(dot.total), (x * w).reshape(-1, dot.group), w.reshape(-1, dot.group)
    if not np.array_equal(sums + dot.correction * weights.sum(axis=1), products.sum(axis=1)):
        return 0.0
    rounds = 10_000
    return 2.0 * rounds * CHAINS * count / min(_timed(code, room, rounds) for _ in range(20))


def _matrix(target: Target, key: str) -> float:
    """FLOP/s of the matrix unit, 0 where there is none. Every process has to ask for leave to use it, also where the rate is known."""
    if not (tiles.has(target) and permission.tiles()):
        return 0.0
    key = hashlib.sha256(f"{key} matrix".encode()).hexdigest()
    kept = store.read(key)
    if kept is not None:
        return float(kept)
    rate = _peak_matrix(target)
    store.write(key, repr(rate).encode())
    return rate


def _peak_matrix(target: Target) -> float:
    """FLOP/s of products of tiles of bfloat16 numbers, 0 if a first product of small integers is not what it should be."""
    from juanji.jit.compile import compile_ir

    chains, product = 4, tiles.PRODUCTS["bfloat16", "bfloat16"]
    e = Emitter(target.vector_bits, target.masks)
    with e.function("kernel", PTR) as (row,):
        a, b, goal = (row + (64 + part * tiles.TILE) for part in range(3))
        tiles.configure(e)
        for acc in range(chains):
            tiles.zero(e, acc)
        tiles.load(e, chains, a, 64)
        tiles.load(e, chains + 1, b, 64)
        with e.loop(0, e.load(I64, row)):
            for acc in range(chains):
                tiles.multiply(e, product, acc, chains, chains + 1)
        tiles.store(e, 0, goal, 64)
        tiles.release(e)
    code = store.Code(compile_ir(e.text(), target))
    room = np.zeros(64 + 3 * tiles.TILE, np.uint8)
    left, right = (np.arange(512).reshape(16, 32) * step % 7 - 3 for step in (3, 5))
    pairs = np.stack([right.T[::2], right.T[1::2]], axis=-1)  # of neighbours of the reduction
    for part, numbers in enumerate((left, pairs)):
        words = numbers.astype(np.float32).view(np.uint32).reshape(-1) >> 16
        room[64 + part * tiles.TILE :][: tiles.TILE] = words.astype(np.uint16).view(np.uint8)

    _timed(code, room, 1)
    if not np.array_equal(room[64 + 2 * tiles.TILE :].view(np.float32).reshape(16, 16), left @ right.T):
        return 0.0
    rounds = 10_000
    return 2.0 * rounds * chains * 16 * 16 * 32 / min(_timed(code, room, rounds) for _ in range(20))


def _bandwidth() -> float:
    """Bytes read and written per second when NumPy copies an array that no cache holds."""
    source = np.ones(4 << 20, np.float64)
    goal = np.empty_like(source)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        np.copyto(goal, source)
        best = min(best, time.perf_counter() - start)
    return 2.0 * source.nbytes / best


def _cache(level: int, default: int) -> int:
    """Bytes of the data cache of a level, as the system tells them."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            facts = [(index / name).read_text().strip() for name in ("level", "type", "size")]
        except OSError:
            continue
        if facts[0] == str(level) and facts[1] != "Instruction":
            return int(facts[2].rstrip("KM")) * {"K": 1 << 10, "M": 1 << 20}.get(facts[2][-1], 1)
    return default


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


__all__ = ["Machine", "Target", "identity", "loaded", "probe", "targets"]
