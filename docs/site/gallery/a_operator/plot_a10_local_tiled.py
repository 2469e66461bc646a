"""
Weights of one's own: local and tiled layers
============================================

Convolution uses one kernel at every position. A *locally connected* layer has a kernel of its own at each; a *tiled*
one has a few that take turns. They are the same operator with more weights: one tile is convolution, as many tiles as
outputs is the local layer.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

x = np.array([[[1, 2, 3, 4]]])
own = np.array([[1, 0], [0, 1], [1, 1]]).reshape(3, 1, 1, 2)  # three positions, one feature, one channel, two taps
print(jj.conv(x, own, sharing="local"))

# %%
# Their matrices, five outputs of three taps each; a colour is a weight. Shared: three weights. Tiled by two: six, rows
# taking turns. Local: fifteen.

layers = {"shared: 3 weights": ("shared", ()), "2 tiles: 6 weights": ("tiled", (2,)), "local: 15 weights": ("local", (5,))}
figure, axes = plt.subplots(1, 3, figsize=(9.6, 2.8))
for axis, (title, (sharing, sites)) in zip(axes, layers.items(), strict=True):
    count = int(np.prod((*sites, 3)))
    w = np.arange(1, count + 1).reshape(*sites, 1, 1, 3)
    matrix = jj.explain.toeplitz((1, 7), w, sharing=sharing).coordinates.toarray().astype(float)
    axis.imshow(np.where(matrix > 0, matrix, np.nan), "viridis", vmin=1, vmax=15)
    for (row, column), value in np.ndenumerate(matrix):
        if value:
            axis.text(column, row, f"{value:.0f}", ha="center", va="center", color="w" if value < 9 else "k", fontsize=8)
    axis.set(title=title, xlabel="inputs", ylabel="outputs", xticks=[], yticks=[])

# %%
# In two dimensions a local weight has six axes: (rows, columns, features, channels, kernel rows, kernel columns). Both
# ends of the ladder are equal to the last bit:

rng = np.random.default_rng(5)
x, w = rng.standard_normal((2, 5, 8, 9)), rng.standard_normal((8, 9, 6, 5, 3, 3))
print((jj.conv(x, w[:1, :1], padding=1, sharing="tiled") == jj.conv(x, w[0, 0], padding=1)).all())
print((jj.conv(x, w, padding=1, sharing="tiled") == jj.conv(x, w, padding=1, sharing="local")).all())

# %%
# What sharing saves. A thousand by a thousand pixels, as many hidden units, windows of 10×10:

print(jj.explain.counts((1, 1000, 1000), (1, 1, 10, 10), padding="same", tiles=2, bias=False))
