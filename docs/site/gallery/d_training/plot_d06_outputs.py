"""
What a network can answer
=========================

The last layer decides what kind of answer there is: a class with probabilities, a number, or, taken from an inner
layer, a row of features that other programs can work with.
"""

import matplotlib.pyplot as plt
import numpy as np

import juanji as jj

nn = jj.nn
train, test = jj.data.load("digits")
seen = (nn.Conv(16, 3, padding=1), nn.ReLU(), nn.MaxPool(2), nn.Conv(32, 3), nn.ReLU())
net = nn.Sequential(*seen, nn.Flatten(), nn.Dense(24), nn.ReLU(), nn.Dense(10))
net.preprocessing = nn.Preprocessing(mean=0, deviation=16)
nn.train(net, train, optimizer=nn.SGD(0.05, momentum=0.9), schedule=nn.OneCycle(), epochs=10, quiet=True)

# %%
# **Classes.** Ten scores; softmax makes them probabilities, positive and adding up to one. Sure of the first digits,
# unsure of the last.

scores = net(test.x).astype("float64")
probabilities = np.exp(scores - scores.max(1, keepdims=True))
probabilities /= probabilities.sum(1, keepdims=True)
order = np.argsort(-probabilities.max(1))
figure, axes = plt.subplots(2, 6, figsize=(10, 3), height_ratios=(1.2, 1))
for (picture, bars), place in zip(axes.T, (*order[:2], *order[len(order) // 2 :][:1], *order[-3:]), strict=True):
    picture.imshow(test.x[place, 0], "gray_r")
    picture.set_axis_off()
    bars.bar(range(10), probabilities[place])
    bars.set(ylim=(0, 1), xticks=range(10), yticks=[])
    bars.tick_params(labelsize=7, length=0)

# %%
# **A row of features.** Without its last layer the network turns each picture into 24 numbers; pictures that mean the
# same lie close together. Each first digit with its four nearest neighbours among those held back:

features = net.features(test.x, ["relu3"])["relu3"]
features /= np.linalg.norm(features, axis=1, keepdims=True) + 1e-9
figure, axes = plt.subplots(3, 5, figsize=(5.2, 3.2))
for row, place in zip(axes, (3, 12, 40), strict=True):
    near = np.argsort(-(features @ features[place]))[:5]
    for axis, found in zip(row, near, strict=True):
        axis.imshow(test.x[found, 0], "gray_r" if found != place else "Blues")
        axis.set(xticks=[], yticks=[])

# %%
# **Numbers.** Trained on squared errors, the output is a real number. Here: by how many degrees a digit was turned.


def turned(pictures, degrees):
    """Each picture turned about its middle, between pixels by the four nearest."""
    rows, columns = np.mgrid[-3.5:4.5, -3.5:4.5]
    angle = np.radians(degrees)[:, None, None]
    at = np.stack([np.cos(angle) * rows - np.sin(angle) * columns, np.sin(angle) * rows + np.cos(angle) * columns]) + 3.5
    low, part = np.floor(at).astype(int), at % 1
    total = np.zeros(pictures.shape)
    for down, right in np.ndindex(2, 2):
        share = np.abs(1 - down - part[0]) * np.abs(1 - right - part[1])
        inside = (low[0] + down).clip(0, 7), (low[1] + right).clip(0, 7)
        total += share * pictures[np.arange(len(pictures))[:, None, None], inside[0], inside[1]]
    return total


rng = np.random.default_rng(0)
halves = []
for samples, times in ((train, 6), (test, 1)):
    sevens = np.tile(samples.x[samples.y == 7, 0].astype(float), (times, 1, 1))
    angles = rng.uniform(-60, 60, len(sevens))
    halves.append(jj.data.Samples(turned(sevens, angles)[:, None].astype("float32") / 16, (angles / 60).astype("float32")[:, None]))
net = nn.Sequential(nn.Conv(16, 3, padding=1), nn.ReLU(), nn.MaxPool(2), nn.Conv(32, 3), nn.ReLU(), nn.Flatten(), nn.Dense(1))
nn.train(net, *halves, loss="squared_error", optimizer=nn.Adam(3e-3), schedule=nn.CosineDecay(), epochs=30, quiet=True)
found, wanted = 60 * net(halves[1].x)[:, 0], 60 * halves[1].y[:, 0]
print(f"sevens turned by up to 60°: mean error {np.abs(found - wanted).mean():.1f}° on {len(wanted)} held back")
figure, axis = plt.subplots(figsize=(3.6, 3.4))
axis.plot([-60, 60], [-60, 60], color="0.8")
axis.scatter(wanted, found, s=14)
axis.set(xlabel="turned by", ylabel="network's answer", xticks=(-60, 0, 60), yticks=(-60, 0, 60))
