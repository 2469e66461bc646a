"""
The gradients are convolutions too
==================================

When a loss knows how it would change with each output, the error δ, two questions remain: how would it change with
each input, and with each weight? Both answers are convolutions. The input's gradient is the error, padded, convolved
with the kernel turned by 180°; the weights' gradient is the input correlated with the error as its kernel; the bias's
gradient is the sum of the error.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

print(jj.explain.gradients_as_convolutions((1, 1, 3, 3), (1, 1, 2, 2)))

# %%
# With numbers: a 3×3 input and a 2×2 kernel give a 2×2 error. Padded to 4×4 and convolved with the turned kernel it
# becomes 3×3 again.

x, w = np.arange(1.0, 10).reshape(1, 1, 3, 3), np.array([[[[1.0, 2], [3, 4]]]])
error = np.array([[[[1.0, -1], [2, 5]]]])
dx = jj.conv_grad_input(error, w, x.shape)
print(dx[0, 0], (dx == jj.conv(np.pad(error, ((0, 0), (0, 0), (1, 1), (1, 1))), w, flip=True)).all(), sep="\n")

# %%
# The same, window by window. Dashed cells are the zeros around the error.

jj.show.slide(error, w, operator="conv_grad_input", seconds=0.8)

# %%
# The weights' gradient, with the error as a kernel on the input:

print(jj.conv_grad_weight(x, error, w.shape)[0, 0], (jj.conv_grad_weight(x, error, w.shape) == jj.conv(x, error)).all(), sep="\n")

# %%
# **How to trust a gradient.** Move one number by a little and look how the loss changes; and for linear operators ⟨Ax,
# y⟩ = ⟨x, Aᵀy⟩, exactly, with whole numbers. Here with everything at once: stride, padding that mirrors, dilation and
# groups.

rng = np.random.default_rng(0)
options = {"stride": (2, 1), "padding": 2, "boundary": "reflect", "dilation": (1, 2), "groups": 2}
x, w = rng.integers(-5, 6, (2, 4, 9, 8)), rng.integers(-5, 6, (6, 2, 3, 3))
y = jj.conv(x, w, **options)
dy = rng.integers(-5, 6, y.shape)
print(np.vdot(y, dy), np.vdot(x, jj.conv_grad_input(dy, w, x.shape, **options)), np.vdot(w, jj.conv_grad_weight(x, dy, w.shape, **options)))

# %%
# What the error looks like on its way back. A photograph's edges, asked which pixels they depend on: the gradient of Σ
# (x ∗ sobel)² / 2.

photo = jj.image.gaussian(np.kron(rng.random((6, 9)), np.ones((16, 16))), sigma=1)[None, None]
sobel = jj.image.kernels.sobel_x[None, None]
edges = jj.conv(photo, sobel, padding=1, boundary="edge")
back = jj.conv_grad_input(edges, sobel, photo.shape, padding=1, boundary="edge")
figure, axes = plt.subplots(1, 3, figsize=(10, 2.5))
for axis, (title, picture) in zip(axes, {"input": photo, "error at the output": edges, "gradient of the input": back}.items(), strict=True):
    reach = np.abs(picture).max()
    axis.imshow(picture[0, 0], "gray" if title == "input" else "PuOr", vmin=0 if title == "input" else -reach, vmax=reach)
    axis.set(title=title, xticks=[], yticks=[])
