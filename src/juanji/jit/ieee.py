"""IEEE arithmetic for the length of a call: subnormal numbers as they are, rounding to nearest, nothing trapped.

The mode belongs to the thread, and another library may have left it flushing; every kernel sets it and puts it back.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from juanji.jit.emit import I32, I64, Emitter
from juanji.jit.target import Target

MXCSR_DEFAULT = 0x1F80  # all exceptions masked, round to nearest, neither flush-to-zero nor denormals-are-zero


@contextmanager
def ieee_mode(e: Emitter, target: Target) -> Iterator[None]:
    """Emits the switch before and after the body, for the architectures that have one."""
    if target.triple.startswith("x86_64"):
        saved, wanted = e.stack(I32), e.stack(I32)
        e.plain("llvm.x86.sse.stmxcsr", saved)
        e.store(e.integer(MXCSR_DEFAULT, I32), wanted)
        e.plain("llvm.x86.sse.ldmxcsr", wanted)
        yield
        e.plain("llvm.x86.sse.ldmxcsr", saved)
    elif target.triple.startswith("aarch64"):
        name = "llvm.aarch64.get.fpcr"
        e.declared[name] = f"declare i64 @{name}()"
        before = e.emit(I64, f"call i64 @{name}()")
        e.plain("llvm.aarch64.set.fpcr", e.integer(0))
        yield
        e.plain("llvm.aarch64.set.fpcr", before)
    else:
        yield
