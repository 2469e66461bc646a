"""
A kernel answers to what looks like it
======================================

A correlation is large where window and kernel have their large numbers in the same places. So a kernel is a picture
of what it looks for, and the map that it makes says where that is.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from skimage import data

import juanji as jj

curve = np.zeros((7, 7))
curve[[0, 1, 2, 3, 4, 5], [5, 4, 3, 3, 3, 3]] = 30  # a detector of a curve
alike, other = np.zeros((7, 7)), np.zeros((7, 7))
alike[[1, 2, 3, 4, 5, 6], [4, 4, 4, 3, 3, 3]] = alike[[1, 2, 3, 4, 5], [5, 3, 3, 4, 4]] = 50
other[[1, 2, 2, 3, 4, 5], [1, 0, 2, 0, 1, 2]] = 40
for name, window in (("like it", alike), ("unlike it", other)):
    print(name, jj.image.match_template(window, curve, method="correlation").item())

# %%
# Sums of products have a flaw: a bright window beats one that is alike. *Normalised* correlation takes the means off
# and divides by the sizes: from 1, the template itself at any brightness, over 0 to −1, its negative.

page = data.page().astype("float32")
template = page[84:97, 106:118]
likeness = jj.image.match_template(page, template)
raw = jj.image.match_template(page, template, method="correlation")
figure, axes = plt.subplots(1, 3, figsize=(11, 2.9))
axes[0].imshow(page)
axes[0].add_patch(Rectangle((106, 84), 12, 13, fill=False, ec="#c2124f", lw=1.5))
axes[1].imshow(raw)
axes[2].imshow(likeness, "PuOr", vmin=-1, vmax=1)
for axis, title in zip(axes, ("page, template marked", "correlation", "normalised, −1 to 1"), strict=True):
    axis.set(title=title, xticks=[], yticks=[])

# %%
# Every place where the likeness is above 0.8 and the largest around it, found by pooling; each should be the same
# letter.

peaks = (likeness > 0.8) & (likeness == jj.pool(likeness[None], (9, 9), stride=1, padding=4)[0])
places = np.argwhere(peaks)
print(len(places), "found")
figure, axis = plt.subplots(figsize=(8.4, 4.2))
axis.imshow(page)
for row, column in places:
    axis.add_patch(Rectangle((column, row), 12, 13, fill=False, ec="#c2124f", lw=1.5))
axis.set(xticks=[], yticks=[])
