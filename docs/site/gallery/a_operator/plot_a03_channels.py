"""
Many channels, many features
============================

A colour picture has three channels. A kernel is then as deep as the picture, its products are added over all
channels, and the result has one channel. A layer has many kernels, and gives one *feature map* for each.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import juanji as jj

photo = data.chelsea()[:, 60:420]  # rows, columns, colours
x = photo.transpose(2, 0, 1)[None] / 255  # a batch of one; channels first

# One feature for each colour contrast, made by hand: 4 kernels of 3 channels × 3 × 3
mean, left_right = np.full((3, 3), 1 / 9), np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
w = np.stack([
    np.stack([mean, mean, mean]) / 3,  # brightness
    np.stack([mean, -mean, 0 * mean]),  # red against green
    np.stack([mean / 2, mean / 2, -mean]),  # yellow against blue
    np.stack([left_right] * 3),  # change from left to right
])  # fmt: skip
y = jj.conv(x, w)
print(x.shape, w.shape, "gives", y.shape)

# %%
# Signed answers have zero in the middle of their scale: orange is below it, purple above.

figure, axes = plt.subplots(1, 5, figsize=(10.5, 2.5))
axes[0].imshow(photo)
axes[0].set_title("photograph")
titles = ["brightness", "red − green", "yellow − blue", "left to right"]
for axis, feature, title in zip(axes[1:], y[0], titles, strict=True):
    reach = np.abs(feature).max()
    axis.imshow(feature, "gray" if feature.min() >= 0 else "PuOr", vmin=0 if feature.min() >= 0 else -reach, vmax=reach)
    axis.set_title(title)
for axis in axes:
    axis.set(xticks=[], yticks=[])

# %%
# Counting: a 3×3 kernel on a colour picture has 27 weights. A layer of 32 kernels 5×5 on a picture of 224×224×3 has
# 2,400 weights and 32 biases, and gives 220×220×32 numbers.

print(jj.explain.counts((224, 224, 3), (5, 5, 3, 32), layout="channels_last"))

# %%
# The next layer sees these features as its channels: convolved with 6 and then with 10 kernels, each kernel of the
# second layer is 6 deep.

net = jj.nn.Sequential(jj.nn.Conv(6, 5, name="six"), jj.nn.ReLU(), jj.nn.Conv(10, 3, name="ten"), shape=(3, 32, 32))
print({name: array.shape for name, array in net.parameters.items()})
