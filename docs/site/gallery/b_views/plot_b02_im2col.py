"""
im2col: one product of matrices
===============================

Write every window of the picture as a row of a matrix X, every kernel as a column of a matrix W: the layer is X·W.
That is how many libraries compute it, and the price is that X repeats the picture's numbers.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import juanji as jj

x, w = np.zeros((227, 227, 3), "float32"), np.zeros((11, 11, 3, 96), "float32")
print(jj.explain.matrix_product(x, w, stride=4, layout="channels_last"))

# %%
# Small enough to look at: a 5×5 picture, windows of 3×3. The window marked on the left is the marked row of X.

x = np.arange(25.0).reshape(1, 1, 5, 5)
X = jj.explain.im2col(x, 3)
figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.9), width_ratios=(1, 1.2))
for axis, values, title in zip(axes, (x[0, 0], X), ("picture 5×5", "X, 9 windows of 9"), strict=True):
    axis.imshow(values, "Blues", vmax=40)
    axis.set(title=title, xticks=[], yticks=[])
    for (row, column), value in np.ndenumerate(values):
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8)
axes[0].add_patch(Rectangle((0.5, 0.5), 3, 3, fill=False, ec="#c2124f", lw=2.5))
axes[1].add_patch(Rectangle((-0.5, 3.5), 9, 1, fill=False, ec="#c2124f", lw=2.5))

# %%
# The same window three times: in the padded picture, as a row of X, and as the row of the sparse matrix C that makes the
# same number of all pixels.

figure = jj.show.matrices((4, 5), (2, 3), padding=1, stride=(1, 2))

# %%
# ``col2im`` goes back: every number is added to the pixel that it came from. It does not undo ``im2col``, it counts: a
# pixel that nine windows saw comes back nine times.

print(jj.explain.col2im(np.ones_like(X), x.shape, 3)[0, 0])
