"""
The kernel at work
==================

Every animation on this site is made by ``jj.show.slide`` from your own sizes or numbers: any stride, padding,
dilation, channels, transposed convolution, pooling, and the way back. The window and its pixel are filled, four lines
join their corners, and underneath is the arithmetic.
"""

import numpy as np

import juanji as jj

jj.show.slide((5, 5), (3, 3), stride=(1, 2))

# %%
# Padding is dashed, and holds what the boundary says.

jj.show.slide((3, 4), (3, 3), padding=1, boundary="edge", seconds=0.4)

# %%
# Two channels: a window in each, a kernel as deep as the input, and one sum.

x = np.arange(1.0, 25).reshape(1, 2, 3, 4)
w = np.array([[[[1.0, 0], [0, 1]], [[0.0, 1], [-1, 0]]]])
jj.show.slide(x, w, seconds=1)

# %%
# A signal has one axis, and is drawn flat.

jj.show.slide([1, 2, 3, 4, 5, 6], [1, 0, -1], padding=1, view="flat", seconds=1)

# %%
# ``save`` writes a GIF, an MP4, or numbered PNG or SVG frames, and ``figure`` makes a matplotlib figure with a slider
# for the time. On the command line:
#
# .. code-block:: console
#
#    juanji slide --input 5x5 --kernel 3x3 --stride 1x2 -o slide.gif
