"""
A kernel that is not trained
============================

A fixed kernel can stand between layers: a Gaussian behind a feature layer, say, so that pooling after it does not
alias. Errors pass through it, but it stays as it is.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

nn = jj.nn
train, test = jj.data.load("digits")
gaussian = jj.image.kernels.gaussian(0.8, size=3)
net = nn.Sequential(nn.Conv(8, 3, padding=1), nn.ReLU(), nn.Filter(gaussian), nn.AvgPool(2), nn.Flatten(), nn.Dense(10), shape=(1, 8, 8))
net.preprocessing = nn.Preprocessing(mean=0, deviation=16)
before = {name: array.copy() for name, array in (net.parameters | net.buffers).items()}
history = nn.train(net, train, test, optimizer=nn.SGD(0.05, momentum=0.9), epochs=10, quiet=True)
for name, array in (net.parameters | net.buffers).items():
    print(f"{name:14} moved by up to {np.abs(array - before[name]).max():.3f}")
print(f"accuracy {history.epochs[-1]['validation_accuracy']:.1%}")

# %%
# The three liveliest maps of one digit, before and behind the fixed kernel.

maps = net.features(test.x[:1], ["relu1", "filter1"])
liveliest = np.argsort(-maps["relu1"][0].std((1, 2)))[:3]
figure, axes = plt.subplots(2, 3, figsize=(5.6, 3.8))
for row, name in zip(axes, ("relu1", "filter1"), strict=True):
    for axis, feature in zip(row, liveliest, strict=True):
        axis.imshow(maps[name][0, feature], "Blues", vmin=0, vmax=maps["relu1"].max())
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
