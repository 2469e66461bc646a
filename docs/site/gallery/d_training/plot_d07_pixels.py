"""
An answer for every pixel
=========================

A network of convolutions alone takes pictures of any size and can answer with a picture: a probability at each pixel
that it belongs to a nucleus (a *mask*, by the sigmoid), or a class at each pixel (by the softmax over the classes).
This page needs the folder ``JUANJI_DATA`` with the micrograph *nuclei*.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

nn = jj.nn
upper, lower = jj.data.load("nuclei", masks="stored", test_fraction=0.5)  # learn from the upper half, judge on the lower


def learned(targets, classes, loss):
    """A small U-Net, trained for 60 steps on windows of the upper half."""
    net = nn.models.get("unet", classes=classes, shape=(1, 64, 64))
    net.preprocessing = nn.Preprocessing(float(upper.x.mean()), float(upper.x.std()))
    windows = jj.data.patches(upper.x[0], targets[0], size=64, step=16)
    nn.train(net, windows, loss=loss, optimizer=nn.Adam(3e-3), schedule=nn.OneCycle(), batch_size=8, max_iterations=60, quiet=True)
    return net


net = learned((upper.y > 0).astype("uint8"), 1, "sigmoid_cross_entropy")
probability = 1 / (1 + np.exp(-net(lower.x)[0, 0].astype(float)))
found, truth = probability > 0.5, lower.y[0] > 0
print(f"intersection over union {np.count_nonzero(found & truth) / np.count_nonzero(found | truth):.3f}")

# %%
# The micrograph, the probability at every pixel, and what people marked, on the half that the network has not seen.

figure, axes = plt.subplots(3, 1, figsize=(7.6, 12.2))
axes[0].imshow(lower.x[0, 0], vmax=np.percentile(lower.x, 99.5))
axes[1].imshow(probability, "Blues", vmin=0, vmax=1)
axes[2].imshow(truth, "Blues", vmin=0, vmax=1)
for axis, title in zip(axes, ("micrograph", "probability", "marked by people"), strict=True):
    axis.set(title=title, xticks=[], yticks=[])

# %%
# **Three classes**: background, inside, and the border between, which keeps nuclei apart that touch.


def three_classes(objects):
    """0 background, 1 border, 2 inside: border is where another number lies within two pixels."""
    numbers = objects[:, None].astype("float32")
    window = {"size": 5, "stride": 1, "padding": 2}
    border = jj.pool(numbers, **window) != -jj.pool(-numbers, **window)
    return np.where(border, 1, np.where(numbers == 0, 0, 2))[:, 0].astype("uint8")


net = learned(three_classes(upper.y), 3, "softmax_cross_entropy")
colours = np.array([(20, 20, 30), (240, 170, 40), (70, 130, 200)], "uint8")
figure, axes = plt.subplots(2, 1, figsize=(7.6, 8.2))
for axis, classes, title in zip(axes, (net(lower.x)[0].argmax(0), three_classes(lower.y)[0]), ("found", "marked by people"), strict=True):
    axis.imshow(colours[classes])
    axis.set(title=title, xticks=[], yticks=[])
