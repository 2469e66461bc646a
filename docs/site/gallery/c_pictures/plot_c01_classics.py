"""
The classic kernels
===================

Every kernel of the textbooks has a name, and is used as it is printed, by correlation. On a photograph, colour
channels each by themselves:
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

photo = jj.image.read(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")[40:360, 110:430]
blurs = {
    "photograph": photo,
    "mean 3×3": jj.image.mean(photo),
    "mean 5×5": jj.image.mean(photo, size=5),
    "gaussian, sigma 4": jj.image.gaussian(photo, sigma=4),
    "sharpen, centre 9": jj.image.filter(photo, "sharpen"),
    "sharpen, centre 5": jj.image.filter(photo, "sharpen_5"),
    "emboss": jj.image.filter(photo, "emboss"),
    "outline, colours added": jj.image.filter(photo, "outline").clip(0, 60),
}
figure, axes = plt.subplots(2, 4, figsize=(10.6, 5.7))
for axis, (title, picture) in zip(axes.flat, blurs.items(), strict=True):
    axis.imshow(picture)
    axis.set(title=title, xticks=[], yticks=[])

# %%
# The weights are data: small arrays, to look at and to change.

names = ("sharpen", "sharpen_5", "sobel_x", "sobel_y", "prewitt_y", "laplacian", "laplacian_8", "emboss")
figure, axes = plt.subplots(1, len(names), figsize=(10.6, 1.6))
for axis, name in zip(axes, names, strict=True):
    kernel = jj.image.kernels.get(name)
    axis.imshow(kernel, "PuOr", vmin=-10, vmax=10)
    for (row, column), value in np.ndenumerate(kernel):
        axis.text(column, row, f"{value:.0f}".replace("-", "−"), ha="center", va="center", fontsize=9)
    axis.set(title=name, xticks=[], yticks=[])

# %%
# Derivatives have a sign: the picture grows brighter (purple) or darker (orange) along their direction, and where
# nothing changes they are zero. Kernels that end in ``_x`` answer to upright lines, those in ``_y`` to level ones.

grey = photo.astype("float32").mean(-1)
figure, axes = plt.subplots(2, 4, figsize=(10.6, 5.7))
derivatives = ("sobel_x", "sobel_y", "prewitt_x", "prewitt_y", "gradient_x", "scharr_x", "laplacian", "laplacian_8")
for axis, name in zip(axes.flat, derivatives, strict=True):
    answer = jj.image.filter(grey, name)
    reach = np.percentile(np.abs(answer), 99)
    axis.imshow(answer, "PuOr", vmin=-reach, vmax=reach)
    axis.set(title=name, xticks=[], yticks=[])

# %%
# The magnitude of a pair of derivatives is the strength of an edge whatever its direction; on a picture of bytes the
# result is rounded and saturates, and a negative answer would become 0: ``dtype="float32"`` keeps signs.

edges = jj.image.filter(grey, "sobel")
figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.8))
for axis, picture, title in zip(axes, (grey, edges), ("grey", "sobel: √(x² + y²)"), strict=True):
    axis.imshow(picture, vmin=0, vmax=np.percentile(picture, 99))
    axis.set(title=title, xticks=[], yticks=[])

# %%
# On the command line:
#
# .. code-block:: console
#
#    juanji filter photo.jpg --kernel sobel -o edges.png
#    juanji filter photo.jpg --kernel gaussian --sigma 4 -o soft.jpg
