"""
A convolution is a sparse matrix
================================

The output is linear in the input, so there is a matrix. For a 3×3 kernel on a 4×4 picture it has 4 rows, one for each
output, and 16 columns, one for each input; every row holds the same nine weights, moved along.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

w = np.arange(1.0, 10).reshape(1, 1, 3, 3)
told = jj.explain.toeplitz((1, 4, 4), w)
print(told)

# %%
# The product with the picture, read row by row, is the convolution; the product of the transpose with an error is the
# gradient of the input.

rng = np.random.default_rng(0)
x, dy = rng.integers(-9, 10, (1, 1, 4, 4)), rng.integers(-9, 10, (1, 1, 2, 2))
C = told.coordinates
print((C @ x.ravel() == jj.conv(x, w).ravel()).all(), (C.T @ dy.ravel() == jj.conv_grad_input(dy, w, x.shape).ravel()).all())

# %%
# What each choice does to the matrix: padding adds rows that have lost some weights, a stride leaves rows out, dilation
# spreads them, wrapping lets them leave on one side and enter on the other, and a bank of kernels stacks them.

members = {
    "padding 1": ((1, 1, 3, 3), {"padding": 1}),
    "stride 2": ((1, 1, 3, 3), {"stride": 2, "padding": 1}),
    "dilation 2": ((1, 1, 3, 3), {"dilation": 2, "padding": 2}),
    "wrap": ((1, 1, 3, 3), {"padding": 1, "boundary": "wrap"}),
    "2 features": ((2, 1, 3, 3), {"padding": 1}),
}
figure, axes = plt.subplots(1, 5, figsize=(10.6, 3.4))
for axis, (title, (shape, arguments)) in zip(axes, members.items(), strict=True):
    matrix = jj.explain.toeplitz((1, 6, 6), np.arange(1.0, np.prod(shape) + 1).reshape(shape), **arguments).coordinates.toarray()
    axis.imshow(np.where(matrix == 0, np.nan, matrix), "viridis")
    axis.set(title=title, xticks=[], yticks=[], xlabel="×".join(map(str, matrix.shape)))
    for side in axis.spines.values():
        side.set(visible=True, color="0.7")
