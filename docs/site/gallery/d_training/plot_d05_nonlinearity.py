"""
What is lost without the nonlinearity
=====================================

A typical layer has three stages: a convolution, an activation, a pooling. Leave out the activation and the layers
collapse: a matrix times a matrix is a matrix, and ten layers can do no more than one.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

nn = jj.nn
x = np.linspace(-4, 4, 201)[None, None]
figure, axes = plt.subplots(1, 4, figsize=(10, 2.1))
for axis, name in zip(axes, ("sigmoid", "tanh", "relu", "leaky_relu"), strict=True):
    axis.axhline(0, color="0.8", lw=0.8)
    axis.plot(x[0, 0], jj.conv(x, np.ones((1, 1, 1)), activation=name)[0, 0])
    axis.set_title(name)

# %%
# A disc within a ring: no straight line parts them. The same network, with an activation and without one.

rng = np.random.default_rng(0)


def rings(count):
    """Points within a disc, class 0, and in a ring around it, class 1."""
    y = np.arange(count) % 2
    radius, angle = rng.uniform(0, 0.8, count) + 1.2 * y, rng.uniform(0, 2 * np.pi, count)
    return jj.data.Samples(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)[:, :, None].astype("float32"), y)


train, test = rings(400), rings(400)
plane = np.stack(np.meshgrid(np.linspace(-2.2, 2.2, 120), np.linspace(-2.2, 2.2, 120)), -1).reshape(-1, 2, 1).astype("float32")
figure, axes = plt.subplots(1, 4, figsize=(10.4, 2.8))
for axis, activation in zip(axes, (nn.ReLU, nn.Tanh, nn.Sigmoid, None), strict=True):
    layers = [op for _ in range(2) for op in (nn.Dense(16), *([activation()] if activation else []))]
    net = nn.Sequential(nn.Flatten(), *layers, nn.Dense(2))
    nn.train(net, train, optimizer=nn.Adam(0.02), epochs=30, batch_size=50, quiet=True)
    axis.imshow(net(plane).argmax(1).reshape(120, 120), "PuOr", vmin=-1, vmax=2, extent=(-2.2, 2.2, -2.2, 2.2), origin="lower")
    axis.scatter(*test.x[::3, :, 0].T, s=3, c=np.where(test.y[::3], "#1f5d94", "#a44d00"))
    accuracy = nn.evaluate(net, test)["accuracy"]
    axis.set(title=activation.__name__ if activation else "none", xlabel=f"{accuracy:.1%}", xticks=[], yticks=[])

# %%
# The same with digits and two layers of convolution. Lines part these small digits almost as well, so that little is
# lost; of MNIST's 28×28 pixels such a pair of networks reads more than 97.5% with an activation, and less than 93.5%
# without.

train, test = jj.data.load("digits")
for name, activation in (("relu", [nn.ReLU()]), ("none", [])):
    first, second = (nn.Conv(16, 3, padding=1), *activation), (nn.Conv(32, 3, padding=1), *activation)
    net = nn.Sequential(*first, nn.AvgPool(2), *second, nn.Flatten(), nn.Dropout(0.2), nn.Dense(10))
    net.preprocessing = nn.Preprocessing(mean=0, deviation=16)
    history = nn.train(net, train, test, optimizer=nn.SGD(0.05, momentum=0.9), schedule=nn.OneCycle(), epochs=12, quiet=True)
    print(f"{name}: {history.epochs[-1]['validation_accuracy']:.1%}")
