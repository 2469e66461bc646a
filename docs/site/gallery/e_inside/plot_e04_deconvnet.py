"""
From an activation back to pixels
=================================

Take the strongest activation of a layer and send it back through the network: through unpooling with the remembered
places of the maxima, through rectification, and through the transposed kernels. What arrives is the part of the
picture that the unit was about. This page needs the folder ``JUANJI_DATA`` with the weights of a network of VGG-16's
shape.
"""

from skimage import data

import juanji as jj

net = jj.nn.models.get("vgg16-edges", weights="pretrained")
photo = data.chelsea()[20:276, 90:346]

# %%
# The strongest units of an early layer, each with the patch that it sees and what arrives there:

figure = jj.show.deconvnet(net, photo, "conv2_2", strongest=6)

# %%
# Of a later one. The patches are larger, and hold parts: here above all the eyes.

figure = jj.show.deconvnet(net, photo, "conv4_2", strongest=6)

# %%
# What such a unit sees of the picture, and what of that it really depends on:

figure = jj.show.receptive_field(net, "conv4_2", x=photo)

# %%
# EfficientNet-Lite0 has strides where this network has max pooling, so nothing remembers places on the way back, and a
# late activation arrives as a grid:

classifier = jj.nn.models.get("efficientnet-lite0", weights="pretrained")
figure = jj.show.deconvnet(classifier, photo, "blocks.9.project_conv", strongest=3)

# %%
# Guided, each rectifier lets pass only what was positive on the way forward as well. Early units saw edges,

figure = jj.show.deconvnet(classifier, photo, "blocks.2.expand_conv", strongest=6, guided=True)

# %%
# late ones eyes.

figure = jj.show.deconvnet(classifier, photo, "blocks.9.project_conv", strongest=6, guided=True)
