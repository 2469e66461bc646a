"""
What a filter looks for
=======================

Start from grey with a little noise and change the picture, step by step, so that one filter answers more strongly.
What appears is what the filter looks for. The network has the shape of VGG-16 and real weights, fine-tuned to find
edges. This page needs the folder ``JUANJI_DATA`` with its file.
"""

import juanji as jj

net = jj.nn.models.get("vgg16-edges", weights="pretrained")

# %%
# Early layers want edges and colours:

figure = jj.show.maximise(net, "conv1_2", filters=16, columns=8, size=64)

# %%
# In the middle there are textures,

figure = jj.show.maximise(net, "conv3_2", filters=16, columns=8, size=96)

# %%
# and the first convolution of block 5 wants patterns made of patterns. Filters that show no answer are left out, the
# others are sorted by it.

figure = jj.show.maximise(net, "conv5_1", filters=12, columns=6, size=128)

# %%
# In numbers: the mean spatial frequency of such pictures, and how much they prefer one orientation, from layer to
# layer.

layers = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
figure = jj.show.frequencies([jj.inside.frequency(net, layer, 8, size=64) for layer in layers])
