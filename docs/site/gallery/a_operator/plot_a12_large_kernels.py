"""
Kernels as large as the picture
===============================

A kernel can be as large as its input; one number is left then, their inner product. Large kernels are where the way
of computing matters: juanji looks at the sizes, and says what it will do and why.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import juanji as jj

nine = np.arange(1.0, 10).reshape(1, 1, 3, 3)
print(jj.conv(nine, nine))

# %%
# The likeness of a picture to itself moved by every amount, its *autocorrelation*: the picture is its own kernel. Rows
# of bricks repeat, and the distance from one stripe to the next is the width of a row.

wall = data.brick()[::2, ::2].astype("float32")
wall -= wall.mean()
same = jj.correlate(wall, wall, "same")
figure, axes = plt.subplots(1, 2, figsize=(8, 4))
axes[0].imshow(wall)
axes[0].set_title("a wall, 256×256")
axes[1].imshow(same, "PuOr", vmin=-np.abs(same).max() / 3, vmax=np.abs(same).max() / 3)
axes[1].set_title("its autocorrelation")
for axis in axes:
    axis.set(xticks=[], yticks=[])

# %%
# The plan of a layer with kernels of 31×31, with what was weighed against what:

print(jj.plan((1, 16, 128, 128), (16, 16, 31, 31), padding=15))
