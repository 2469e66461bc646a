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
# and the first convolution of block 5 wants patterns made of patterns. Of its first 200 filters those that show no answer
# are left out, and the 64 that answer most are shown, sorted by it. Equal letters mark filters that look for the same,
# perhaps turned by the angle.

figure = jj.show.maximise(net, "conv5_1")

# %%
# In numbers: the mean spatial frequency of such pictures, and how much they prefer one orientation, from layer to
# layer.

layers = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
figure = jj.show.frequencies([jj.inside.frequency(net, layer, 8, size=64) for layer in layers])

# %%
# A classifier of a thousand things, EfficientNet-Lite0. Its first layer wants colours, edges and checks; a layer of the
# middle, textures; the last convolution, whole scenes. The picture is moved a little at each step and kept smooth, which
# shows more of what a filter means and less of what its network happens to let through.

classifier = jj.nn.models.get("efficientnet-lite0", weights="pretrained")
smooth = {"jitter": 4, "variation": 0.05}
figure = jj.show.maximise(classifier, "conv_stem", filters=16, size=64)
figure = jj.show.maximise(classifier, "blocks.4.project_conv", filters=16, size=96, steps=40, **smooth)
figure = jj.show.maximise(classifier, "conv_head", filters=16, size=160, steps=60, **smooth)

# %%
# In numbers:

layers = ("conv_stem", "blocks.2.project_conv", "blocks.5.project_conv", "blocks.9.project_conv", "conv_head")
figure = jj.show.frequencies([jj.inside.frequency(classifier, layer, 8, size=64) for layer in layers])
