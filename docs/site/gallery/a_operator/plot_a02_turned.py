"""
Convolution turns its kernel
============================

What networks call convolution is cross-correlation: the kernel is used as it stands. The convolution of mathematics
turns it by 180° first. One is the other with a turned kernel, exactly; where a kernel equals itself when turned, as a
Gaussian does, both are the same.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import juanji as jj

print(jj.explain.conv_against_correlation(np.arange(1, 10).reshape(3, 3), [[0, 1], [2, 3]]))

# %%
# ``conv`` and ``correlate`` do not turn, ``convolve`` and ``conv(..., flip=True)`` do. To the last bit:

rng = np.random.default_rng(0)
a, k = rng.standard_normal((31, 37)), rng.standard_normal((4, 5))
print((jj.convolve(a, k, "same") == jj.correlate(a, k[::-1, ::-1], "same")).all())

# %%
# On a photograph the difference is easy to see with a kernel that is not symmetric. ``emboss`` lights the picture from
# one side; turned, it lights it from the other, and hills become hollows.

photo = data.camera()[40:260, 120:400].astype("float32")
emboss = jj.image.kernels.emboss
pictures = {
    "photograph": photo,
    "correlation: emboss": jj.correlate(photo, emboss, "same"),
    "convolution: emboss turned": jj.convolve(photo, emboss, "same"),
}
figure, axes = plt.subplots(1, 3, figsize=(9.6, 2.9))
for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
    axis.imshow(picture, vmin=0, vmax=255)
    axis.set(title=title, xticks=[], yticks=[])
