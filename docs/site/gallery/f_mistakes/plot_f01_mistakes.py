"""
Common mistakes, and what they look like
========================================

None of these raises an error. Each gives a picture that is nearly right, which is why it helps to have seen it once.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

import juanji as jj

photo = data.chelsea()[:, 60:420]
grey = photo.astype("float32").mean(-1)


def beside(*pictures):
    """Pictures side by side: (title, array, keywords of imshow)."""
    _, axes = plt.subplots(1, len(pictures), figsize=(3.4 * len(pictures), 3.0))
    for axis, (title, picture, options) in zip(axes, pictures, strict=True):
        axis.imshow(picture, **options)
        axis.set(title=title, xticks=[], yticks=[])


# %%
# Convolution taken for correlation
# ---------------------------------
#
# ``scipy.signal.convolve`` turns the kernel, ``torch.nn.functional.conv2d`` does not. With a kernel that is odd the
# sign of every answer changes: edges that should be bright are dark. With a symmetric one nothing happens, and so the
# mistake stays hidden until a kernel is not.

sobel, signed = jj.image.kernels.sobel_x, {"cmap": "PuOr", "vmin": -300, "vmax": 300}
beside(("correlation", jj.correlate(grey, sobel, "same"), signed), ("convolution", jj.convolve(grey, sobel, "same"), signed))

# %%
# The name *same* with a stride
# -----------------------------
#
# 'same' with stride 2 is not padding of half the kernel. On an even size TensorFlow, ONNX's SAME_UPPER and
# ``padding="same"`` pad below and to the right only; PyTorch's ``padding=1`` pads all around. Both give outputs of the
# same size, half a picture's pixel apart in each layer; weights of one framework run in another look right and score a
# few per cent lower.

w = np.full((1, 1, 3, 3), 1 / 9, "float32")
dots = np.zeros((1, 1, 12, 12), "float32")
dots[..., 5::6, 5::6] = 1
beside(
    ("input 12×12", dots[0, 0], {}),
    ("stride 2, same", jj.conv(dots, w, stride=2, padding="same")[0, 0], {}),
    ("stride 2, padding 1", jj.conv(dots, w, stride=2, padding=1)[0, 0], {}),
)

# %%
# Padding off by one
# ------------------
#
# One row and one column of padding too many, and a result that is cut to the size it should have: it fits, and is moved
# by a pixel. Subtracted from the original, the shift shows as relief. Kernels with an even side have no middle, and move
# a picture by half a pixel wherever they are put.

mean = np.full((1, 1, 3, 3), 1 / 9, "float32")
right = jj.conv(grey[None], mean, padding=1, boundary="edge")[0]
moved = jj.conv(grey[None], mean, padding=2, boundary="edge")[0, :300, :360]
both = {"cmap": "PuOr", "vmin": -50, "vmax": 50}
beside(("padding 1: difference", grey - right, both), ("padding 2, cut: difference", grey - moved, both))

# %%
# Layouts mixed up
# ----------------
#
# A picture of rows, columns, colours reshaped to colours, rows, columns has the right shape and the wrong pixels: nine
# small pictures, interlaced. ``transpose`` moves axes, ``reshape`` only cuts the same row of numbers elsewhere.

wrong = photo.reshape(3, *photo.shape[:2])
beside(
    ("reshape: channel 0", wrong[0], {}),
    ("transpose: channel 0", photo.transpose(2, 0, 1)[0], {}),
    ("BGR taken for RGB", photo[..., ::-1], {}),
)

# %%
# Bytes that overflow
# -------------------
#
# Sums of bytes do not fit into bytes. NumPy wraps without a word: 250 + 10 is 4. ``image.filter`` computes wider,
# rounds and saturates; ``conv`` returns int64 unless told otherwise.

sharpen = jj.image.kernels.sharpen.astype("int8")
bytes_ = photo.transpose(2, 0, 1)[:, None]
options = {"padding": 1, "boundary": "edge", "out_dtype": "uint8"}
wrapped = jj.conv(bytes_, sharpen[None, None], overflow="wrap", **options)[:, 0].transpose(1, 2, 0)
saturated = jj.conv(bytes_, sharpen[None, None], overflow="saturate", **options)[:, 0].transpose(1, 2, 0)
beside(("wrapped", wrapped, {}), ("saturated", saturated, {}))

# %%
# A derivative squeezed into bytes
# --------------------------------
#
# Half of a derivative's answers are negative. Written as bytes they become 0, and every second edge is lost.

beside(
    ("uint8: half the edges", jj.image.filter(grey.astype("uint8"), "sobel_x"), {"vmax": 255}),
    ("float32: both signs", jj.image.filter(grey.astype("uint8"), "sobel_x", dtype="float32"), signed),
)

# %%
# A border that is not there
# --------------------------
#
# Zero padding puts a black frame around the photograph, and edge detectors find the frame.

beside(
    ("zero padding", jj.image.filter(grey, "sobel", boundary="zero"), {"vmax": 500}),
    ("mirrored", jj.image.filter(grey, "sobel", boundary="reflect"), {"vmax": 500}),
)

# %%
# The chequerboard of transposed convolutions
# -------------------------------------------
#
# Where the kernel's size is no multiple of the stride, some outputs get more copies than others, and a pattern appears
# that no later layer quite removes. A constant input shows it: every output should be equal. The remedy is a size that
# the stride divides, or resizing first and a convolution after.

flat = np.ones((1, 1, 8, 8))
shades = {"vmin": 0, "vmax": 4, "cmap": "Blues"}
beside(
    ("kernel 3, stride 2", jj.conv_transpose(flat, np.ones((1, 1, 3, 3)), stride=2)[0, 0], shades),
    ("kernel 4, stride 2", jj.conv_transpose(flat, np.ones((1, 1, 4, 4)), stride=2, padding=1)[0, 0], shades),
)

# %%
# Scaled twice, or not at all
# ---------------------------
#
# Networks want pictures as they were trained: bytes divided by 255, or with a mean taken off. Scaled twice, a picture
# is almost black to them, and the answer is that for a black picture, whatever was shown. No error is raised; the
# probabilities are merely those of nothing.

nn = jj.nn
train, test = jj.data.load("digits")
net = nn.Sequential(nn.Conv(8, 3), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(10))
net.preprocessing = nn.Preprocessing(mean=0, deviation=16)
nn.train(net, train, optimizer=nn.SGD(0.05, momentum=0.9), schedule=nn.OneCycle(), epochs=6, quiet=True)
once = test.x.astype("float32") / 16
for name, seen in (("as trained", once), ("scaled twice", once / 16), ("not scaled", once * 16)):
    print(f"{name:13} accuracy {(net(seen).argmax(1) == test.y).mean():.1%}")

# %%
# Smaller without a blur
# ----------------------
#
# Every fourth pixel of a picture with fine detail makes patterns that are not there; see
# :ref:`sphx_glr_pages_a_operator_plot_a06_stride.py`.

hair = grey[60:260, 100:340]
beside(
    ("every 4th pixel", jj.image.filter(hair, "identity", stride=4), {}),
    ("gaussian first", jj.image.filter(hair, "gaussian", sigma=1.6, stride=4), {}),
)
