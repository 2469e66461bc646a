"""
What moves along, and what does not
===================================

Shift the picture and its feature maps shift along: that is *equivariance*, the reason for sharing one kernel. It
holds for shifts; turning and magnifying are not covered, and the border breaks it where there is padding.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import juanji as jj

photo = (data.camera()[40:296, 60:400] / 255)[None, None]
w = jj.image.kernels.sobel_x[None, None]
print(jj.explain.equivariance(lambda x: jj.conv(x, w), photo, shift=(3, 5)))

# %%
# The picture turned by 90° and then filtered, and filtered and then turned. A kernel that looks for upright edges finds
# others.

turned = np.rot90(photo, axes=(2, 3))
filtered = jj.conv(photo, w)
pictures = {
    "filtered": filtered,
    "turned, then filtered": jj.conv(turned, w),
    "filtered, then turned": np.rot90(filtered, axes=(2, 3)),
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2))
for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
    axis.imshow(picture[0, 0], "PuOr", vmin=-1.5, vmax=1.5)
    axis.set(title=title, xticks=[], yticks=[])

# %%
# **Pooling forgives a pixel.** Move a row of detector answers by one. Every value may change; of the values max-pooled
# over three neighbours, half stay.

row = np.array([[[0.3, 0.1, 1.0, 0.2, 0.1]]])
for measured in jj.explain.shift_through_pooling(row, 3, stride=1, padding=1):
    print(measured)
figure, axes = plt.subplots(2, 2, figsize=(8, 3), sharey=True)
for column, (cut, title) in enumerate(((row[..., :-1], "before"), (row[..., 1:], "moved by one"))):
    axes[0, column].bar(range(4), cut[0, 0], color="#d9791b")
    axes[1, column].bar(range(4), jj.pool(cut, 3, stride=1, padding=1)[0, 0])
    axes[0, column].set(title=title, xticks=[])
    axes[1, column].set(xticks=[])
axes[0, 0].set_ylabel("answers")
axes[1, 0].set_ylabel("pooled")

# %%
# **A dense layer does not care where pixels are.** Permute the pixels of all pictures in the same way and it learns as
# well as before; a convolution loses its neighbours, and with them what it can say. The numbers are the relative error
# of the best fit.

rng = np.random.default_rng(9)
print(jj.explain.permuted_pixels(rng.standard_normal((40, 1, 8, 8)), rng.standard_normal((2, 1, 3, 3))))
