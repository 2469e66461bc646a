"""
Why weights start from random numbers
=====================================

If all kernels of a layer start equal, they see the same, get the same gradient and stay equal for ever: eight kernels
that are one.
"""

import matplotlib.pyplot as plt

import juanji as jj

nn = jj.nn
train, test = jj.data.load("digits")


def network(start):
    """A layer of eight kernels, and a dense layer that reads them, both from the same kind of start."""
    net = nn.Sequential(nn.Conv(8, 3, weight=start), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(10, weight=start))
    net.preprocessing = nn.Preprocessing(mean=0, deviation=16)
    return net


nets = {"all 0.05": network(0.05), "normal · 0.01": network("normal"), "He": network("he")}
for name, net in nets.items():
    history = nn.train(net, train, test, optimizer=nn.SGD(0.05, momentum=0.9), epochs=8, quiet=True)
    print(f"{name:14} different kernels: {nn.distinct_units(net)['conv1']}, accuracy {history.epochs[-1]['validation_accuracy']:.1%}")

# %%
# The eight kernels of each first layer after training:

figure, axes = plt.subplots(3, 8, figsize=(8.6, 3.6))
for row, (name, net) in zip(axes, nets.items(), strict=True):
    kernels = net.parameters["conv1.weight"][:, 0]
    for axis, kernel in zip(row, kernels, strict=True):
        axis.imshow(kernel, "PuOr", vmin=-abs(kernels).max(), vmax=abs(kernels).max())
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")

# %%
# The classical texts start from a normal distribution times 0.01. Deep networks with ReLU want a spread that fits the
# number of inputs, √(2 / inputs), so that signals neither die away nor grow from layer to layer; that start is named
# after He.

for start, name in (("normal", "normal · 0.01"), ("he", "He")):
    net = nn.Sequential(*(op for _ in range(8) for op in (nn.Conv(32, 3, padding=1, weight=start), nn.ReLU())))
    net.preprocessing = nn.Preprocessing(mean=0, deviation=16)
    found = net.features(test.x[:50], [f"relu{k}" for k in range(1, 9)])
    print(f"{name:14}", *(f"{found[f'relu{k}'].std():.1e}" for k in (1, 2, 4, 8)))
