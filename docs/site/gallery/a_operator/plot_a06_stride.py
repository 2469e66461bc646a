"""
Stride and downsampling
=======================

With a stride of s the window moves by s pixels at a time, in each direction by its own. The output has ⌊(m + low +
high − k) / s⌋ + 1 elements per axis.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import juanji as jj

for x_shape, w_shape, arguments in (
    ((1, 1, 100, 100), (1, 1, 3, 3), {"padding": 1, "stride": 2}),
    ((1, 1, 5, 5), (1, 1, 3, 3), {"stride": (1, 2)}),
    ((1, 3, 227, 227), (96, 3, 11, 11), {"stride": 4}),
):
    print(jj.explain.output_shape(x_shape, w_shape, **arguments).y_shape, arguments)

# %%
# One row down, two columns across: six positions, six outputs.

jj.show.slide((5, 5), (3, 3), stride=(1, 2))

# %%
# **A stride samples.** A convolution with stride s is the one with stride 1 of which every s-th output is kept: the
# same bits, at a fraction of the work.

rng = np.random.default_rng(1)
x, w = rng.standard_normal((1, 8, 64, 64)), rng.standard_normal((16, 8, 3, 3))
every, sampled = jj.conv(x, w, algorithm="direct"), jj.conv(x, w, stride=2, algorithm="direct")
print((sampled == every[:, :, ::2, ::2]).all())

# %%
# Sampling alone makes coarse patterns out of fine ones. The remedy is the kernel: blur first, by one convolution with a
# stride. Rings that grow finer towards the corner, every fourth pixel of them:

rows, columns = np.mgrid[0:400, 0:400] / 400
rings = 127.5 + 127.5 * np.cos(2 * np.pi * 60 * (rows**2 + columns**2))
pictures = {
    "rings, 400×400": rings,
    "every 4th pixel": jj.image.filter(rings, "identity", stride=4),
    "gaussian, stride 4": jj.image.filter(rings, "gaussian", sigma=2, stride=4),
}
figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.4))
for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
    axis.imshow(picture, vmin=0, vmax=255)
    axis.set(title=title, xticks=[], yticks=[])

# %%
# The false rings in the middle are in no picture that the eye should see. On a photograph with fine stripes the effect
# is called moiré.

photo = data.astronaut()[:256, 100:356]
small = [jj.image.filter(photo, "identity", stride=4), jj.image.filter(photo, "gaussian", sigma=1.6, stride=4)]
figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.4))
for axis, picture, title in zip(axes, (photo, *small), ("photograph", "every 4th pixel", "gaussian, stride 4"), strict=True):
    axis.imshow(picture)
    axis.set(title=title, xticks=[], yticks=[])
