"""
Kernels and maps of a trained network
=====================================

A network that has learned to read digits: what its kernels became, and what every layer makes of one picture. The first layer's kernels are
compared with the classics; many networks find edge detectors by themselves. This page needs the folder ``JUANJI_DATA`` with MNIST.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

nn = jj.nn
train, test = jj.data.load("mnist")
net = nn.Sequential(
    nn.Conv(8, 5, padding=2), nn.ReLU(), nn.MaxPool(2), nn.Conv(16, 3, padding=1), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(10)
)  # fmt: skip
history = nn.train(net, train[:12000], test[:2000], optimizer=nn.SGD(0.1, momentum=0.9), schedule=nn.OneCycle(), epochs=2, quiet=True)
print(f"accuracy {history.epochs[-1]['validation_accuracy']:.1%}")

# %%
# The eight kernels of the first layer. Under each, the classic that it is most like, and the cosine between the two.

kernels = net.parameters["conv1.weight"][:, 0]
grid = np.mgrid[-2:3, -2:3]
bell = np.exp(-(grid**2).sum(0) / 2)
classics = {"sobel x": grid[1] * bell, "sobel y": grid[0] * bell, "gaussian": bell, "laplacian": (2 - (grid**2).sum(0)) * bell}
classics |= {"diagonal": (grid[0] + grid[1]) * bell, "other diagonal": (grid[0] - grid[1]) * bell}
names, shapes = list(classics), np.stack([kernel.ravel() / np.linalg.norm(kernel) for kernel in classics.values()])
figure, axes = plt.subplots(1, 8, figsize=(10.6, 1.8))
for axis, kernel in zip(axes, kernels, strict=True):
    cosines = shapes @ kernel.ravel() / np.linalg.norm(kernel)
    best = np.abs(cosines).argmax()
    axis.imshow(kernel, "PuOr", vmin=-np.abs(kernels).max(), vmax=np.abs(kernels).max())
    axis.set(xticks=[], yticks=[], title=names[best], xlabel=f"{cosines[best]:+.2f}")

# %%
# One digit on its way through the layers: convolution, relu, pooling, and again.

layers = ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2"]
maps = net.features(test.x[:1], layers)
figure, axes = plt.subplots(6, 9, figsize=(10.2, 7.2))
for row, layer in zip(axes, layers, strict=True):
    reach = np.abs(maps[layer]).max()
    row[0].imshow(test.x[0, 0], "gray_r")
    row[0].set_ylabel(f"{layer}\n{'×'.join(map(str, maps[layer].shape[1:]))}", rotation=0, ha="right", va="center")
    for axis, feature in zip(row[1:], maps[layer][0], strict=False):
        axis.imshow(feature, "PuOr", vmin=-reach, vmax=reach)
    for axis in row:
        axis.set(xticks=[], yticks=[])
