"""
Layouts, and any number of axes
===============================

The same numbers can lie in memory in two ways. *Channels first*, (N, C, H, W) with kernels (O, I, kh, kw), is what
PyTorch, Paddle and ONNX do; *channels last*, (N, H, W, C) with kernels (kh, kw, I, O), what TensorFlow and Keras do.
Both give the same results.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

rng = np.random.default_rng(0)
x, w = rng.integers(-8, 9, (1, 12, 32, 48)), rng.integers(-8, 9, (24, 12, 3, 3))
first = jj.conv(x, w, stride=2, padding=1)
last = jj.conv(x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), stride=2, padding=1, layout="channels_last")
print(first.shape, last.shape, (first == last.transpose(0, 3, 1, 2)).all())

# %%
# Kernels can come in a third order, (O, kh, kw, I); ``weight_layout`` says so.

again = jj.conv(x.transpose(0, 2, 3, 1), w.transpose(0, 2, 3, 1), stride=2, padding=1, layout="channels_last", weight_layout="O*I")
print((again == last).all())

# %%
# **One axis: signals.** An electrocardiogram-like row of pulses with noise; the mean of nine neighbours quiets it.

t = np.linspace(0, 4, 400)
signal = np.exp(-((t % 1 - 0.5) ** 2) / 0.001) + 0.15 * rng.standard_normal(400)
smooth = jj.conv(signal[None], np.full((1, 1, 9), 1 / 9), padding="same", boundary="edge")
figure, axis = plt.subplots(figsize=(9, 2.3))
axis.plot(t, signal, color="0.75", lw=1, label="signal")
axis.plot(t, smooth[0], label="mean of nine")
axis.legend()

# %%
# **Text** is one axis as well: words in a row, each a vector of numbers, which are its channels. A kernel over three
# words is 3 × 50, and four kernels give four numbers at each of five positions.

words, kernels = rng.standard_normal((7, 50)), rng.standard_normal((4, 3, 50))
print(jj.conv(words, kernels, layout="channels_last", weight_layout="O*I").shape)

# %%
# **Three axes: volumes.** A ball in a box of noise, and the same smoothed along all three axes at once; one slice of
# each.

z, y, x = np.mgrid[-1:1:40j, -1:1:40j, -1:1:40j]
box = (z**2 + y**2 + x**2 < 0.5) + 0.6 * rng.standard_normal(z.shape)
cube = np.full((1, 1, 5, 5, 5), 1 / 125)
smooth = jj.conv(box[None, None], cube, padding="same", boundary="edge")[0, 0]
figure, axes = plt.subplots(1, 2, figsize=(6, 3))
for axis, volume, title in zip(axes, (box, smooth), ("slice 20 of the box", "mean over 5×5×5"), strict=True):
    axis.imshow(volume[20], vmin=-0.5, vmax=1.5)
    axis.set(title=title, xticks=[], yticks=[])

# %%
# Nothing stops at three: kernels have as many axes as the array, and need not be as long as they are wide.

print(jj.conv(np.ones((1, 1, 4, 4, 4, 4, 4)), np.ones((1, 1, 3, 1, 2, 3, 4))).shape)
