"""
Correlation, term by term
=========================

A kernel lies on a picture; numbers that lie on one another are multiplied, and the products added up. Then the kernel
moves on by one. That is the whole operator, and all that follows are its variants.
"""

import numpy as np

import juanji as jj

x = np.arange(1.0, 10).reshape(1, 1, 3, 3)  # one sample, one channel, 3 rows, 3 columns
w = np.array([[[[0.0, 1], [2, 3]]]])  # one feature, one channel, 2 rows, 2 columns
print(jj.conv(x, w)[0, 0])

# %%
# Input, kernel and output beside one another. Zero has the colour of paper, and the depth of the colour is the size of
# the number.

figure = jj.show.compare(x, w)

# %%
# Where does 43 come from? ``trace`` writes down the arithmetic of one output, with the window that it saw.

print(jj.explain.trace(x, w, (1, 0)))

# %%
# A bias is a number that is added to every output of a feature.

print(jj.conv(x, w, bias=np.array([1.0]))[0, 0])

# %%
# And the whole of it moving: the window slides over the input, each position gives one output.

jj.show.slide(x, w, seconds=1)
