"""
A network learns to read digits
===============================

Layers, kernel sizes, an optimiser, a number of passes: ``train`` shows the network samples in small batches, and
after each moves every weight a little against its gradient. The samples are 1,797 handwritten digits of 8×8 pixels; a
quarter is held back, and what counts is how many of those are read correctly.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

nn = jj.nn
train, test = jj.data.load("digits")
net = nn.Sequential(nn.Conv(16, 3, padding=1), nn.ReLU(), nn.MaxPool(2), nn.Conv(32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dense(10))
net.preprocessing = nn.Preprocessing(mean=0, deviation=16)  # pixels are 0 to 16
history = nn.train(net, train, test, optimizer=nn.SGD(0.05, momentum=0.9), schedule=nn.OneCycle(), epochs=12, quiet=True)
print(f"{len(train)} to learn from, {len(test)} held back")
print(f"accuracy {history.epochs[-1]['validation_accuracy']:.1%} after {len(history.losses)} iterations")

# %%
# The loss of every batch, and the accuracy on the digits that the network has not seen.

figure, (left, right) = plt.subplots(1, 2, figsize=(9.4, 2.8))
left.plot(history.losses, lw=1)
left.set(xlabel="iteration", ylabel="loss", yscale="log")
right.plot([line["epoch"] for line in history.epochs], [line["validation_accuracy"] for line in history.epochs], "o-")
right.set(xlabel="epoch", ylabel="accuracy", ylim=(0.8, 1))

# %%
# Those that it reads wrongly, with what it took them for:

answers = net(test.x).argmax(axis=1)
wrong = np.flatnonzero(answers != test.y)[:8]
figure, axes = plt.subplots(1, 8, figsize=(10, 1.7))
for axis in axes:
    axis.set_axis_off()
for axis, place in zip(axes, wrong, strict=False):
    axis.imshow(test.x[place, 0], "gray_r")
    axis.set_title(f"{test.y[place]} → {answers[place]}")

# %%
# **When to stop.** After a number of iterations, or when nothing moves any more: with ``tol``, as soon as no weight and
# no bias changed by as much.

small = nn.Sequential(nn.Conv(4, 3), nn.Sigmoid(), nn.MaxPool(2), nn.Flatten(), nn.Dense(10))
small.preprocessing = net.preprocessing
history = nn.train(small, train[:60], optimizer=nn.SGD(0.5), tol=5e-3, max_iterations=4000, batch_size=60, quiet=True)
print(history.stopped, "after", len(history.losses), "iterations;", {name: array.shape for name, array in small.parameters.items()})
