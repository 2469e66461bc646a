"""
Padding, and how large the output is
====================================

A kernel of size k fits into m pixels m − k + 1 times, so that without padding a picture shrinks with every layer.
Padding puts pixels around it first: any number on each side.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

x, w = np.arange(1.0, 17).reshape(1, 1, 4, 4), np.ones((1, 1, 3, 3))
for padding in (0, 1, 2, ((1, 2), (0, 3))):
    print(padding, "gives", jj.conv(x, w, padding=padding).shape[2:])

# %%
# A dashed frame in the padded input shows where the picture itself is.

figure = jj.show.compare(x, w, padding=((1, 2), (0, 3)))

# %%
# Names stand for amounts. ``valid`` is no padding and gives m − k + 1; ``same`` keeps the size; ``full`` takes every
# position in which kernel and picture touch, m + k − 1; ``causal`` pads in front only, so that no output sees what
# comes after it.

figure, axes = plt.subplots(1, 4, figsize=(10, 2.2), sharey=True)
for axis, mode in zip(axes, ("valid", "same", "full", "causal"), strict=True):
    (low, high), *_ = jj.explain.output_shape((1, 1, 7), (1, 1, 3), padding=mode).modes[mode][0]
    y = jj.conv(np.ones((1, 1, 7)), np.ones((1, 1, 3)), padding=mode)[0, 0]
    axis.bar(np.arange(len(y)) - low + 1, y, 0.8)
    axis.axvspan(-0.5, 6.5, color="0.93", zorder=-1)
    axis.set(title=mode, xlabel=f"{len(y)}", xticks=[], ylim=(0, 3.4))

# %%
# Above, seven ones are summed in threes, each sum drawn at the middle of its window; grey is where the input is. Sums
# below 3 have met the padding, and the number under each is how many outputs there are.
#
# **'same' is not "half the kernel on each side" once the stride is 2.** It gives ⌈m / stride⌉ outputs with as little
# padding as that takes, and the odd pixel stands at the end. On 0, 1, 2, 3, 4, 5 with the kernel 1, 2, 4 that is
# another sum than with padding 1:

x, k = np.arange(6.0).reshape(1, 1, 6), np.array([[[1.0, 2, 4]]])
print("same:     ", jj.conv(x, k, stride=2, padding="same")[0, 0])
print("padding 1:", jj.conv(x, k, stride=2, padding=1)[0, 0])

# %%
# ``output_shape`` writes out the formula, which input pixels no window sees, and what each name stands for on these
# sizes.

print(jj.explain.output_shape((1, 1, 6), (1, 1, 3), stride=2))
