"""
What lies outside the picture
=============================

Padding has to be filled with something. Networks take zeros. On photographs zeros darken the border, and copying the
edge or mirroring the picture looks better. ``boundary`` chooses, by the names of ``np.pad``; each axis may have its
own.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import juanji as jj

for boundary in ("zero", "edge", "reflect", "symmetric", "wrap", ("constant", 9)):
    seen = jj.conv(np.array([[[1, 2, 3, 4]]]), np.array([[[1]]]), padding=3, boundary=boundary)[0, 0]
    print(f"{boundary!s:15}", *seen[:3], "|", *seen[3:7], "|", *seen[7:])

# %%
# The same on a photograph: a kernel that does nothing shows what a window meets outside. The frame is the edge of the
# picture.

photo = data.coffee()[60:340:2, 120:500:2]
padding = 45
modes = ("zero", "edge", "reflect", "wrap", ("constant", photo.mean()), ("reflect", "wrap"))
titles = ("zero", "edge", "reflect", "wrap", "constant: the mean", "reflect down, wrap across")
figure, axes = plt.subplots(2, 3, figsize=(9.6, 5.6))
for axis, mode, title in zip(axes.flat, modes, titles, strict=True):
    x = photo.transpose(2, 0, 1)[:, None].astype("float32")  # each colour a picture of its own
    around = jj.conv(x, np.ones((1, 1, 1, 1), "float32"), padding=padding, boundary=mode)[:, 0].transpose(1, 2, 0)
    axis.imshow(around.astype("uint8"))
    axis.add_patch(plt.Rectangle((padding - 0.5, padding - 0.5), *photo.shape[1::-1], fill=False, ec="#c2124f", lw=1.5))
    axis.set(title=title, xticks=[], yticks=[])

# %%
# Where it matters: a wide Gaussian near the border. With zeros the blurred picture fades to black; mirrored, it does
# not.

figure, axes = plt.subplots(1, 3, figsize=(9.6, 2.7))
for axis, mode in zip(axes, ("zero", "edge", "reflect"), strict=True):
    axis.imshow(jj.image.gaussian(photo, sigma=9, boundary=mode))
    axis.set(title=mode, xticks=[], yticks=[])

# %%
# Dropping the edge is a choice too: ``padding="valid"``, only windows that lie wholly inside.
