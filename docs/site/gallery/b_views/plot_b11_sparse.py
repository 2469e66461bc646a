"""
Who reaches whom
================

In a dense layer every input touches every output. With a kernel of width 3 an input reaches three outputs, and an
output sees three inputs; through more layers the cone opens by two with each.
"""

import matplotlib.pyplot as plt

import juanji as jj

layers = [jj.explain.Window(3, padding=1)] * 3
down, up = jj.explain.outputs_of((4,), (9,), layers), jj.explain.inputs_of((4,), (9,), layers)
print(down, up, sep="\n\n")

# %%
# Left, what input 4 reaches; right, what unit 4 of the last layer sees.

figure, axes = plt.subplots(1, 2, figsize=(9.4, 2.9))
for axis, reach in zip(axes, (down, up), strict=True):
    marked = [set(elements[0].tolist()) for elements in reach.elements]
    for level in range(4):
        for place in range(9):
            for to in range(max(place - 1, 0), min(place + 2, 9)) if level < 3 else ():
                hit = place in marked[level] and to in marked[level + 1]
                axis.plot([place, to], [level, level + 1], color="#2f7fc1" if hit else "0.85", lw=1.6 if hit else 0.7, zorder=1 + hit)
            axis.scatter(place, level, 90, color="#2f7fc1" if place in marked[level] else "#ffffff", ec="0.4", zorder=4)
    axis.set(xticks=[], yticks=range(4), yticklabels=["input", "layer 1", "layer 2", "layer 3"])
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
