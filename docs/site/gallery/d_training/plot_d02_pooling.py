"""
Back through pooling
====================

Pooling has nothing to learn, but an error must pass through it. The maximum hands it to the pixel that won, for
nothing else would have changed the output; the average spreads it evenly; norms and weighted means share it out in
proportion.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

x = np.array([[9.0, 1, 2, 3], [4, 5, 6, 8], [1, 7, 2, 3], [2, 3, 9, 4]])[None, None]
error = np.array([[[[1.0, 2], [3, 4]]]])
print(jj.pool_grad(x, error, 2)[0, 0])
print(jj.pool_grad(x, error, 2, kind="avg")[0, 0])

# %%
# The maxima stand top left, bottom right, top right and bottom left, and there the error goes. Depth of colour is its
# size.

figure, axes = plt.subplots(1, 5, figsize=(11, 2.6))
axes[0].imshow(x[0, 0], "Blues", vmin=0, vmax=14)
for (row, column), value in np.ndenumerate(x[0, 0]):
    axes[0].text(column, row, f"{value:.0f}", ha="center", va="center")
axes[0].set_title("input")
kinds = {"max": {}, "avg": {}, "lp": {"p": 4}, "weighted": {"weights": "linear"}}
for axis, (kind, options) in zip(axes[1:], kinds.items(), strict=True):
    axis.imshow(jj.pool_grad(x, error, 2, kind=kind, **options)[0, 0], "Oranges", vmin=0, vmax=4)
    axis.set_title(kind)
for axis in axes:
    axis.set(xticks=[], yticks=[])
    axis.axhline(1.5, color="0.5", lw=0.8)
    axis.axvline(1.5, color="0.5", lw=0.8)

# %%
# As an animation: each error goes back to where its maximum was.

jj.show.slide(x[0, 0], 2, dy=error[0, 0], operator="pool_grad", view="flat", seconds=1)
