"""
Counting: full, local, tiled, shared
====================================

Between a picture and a layer of hidden units there could be a weight for every pair. Seeing only a window, then
taking turns, then sharing one kernel: each is a stronger assumption about pictures, and leaves fewer numbers to
learn.
"""

import matplotlib.pyplot as plt

import juanji as jj

ladder = jj.explain.counts((1, 1000, 1000), (1, 1, 10, 10), padding="same", boundary="wrap", tiles=2).ladder
figure, axis = plt.subplots(figsize=(8, 2.4))
bars = axis.barh([rung.name for rung in ladder], [rung.weights for rung in ladder])
axis.bar_label(bars, [f"{rung.weights:,}" for rung in ladder], padding=5)
axis.set(xscale="log", xlim=(10, 1e15), xlabel="weights, 1000×1000 pixels to 10⁶ units, windows of 10×10")
axis.invert_yaxis()

# %%
# A picture of 28×28 with windows of 5×5: 24×24 = 576 windows share 25 weights and one bias.

print(jj.explain.counts((1, 28, 28), (1, 1, 5, 5)))

# %%
# A layer of K kernels of F×F over D channels has K·F·F·D weights and K biases. The first layer of AlexNet:

first = jj.explain.counts((3, 227, 227), (96, 3, 11, 11), stride=4)
print(f"{first.weights:,} = 96·11·11·3 weights, {first.biases} biases, {first.macs:,} multiply-adds")

# %%
# And whole networks, layer by layer:

print(jj.explain.layer_table(jj.nn.models.get("lenet-5")))
