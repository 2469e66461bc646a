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
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from juanji.errors import CompileError, NotBuiltError
from juanji.jit import store
from juanji.jit.emit import I64, PTR, Emitter
from juanji.jit.lock import compiling
from juanji.jit.target import Target

CHAINS = 12  # independent multiply-adds in flight: enough to hide their latency on any machine, few enough for 16 registers


@dataclass(frozen=True)
class Machine:
    """Of one core: peaks in FLOP/s (a multiply-add is two), bandwidth in B/s (read and written, copying), caches in bytes."""

    name: str
    target: Target
    l1: int
    l2: int
    cores: int
    peak_f32: float
    peak_f64: float
    bandwidth: float

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
        return Machine(**(facts | {"target": Target(**facts["target"]), "cores": _cores()}))
    found = _measure()
    store.write(key, json.dumps(dataclasses.asdict(found)).encode())
    return found


@lru_cache(maxsize=1)
def identity() -> str:
    """A hash of what compiled code depends on besides its own key: the processor, LLVM, and the generator."""
    return hashlib.sha256(f"{_processor()} {store.generator_hash()}".encode()).hexdigest()


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
    )


def _peak(target: Target, scalar: str) -> float:
    """FLOP/s of independent chains of multiply-adds in registers, the best of several short runs."""
    from juanji.jit.compile import compile_ir

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
    code = store.Code(compile_ir(e.text(), target))
    rounds = 10_000
    room = np.zeros(1 + CHAINS * vector.bytes // 8, np.int64)
    best = float("inf")
    for _ in range(40):
        room[:] = 0
        room[0] = rounds
        start = time.perf_counter()
        code.call(ctypes.c_void_p(room.ctypes.data))
        best = min(best, time.perf_counter() - start)
    return 2.0 * rounds * CHAINS * vector.lanes / best


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


__all__ = ["Machine", "Target", "identity", "probe", "targets"]
