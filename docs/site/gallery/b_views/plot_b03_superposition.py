"""
Copies that add up
==================

Strike a bell once and it rings and dies away: that is its *response*. Strike it many times, softly and hard, and what
you hear is the sum of as many responses, each begun at its own time and as loud as its own blow. That sum is the
convolution of the blows with the response.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

print(jj.signal.superpose([2, 3, 5], [7, 11, 13]))

# %%
# With letters in place of numbers: (a, b, c) and (i, j, k) give ai, bi + aj, ci + bj + ak, cj + bk, ck. Which products
# make up element n? Those whose places add up to n.

launched = jj.signal.superpose([2, 3, 5], [7, 11, 13])
for n in range(5):
    print(f"n = {n}:", " + ".join(f"x[{i}]·y[{j}]" for i, j, _ in launched.terms(n)), "=", launched.sum[n])

# %%
# Five blows to a bell. Each thin line is the copy that one blow launches; the thick one is what is heard.

t = np.arange(120)
bell = np.exp(-t / 18) * np.cos(t / 3)
blows = np.zeros(160)
blows[[5, 30, 62, 70, 110]] = [1.0, 0.6, 0.9, -0.7, 1.2]
launched = jj.signal.superpose(blows, bell)
figure, (above, below) = plt.subplots(2, 1, figsize=(9, 4.2), sharex=True, height_ratios=(1, 2.4))
above.vlines(np.flatnonzero(blows), 0, blows[blows != 0], lw=3)
above.axhline(0, color="0.7", lw=0.8)
above.set_ylabel("blows")
for start in np.flatnonzero(blows):
    copy = np.where(np.arange(279) >= start, launched.copies[start], np.nan)
    below.plot(copy, color="#d9791b", lw=0.9, alpha=0.8)
below.plot(launched.sum, label="sum")
below.set(ylabel="heard", xlim=(0, 240))
