"""
Pooling and pyramids
====================

Pooling replaces a window by one number: the largest, the mean, a norm, a mean weighted towards the middle. It has no
parameters, and acts on each channel alone.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import juanji as jj

x = np.array([[9.0, 1, 2, 3], [4, 5, 6, 8], [1, 7, 2, 3], [2, 3, 9, 4]])[None, None]
for kind in ("max", "avg", "lp"):
    print(kind, jj.pool(x, 2, kind=kind)[0, 0].round(2).tolist())

# %%
# The largest of each 2×2 window, one after the other:

jj.show.slide(x[0, 0], 2, operator="pool", kind="max", view="flat", seconds=1)

# %%
# On a photograph, windows of 8×8. The maximum keeps highlights, the mean keeps the look, and the weighted mean hides
# the blocks best.

photo = data.coffee()[40:360, 120:520].transpose(2, 0, 1)[None] / 255
figure, axes = plt.subplots(1, 4, figsize=(10.4, 2.5))
axes[0].imshow(photo[0].transpose(1, 2, 0))
axes[0].set_title("photograph")
kinds = {"max": {}, "avg": {}, "weighted": {"weights": "gaussian"}}
for axis, (kind, options) in zip(axes[1:], kinds.items(), strict=True):
    axis.imshow(jj.pool(photo, 8, kind=kind, **options)[0].transpose(1, 2, 0))
    axis.set_title(kind)
for axis in axes:
    axis.set(xticks=[], yticks=[])

# %%
# **Any size to a fixed size.** ``adaptive_pool`` chooses its windows so that the output is as asked; ``pyramid_pool``
# does it for 1×1, 2×2 and 4×4 and lays the 21 numbers of each channel in a row. A dense layer behind it can then take
# pictures of any size.

for size in ((37, 52), (64, 64), (200, 31)):
    picture = np.random.default_rng(0).random((1, 16, *size))
    print(size, jj.adaptive_pool(picture, (3, 3)).shape, jj.pyramid_pool(picture).shape)

# %%
# The three levels on the photograph:

figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.3))
for axis, level in zip(axes, (1, 2, 4), strict=True):
    axis.imshow(jj.adaptive_pool(photo, (level, level), kind="avg")[0].transpose(1, 2, 0))
    axis.set(title=f"{level}×{level}", xticks=[], yticks=[])

# %%
# ``return_indices`` remembers where each maximum stood, and ``unpool`` puts it back there. The picture below is all
# that max pooling by 4 keeps, in its places.

pooled, places = jj.pool(photo, 4, return_indices=True)
back = jj.unpool(pooled, places, photo.shape)
figure, axis = plt.subplots(figsize=(4.4, 3.5))
axis.imshow(back[0, :, 100:220, 130:280].transpose(1, 2, 0))
axis.set(xticks=[], yticks=[])
