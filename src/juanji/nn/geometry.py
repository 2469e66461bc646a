"""Shapes of convolutions inside networks, and which inputs their outputs see.

Output element o of an axis with stride s, dilation d, K taps and `low` elements of padding reads inputs o·s − low + d·k for k = 0 … K − 1.
A transposed convolution reads backwards: its output p gets what inputs q with q·s − low + d·k = p send there, which are those from
⌈(p + low − d·(K − 1)) / s⌉ to ⌊(p + low) / s⌋.
"""

from __future__ import annotations

from juanji.nn.operator import Box
from juanji.spec import Convolution, span


def window_sees(spec: Convolution, box: Box) -> Box:
    """What a region of a convolution's output reads."""
    axes = zip(box, spec.stride, spec.padding, spec.kernel, spec.dilation, strict=True)
    return tuple((first * s - low, last * s - low + span(k, d) - 1) for (first, last), s, (low, _), k, d in axes)


def transposed_sees(spec: Convolution, box: Box) -> Box:
    """What a region of a transposed convolution's output reads."""
    axes = zip(box, spec.stride, spec.padding, spec.kernel, spec.dilation, strict=True)
    return tuple((-((span(k, d) - 1 - low - first) // s), (last + low) // s) for (first, last), s, (low, _), k, d in axes)
