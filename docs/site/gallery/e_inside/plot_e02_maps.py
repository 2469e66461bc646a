"""
Kernels and maps of a trained network
=====================================

A network that has learned to read digits: what its kernels became, and what every layer makes of one picture. Under
each kernel stands the classic that it is most like; many networks find edge detectors by themselves. This page needs
the folder ``JUANJI_DATA`` with MNIST.
"""

import juanji as jj

nn = jj.nn
train, test = jj.data.load("mnist")
net = nn.Sequential(
    nn.Conv(8, 5, padding=2), nn.ReLU(), nn.MaxPool(2), nn.Conv(16, 3, padding=1), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(10),
    shape=(1, 28, 28),
)  # fmt: skip
history = nn.train(net, train[:12000], test[:2000], optimizer=nn.SGD(0.1, momentum=0.9), schedule=nn.OneCycle(), epochs=2, quiet=True)
print(f"accuracy {history.epochs[-1]['validation_accuracy']:.1%}")

# %%
# The eight kernels of the first layer. The number is the cosine between a kernel and its classic, − for its negative.

figure = jj.show.kernels(net)

# %%
# One digit on its way through the layers: convolution, relu, pooling, and again.

figure = jj.show.maps(net, test.x[0, 0])

# %%
# The same as stacks. Convolved with 6 and then with 10 kernels, a picture becomes 6 maps and then 10, and each of the
# 10 kernels is 6 deep: its window goes through the whole stack.

layers = (nn.Conv(6, 5, name="six"), nn.ReLU(), nn.Conv(10, 3, name="ten"), nn.ReLU())
stack = nn.Sequential(*layers, nn.Flatten(), nn.Dense(10), shape=(1, 28, 28))
nn.train(stack, train[:4000], optimizer=nn.SGD(0.05, momentum=0.9), epochs=1, quiet=True)
figure = jj.show.stacked(stack, test.x[0, 0])
