"""
Dilation, groups and depthwise kernels
======================================

A dilated kernel has gaps: nine weights that reach over a wide window. Groups cut the channels into parts that do not
see one another; with as many groups as channels the convolution is called depthwise.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import juanji as jj

jj.show.slide((7, 7), (3, 3), dilation=2, view="flat")

# %%
# Dilation is the same as a larger kernel with zeros between its weights, without the products by zero.

x = np.arange(1.0, 7).reshape(1, 1, 6)
print(jj.conv(x, np.array([[[1.0, 10]]]), dilation=3)[0, 0], jj.conv(x, np.array([[[1.0, 0, 0, 10]]]))[0, 0])

# %%
# What a stack of dilated layers sees doubles with each layer, while each costs the same nine weights: dilations 1, 2,
# 4, 8 see 31×31.

nn = jj.nn
dilated = nn.Sequential(*(nn.Conv(4, 3, dilation=d, padding="same") for d in (1, 2, 4, 8)), shape=(1, 64, 64))
plain = nn.Sequential(*(nn.Conv(4, 3, padding="same") for _ in range(4)), shape=(1, 64, 64))
for net in (plain, dilated):
    print(jj.explain.receptive_field(net, "conv4").size, sum(p.size for p in net.parameters.values()), "parameters")

# %%
# On a photograph: the same Sobel kernel, its taps ever further apart, answers to ever coarser edges.

photo = data.coins()[20:200, 60:340].astype("float32")
figure, axes = plt.subplots(1, 4, figsize=(10.4, 2.2))
axes[0].imshow(photo)
axes[0].set_title("photograph")
sobel = jj.image.kernels.sobel_x.astype("float32")[None, None]
for axis, dilation in zip(axes[1:], (1, 3, 7), strict=True):
    edges = jj.conv(photo[None], sobel, dilation=dilation, padding="same", boundary="edge")[0]
    axis.imshow(edges, "PuOr", vmin=-500, vmax=500)
    axis.set_title(f"dilation {dilation}")
for axis in axes:
    axis.set(xticks=[], yticks=[])

# %%
# **Groups.** Six channels in three groups: features 0 to 3 see channels 0 and 1 alone, and so on. The matrix of the
# layer shows which channel meets which feature.

figure, axes = plt.subplots(1, 3, figsize=(8.4, 2.9))
for axis, (groups, title) in zip(axes, ((1, "1 group"), (3, "3 groups"), (6, "6 groups: depthwise")), strict=True):
    w = np.ones((12, 6 // groups, 1))
    met = jj.explain.toeplitz((6, 1), w, groups=groups).coordinates.toarray()
    axis.imshow(met, "Blues", vmin=0, vmax=1.4)
    axis.set(title=title, xlabel="channels", ylabel="features", xticks=range(6), yticks=range(0, 12, 2))

# %%
# A depthwise 3×3 layer followed by a 1×1 layer mixes space and channels one after the other, and is what makes mobile
# networks small: for 64 channels 4,672 weights in place of 36,864.

full = jj.explain.counts((64, 56, 56), (64, 64, 3, 3), padding=1, bias=False)
depthwise = jj.explain.counts((64, 56, 56), (64, 1, 3, 3), padding=1, groups=64, bias=False)
pointwise = jj.explain.counts((64, 56, 56), (64, 64, 1, 1), bias=False)
print(full.weights, depthwise.weights + pointwise.weights)
