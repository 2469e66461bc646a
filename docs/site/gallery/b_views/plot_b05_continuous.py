"""
A bakery, and time that does not come in steps
==============================================

A bakery makes bread at a rate f(t), and a loaf of age a is still good in the part g(a). How much good bread is there
at the end of the day? What was made at τ has the age 24 − τ, so that it is ∫ f(τ)·g(24 − τ) dτ: a convolution in
which the sum is an integral.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj


def good(age):
    """The part still good at an age in hours."""
    return np.exp(-age / 10)


bread, made = jj.signal.convolve_continuous(10, good, 24.0), jj.signal.production(10, 24.0)
print(f"{bread.value:.3f} good loaves of {made.value:.0f} made, error below {bread.error:.0e}")

# %%
# ``g`` may as well grow: with the part that has spoilt, the same integral counts the bad loaves, and both add up to all
# that were made.

spoilt = jj.signal.convolve_continuous(10, lambda age: 1 - good(age), 24.0)
print(f"{spoilt.value:.3f} + {bread.value:.3f} = {spoilt.value + bread.value:.3f}")

# %%
# Over a week, with a baker who works by day. Each hour's batch decays by itself; the line is the sum of what is left of
# all of them.


def rate(t):
    """Loaves an hour: from five in the morning, for eight hours."""
    return np.where((t % 24 >= 5) & (t % 24 < 13), 30.0, 0.0)


t = np.linspace(0, 96, 385)
shifts = np.concatenate([24 * np.arange(4) + 5, 24 * np.arange(4) + 13])
left = jj.signal.convolve_continuous(rate, good, t, points=shifts)
figure, axis = plt.subplots(figsize=(9, 3))
axis.fill_between(t, 0, rate(t), step="mid", color="0.88", label="rate, loaves an hour")
axis.plot(t, left.value, label="good loaves")
axis.plot(t, jj.signal.production(rate, t, points=shifts).value / 4, "--", lw=1.2, label="all made, a quarter of them")
axis.set(xlabel="hours", xticks=range(0, 97, 24), xlim=(0, 96), ylim=(0, None))
axis.legend(loc="upper left", ncols=3)
axis.margins(y=0.25)
axis.set_ylim(0, 320)
