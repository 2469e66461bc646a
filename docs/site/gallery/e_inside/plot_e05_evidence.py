"""
What speaks for a class
=======================

A classifier says "tiger cat". Because of what? Four answers: the gradient of the score in every pixel, the gradient
that lets only what speaks for the class through, the last maps weighted by their gradients (Grad-CAM), and how far
the score falls where a patch hides the picture. This page needs the folder ``JUANJI_DATA`` with the weights of
EfficientNet-Lite0.
"""

from skimage import data

import juanji as jj
from juanji.nn.predicting import predict

net = jj.nn.models.get("efficientnet-lite0", weights="pretrained")
photo = data.chelsea()
for name, probability in predict(net, photo).best(3):
    print(f"{probability:.2f}  {name}")

# %%
# Blue speaks for the class, orange against it.

figure = jj.show.evidence(net, photo)

# %%
# The same for a cup of coffee:

coffee = data.coffee()
print(predict(net, coffee).best(1))
figure = jj.show.evidence(net, coffee)

# %%
# ``jj.show.report`` writes all of it into one page: layers, receptive fields, kernels, maps, what filters look for,
# what speaks for the answer. On the command line:
#
# .. code-block:: console
#
#    juanji look efficientnet-lite0 photo.jpg -o report.html
