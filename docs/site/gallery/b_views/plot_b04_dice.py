"""
Two dice
========

How likely is a sum of 4 with two dice? It comes as 1 + 3, 2 + 2 or 3 + 1, so that P(4) = f(1)·g(3) + f(2)·g(2) +
f(3)·g(1) = 3/36. For every sum it is the same rule, the places adding up to n: the distribution of a sum is the
convolution of the distributions.
"""

from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

die = {face: Fraction(1, 6) for face in range(1, 7)}
total = jj.signal.distribution_of_sum(die, die)
print(total)
for ways, probability in total.terms(4):
    print(*ways, "with probability", probability)

# %%
# The table of all 36 outcomes. Sums are the same along a diagonal, and the diagonal of 4 is marked: adding up along
# diagonals *is* convolution.

figure, (table, bars) = plt.subplots(1, 2, figsize=(9.4, 3.9), width_ratios=(1, 1.35))
sums = np.add.outer(np.arange(1, 7), np.arange(1, 7))
table.imshow(np.where(sums == 4, 1.0, 0.12), "Blues", vmin=0, vmax=1.4)
for (row, column), value in np.ndenumerate(sums):
    table.text(column, row, value, ha="center", va="center", weight="bold" if value == 4 else "normal")
table.set(xlabel="second die", ylabel="first die", xticks=range(6), yticks=range(6), xticklabels=range(1, 7), yticklabels=range(1, 7))
bars.bar(list(total), [float(p) for p in total.values()], color=["#c2124f" if n == 4 else "#2f7fc1" for n in total])
bars.set(xlabel="sum", ylabel="probability", xticks=list(total))

# %%
# More dice, more convolutions; and the distribution takes the shape of a bell. That is the central limit theorem, drawn
# by convolving again and again.

figure, axes = plt.subplots(1, 4, figsize=(10, 2.2))
for axis, count in zip(axes, (1, 2, 4, 12), strict=True):
    total = jj.signal.distribution_of_sum(*[die] * count)
    axis.bar(list(total), [float(p) for p in total.values()], width=1)
    axis.set(title=f"{count}", yticks=[])

# %%
# A loaded die is no harder. Faces from 1 to 6 with odds 1, 1, 1, 1, 1, 5:

loaded = dict(zip(range(1, 7), (1, 1, 1, 1, 1, 5), strict=True))
print(jj.signal.distribution_of_sum(die, loaded))
