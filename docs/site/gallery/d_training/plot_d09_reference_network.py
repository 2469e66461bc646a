"""
A small network, whole
======================

Three stages of convolution, relu and pooling, and a dense layer with softmax, for pictures of 32×32 pixels in colour.
Its shapes and its 22,466 parameters:
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

net = jj.nn.models.get("three-stages")
print(jj.explain.layer_table(net))

# %%
# Where the parameters are, and where the work is: dense layers hold few numbers here, and the second convolution does
# half of the work.

rows = [row for row in jj.explain.layer_table(net).layers if row.parameters]
figure, axes = plt.subplots(1, 2, figsize=(9.4, 2.4))
for axis, column, title in zip(axes, ("parameters", "macs"), ("parameters", "multiply-adds"), strict=True):
    bars = axis.barh([row.name for row in rows], [getattr(row, column) for row in rows])
    axis.bar_label(bars, [f"{getattr(row, column):,}" for row in rows], padding=4)
    axis.set(title=title, xticks=[])
    axis.margins(x=0.28)
    axis.invert_yaxis()

# %%
# The texts give the network sizes; ``Sequential`` reads like them.

nn = jj.nn
stages = [op for maps in (16, 20, 20) for op in (nn.Conv(maps, 5, padding=2), nn.ReLU(), nn.MaxPool(2))]
own = nn.Sequential(*stages, nn.Flatten(), nn.Dense(10), nn.Softmax(), shape=(3, 32, 32))
print(sum(array.size for array in own.parameters.values()), own(np.zeros((1, 3, 32, 32), "float32")).round(2))
