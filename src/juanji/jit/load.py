"""From what code depends on to code that can be called: from memory, from disk, or compiled now."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from juanji.jit.lock import compiling
from juanji.jit.store import Code, read, write
from juanji.jit.target import Target

MOST_KEPT = 512  # kernels in memory; plans keep their own alive beyond that

_kept: OrderedDict[tuple[Any, ...], Code] = OrderedDict()


def load(key: Any, emit: Callable[[Any, Target], str], target: Target, identity: str) -> Code:
    """The code of `emit(key, target)`; `identity` stands for the machine, LLVM and the generator's source."""
    short = (key, target)
    with compiling:
        code = _kept.get(short)
        if code is not None:
            _kept.move_to_end(short)
            return code
        name = hashlib.sha256(f"{identity}\n{key!r}\n{target!r}".encode()).hexdigest()
        content = read(name)
        if content is None:
            from juanji.jit.compile import compile_ir

            content = compile_ir(emit(key, target), target)
            write(name, content)
        code = _kept[short] = Code(content)
        if len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)
        return code
