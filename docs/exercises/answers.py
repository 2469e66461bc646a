"""Answers to the exercises; there are others. tests/test_docs.py holds them against the checker."""

import numpy as np


def correlate(a, k):
    rows, columns = (m - n + 1 for m, n in zip(a.shape, k.shape, strict=True))
    b = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            b[i, j] = (a[i : i + k.shape[0], j : j + k.shape[1]] * k).sum()
    return b


def convolve(a, k):
    return correlate(a, k[::-1, ::-1])


def output_size(size, kernel, stride, low, high, dilation):
    return (size + low + high - dilation * (kernel - 1) - 1) // stride + 1


def same_padding(size, kernel, stride):
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def mirrored(signal, padding):
    n = len(signal)
    before = [signal[i] for i in range(padding, 0, -1)]
    after = [signal[n - 2 - i] for i in range(padding)]
    return np.array([*before, *signal, *after])


def sum_of_dice(p, q):
    total = np.zeros(len(p) + len(q) - 1)
    for a, pa in enumerate(p):
        for b, qb in enumerate(q):
            total[a + b] += pa * qb
    return total


def im2col(x, k):
    _, height, width = x.shape
    return np.array([x[:, i : i + k, j : j + k].ravel() for i in range(height - k + 1) for j in range(width - k + 1)])


def max_pool(a):
    height, width = a.shape
    return a.reshape(height // 2, 2, width // 2, 2).max(axis=(1, 3))


def gradient_of_input(error, k):
    rows, columns = k.shape
    return convolve(np.pad(error, ((rows - 1, rows - 1), (columns - 1, columns - 1))), k)


def receptive_field(layers):
    size, step = 1, 1
    for kernel, stride, dilation in layers:
        size += dilation * (kernel - 1) * step
        step *= stride
    return size
