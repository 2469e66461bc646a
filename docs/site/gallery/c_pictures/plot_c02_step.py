"""
An edge, and the false edge at the border
=========================================

A picture of 50×50 that is 1 left of column 30 and 0 from there. The kernel [1, 0, −1] asks: is the left neighbour
brighter than the right one? It answers +1 in two columns and 0 everywhere else, if only whole windows are taken.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

step = np.zeros((50, 50))
step[:, :30] = 1
kernel = [[1, 0, -1]]
whole = jj.correlate(step, kernel)
print(whole.shape, "columns with +1:", np.flatnonzero(whole[0] == 1), "others:", np.unique(np.delete(whole[0], [28, 29])))

# %%
# With zero padding a second, false edge appears in the first column: the picture seems to begin in the dark. Mirrored
# at its edge, the picture has no such step.

zero = jj.image.filter(step, kernel, boundary="zero")
reflect = jj.image.filter(step, kernel, boundary="reflect")
print("zero padding, first column:", zero[0, 0], "mirrored:", reflect[0, 0])
figure, axes = plt.subplots(1, 4, figsize=(10.6, 2.9))
shown = {"picture": step, "valid: 50×48": whole, "zero padding": zero, "mirrored": reflect}
for axis, (title, picture) in zip(axes, shown.items(), strict=True):
    axis.imshow(picture, "gray" if title == "picture" else "PuOr", vmin=0 if title == "picture" else -1, vmax=1)
    axis.set(title=title, xticks=[], yticks=[])
    for side in axis.spines.values():
        side.set(visible=True, color="0.7")
