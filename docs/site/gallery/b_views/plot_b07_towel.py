"""
Multiplying, and rolling a towel
================================

Multiply two polynomials, and the coefficient of xⁿ gathers every product whose powers add up to n. Write all products
on a towel and roll it up corner first: those that come to lie on one another are those with i + j = n. Long
multiplication does the same, and then carries.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

print(jj.explain.rolling([1, 2, 3], [10, 20, 30]))

# %%
# The towel, the line x + y = 2 across it, and the sums below.

rolled = jj.explain.rolling([1, 2, 3], [10, 20, 30])
figure, axis = plt.subplots(figsize=(4.2, 3.4))
place = np.add.outer(np.arange(3), np.arange(3))
axis.imshow(place, "Pastel1", vmin=0, vmax=8)
for (row, column), value in np.ndenumerate(rolled.outer):
    axis.text(column, row, value, ha="center", va="center", fontsize=12)
axis.plot([-0.45, 2.45], [2.45, -0.45], color="#c2124f", lw=2)
axis.text(-0.45, 2.66, "100", color="#c2124f", ha="center", va="center", clip_on=False)
axis.set(xticks=range(3), yticks=range(3), xticklabels=[10, 20, 30], yticklabels=[1, 2, 3])
axis.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)

# %%
# (1 + 2x)(3 + x²), coefficients by rising power; integers of any size stay exact, so that a hundred multiplications by
# 1 + x give the hundredth row of Pascal's triangle to the last digit.

print(jj.signal.polynomial_product([1, 2], [3, 0, 1]))
row = [1]
for _ in range(100):
    row = jj.signal.polynomial_product(row, [1, 1])
print(row[50])

# %%
# Numbers are polynomials in 10: 123 × 45 is the convolution of their digits, and then the carries.

digits = jj.signal.polynomial_product([3, 2, 1], [5, 4])
print(digits, sum(int(digit) * 10**power for power, digit in enumerate(digits)), 123 * 45)
