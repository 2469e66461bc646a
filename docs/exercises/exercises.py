"""Exercises: copy this file, fill in the functions, and have them checked:

    python docs/exercises/check.py mine.py

Arrays are NumPy's. Write the arithmetic yourself, with loops if you like.
"""

import numpy as np  # noqa: F401  # for the answers


def correlate(a, k):
    """1. Correlation of two 2-D arrays, whole windows only: b[i, j] = Σ a[i + u, j + v] · k[u, v]."""
    raise NotImplementedError


def convolve(a, k):
    """2. Convolution of two 2-D arrays, whole windows only: the kernel turned by 180°."""
    raise NotImplementedError


def output_size(size, kernel, stride, low, high, dilation):
    """3. How many outputs a convolution has along one axis; low, high: the padding before and after."""
    raise NotImplementedError


def same_padding(size, kernel, stride):
    """4. The padding (low, high) of 'same': ⌈size / stride⌉ outputs, the odd pixel at the end."""
    raise NotImplementedError


def mirrored(signal, padding):
    """5. A 1-D array with `padding` elements more on each side, mirrored, the edge not repeated.

    padding < len(signal).
    """
    raise NotImplementedError


def sum_of_dice(p, q):
    """6. p[n] and q[n] are the probabilities of n, from 0 on, with two dice; those of their sum."""
    raise NotImplementedError


def im2col(x, k):
    """7. Every k×k window of a picture (C, H, W) as a row: ((H − k + 1)·(W − k + 1), C·k·k)."""
    raise NotImplementedError


def max_pool(a):
    """8. The largest of each 2×2 block of an array with even sides."""
    raise NotImplementedError


def gradient_of_input(error, k):
    """9. The gradient of the input of `correlate(a, k)`, given that of its output.

    It is the padded error, convolved with k.
    """
    raise NotImplementedError


def receptive_field(layers):
    """10. How many input pixels along an axis a unit sees.

    layers: (kernel, stride, dilation) of each, the first one first.
    """
    raise NotImplementedError
