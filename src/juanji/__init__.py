"""juanji (卷积): convolution for Python, whole.

Names are reached lazily: `import juanji` loads nothing heavy.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "conv": "juanji.convolution",
    "conv_transpose": "juanji.gradients",
    "conv_grad_input": "juanji.gradients",
    "conv_grad_weight": "juanji.gradients",
    "conv_grad_bias": "juanji.gradients",
    "plan": "juanji.convolution",
    "Plan": "juanji.planner",
    "tune": "juanji.tuning",
    "forget_tuning": "juanji.tuning",
    "Convolution": "juanji.spec",
    "convolve": "juanji.signal",
    "correlate": "juanji.signal",
    "pool": "juanji.pooling",
    "pool_grad": "juanji.pooling",
    "unpool": "juanji.pooling",
    "adaptive_pool": "juanji.pooling",
    "adaptive_pool_grad": "juanji.pooling",
    "pyramid_pool": "juanji.pooling",
    "pyramid_pool_grad": "juanji.pooling",
    "set_threads": "juanji.run",
    "threads": "juanji.run",
    "JuanjiError": "juanji.errors",
}
_MODULES = ("data", "errors", "explain", "image", "inside", "nn", "signal", "reference", "show")

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = import_module(f"juanji.{name}")
    else:
        raise AttributeError(f"module 'juanji' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
