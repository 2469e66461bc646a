"""
A kernel of your own
====================

Any array is a kernel. Here are some that do not stand in textbooks: a blur along a line as of a camera that moved,
the aperture of a lens, a soft glow, and the difference of two Gaussians, which is close to what the eye's first cells
compute.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import juanji as jj

photo = data.rocket()[20:360, 180:520]
rows, columns = np.mgrid[-10:11, -10:11]
ring = ((rows**2 + columns**2 <= 100) & (rows**2 + columns**2 >= 49)).astype(float)
glow = 0.7 * jj.image.kernels.gaussian(12, size=61)
glow[30, 30] += 0.6
difference = jj.image.kernels.gaussian(1, size=21) - jj.image.kernels.gaussian(3, size=21)
kernels = {
    "motion, 25 pixels, 30°": jj.image.kernels.motion_blur(25, angle=30),
    "ring aperture": ring / ring.sum(),
    "glow": glow,
    "difference of Gaussians": difference,
}
figure, axes = plt.subplots(2, 4, figsize=(10.6, 5.6))
for column, (title, kernel) in enumerate(kernels.items()):
    picture = jj.image.filter(photo, kernel, boundary="edge", dtype="float32")
    axes[0, column].set_title(title)
    if kernel.min() < 0:  # answers of both signs
        axes[0, column].imshow(kernel, "PuOr", vmin=-kernel.max(), vmax=kernel.max())
        axes[1, column].imshow(picture.mean(-1), "PuOr", vmin=-20, vmax=20)
    else:
        axes[0, column].imshow(kernel, vmin=0, vmax=kernel.max() / 2)
        axes[1, column].imshow(picture.clip(0, 255).astype("uint8"))
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])

# %%
# Filters add up: since convolution is linear, blurring a blurred picture is one blur, whose kernel is the convolution
# of both. Two Gaussians of 3 and 4 pixels are one of 5.

twice = jj.convolve(jj.image.kernels.gaussian(3, size=41), jj.image.kernels.gaussian(4, size=41))
print(np.abs(twice - jj.image.kernels.gaussian(5, size=81)).max() / twice.max())
