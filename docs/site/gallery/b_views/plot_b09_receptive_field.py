"""
Receptive fields
================

What part of the picture can change one unit deep in a network? One 3×3 layer sees 3×3, two see 5×5.
``receptive_field`` follows any graph backwards, with branches, strides and dilations.
"""

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle
from skimage import data

import juanji as jj

nn, explain = jj.nn, jj.explain
net = nn.Sequential(nn.Conv(4, 3), nn.Conv(4, 3), shape=(1, 9, 9))
for layer in ("conv1", "conv2"):
    print(explain.receptive_field(net, layer))

# %%
# Values of known networks, as published: size, stride and padding.

for name, layer in (("vgg-16", "pool5"), ("vgg-16", "conv5_3"), ("alexnet", "pool5"), ("resnet-50", "layer4.2.add")):
    field = explain.receptive_field(nn.models.named.unbuilt(name), layer, input_shape=(3, 224, 224))
    print(f"{name:10} {layer:12} size {field.size[0]}, stride {field.stride[0]}, padding {field.padding[0]}")

# %%
# One unit in the middle of VGG-16's layers, drawn on a photograph of 224×224. The deeper the layer, the more it sees;
# the last ones see beyond the picture.

photo = data.chelsea()[30:254, 110:334]
vgg = nn.models.named.unbuilt("vgg-16")
figure, axis = plt.subplots(figsize=(4.6, 4.6))
axis.imshow(photo)
for layer, colour in zip(("pool1", "pool2", "pool3", "pool4"), ("#ffd23f", "#f58231", "#e6194b", "#7fd1ff"), strict=True):
    (top, bottom), (left, right) = explain.receptive_field(vgg, layer, input_shape=(3, 224, 224)).region
    axis.add_patch(Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False, ec=colour, lw=2, label=layer))
axis.set(xticks=[], yticks=[])
axis.legend(loc="lower left", labelcolor="w", fontsize=9)

# %%
# That is what a unit *can* see. How strongly does it depend on each pixel? The mean size of the gradient falls off like
# a Gaussian: the *effective* receptive field is much smaller than the theoretical one, which is the frame.

stack = nn.Sequential(*(op for _ in range(10) for op in (nn.Conv(8, 3, padding=1), nn.ReLU())), shape=(1, 41, 41))
field = explain.effective_field(stack, "conv10")
(top, bottom), (left, right) = explain.receptive_field(stack, "conv10").region
figure, axis = plt.subplots(figsize=(4.2, 3.6))
shown = axis.imshow(field, "Blues")
axis.add_patch(Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False, ec="#c2124f", lw=1.5))
axis.set(xticks=[], yticks=[])
figure.colorbar(shown)
