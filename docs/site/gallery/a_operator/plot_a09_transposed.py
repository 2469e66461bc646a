"""
Transposed convolution
======================

A convolution is multiplication by a matrix C. Multiplication by the transpose of C goes the other way, from a small
picture to a large one; it is called transposed convolution, or, wrongly, deconvolution. It is also how an error goes
back through a layer.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import juanji as jj

x, w = np.arange(1.0, 5).reshape(1, 1, 2, 2), np.arange(1.0, 10).reshape(1, 1, 3, 3)
y = jj.conv_transpose(x, w)
C = jj.explain.toeplitz((1, 4, 4), w).coordinates
print(y[0, 0], (y.ravel() == C.T @ x.ravel()).all(), sep="\n")

# %%
# The plainest way to see it: every pixel of the input launches a copy of the kernel, as many times as high as itself,
# and the copies add up.

jj.show.slide(x, w, operator="conv_transpose", scatter=True, seconds=1)

# %%
# The other way to see it is a convolution again: the input with zeros around it, and with a stride zeros between its
# pixels too, under the turned kernel.

jj.show.slide(x, w, operator="conv_transpose", stride=2, view="flat", seconds=0.4)

# %%
# The size is (m − 1)·stride − low − high + k, and ``output_padding`` settles what the floor of the forward formula left
# open.

print(jj.explain.output_shape_transpose((1, 1, 2, 2), (1, 1, 3, 3), stride=2, padding=1, output_padding=1))

# %%
# **Enlarging a picture.** With stride 2, a kernel of ones 2×2 repeats each pixel; a tent, the product of 1/4, 3/4, 3/4,
# 1/4 with itself, interpolates between them.

photo = (data.astronaut()[70:170, 170:270].mean(-1) / 255)[None, None]
tent = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.4))
twice = {"photograph, 100×100": photo, "ones 2×2": jj.conv_transpose(photo, np.ones((1, 1, 2, 2)), stride=2)}
twice["tent 4×4"] = jj.conv_transpose(photo, tent[None, None], stride=2, padding=1)
for axis, (title, picture) in zip(axes, twice.items(), strict=True):
    side = picture.shape[-1]
    axis.imshow(picture[0, 0, side // 4 : 3 * side // 4, side // 4 : 3 * side // 4], vmin=0, vmax=1)
    axis.set(title=title, xticks=[], yticks=[])
