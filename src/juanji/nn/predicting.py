"""What a network says of one picture: classes with probabilities, a mask, a class for every pixel, or numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ShapeError
from juanji.nn.activations import Sigmoid, Softmax, sigmoid
from juanji.nn.graph import Graph, InputShape
from juanji.nn.preprocessing import BYTES, Preprocessing

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Prediction:
    """kind: "classes" with a probability each, "mask" with one for every pixel, "labels" with a class for every pixel, or "numbers"."""

    kind: str
    values: Array
    names: tuple[str, ...] | None = None

    def best(self, count: int = 5) -> list[tuple[str, float]]:
        """The likeliest classes by name, or by number where there are no names, with their probabilities."""
        order = np.argsort(-self.values, kind="stable")[:count]
        return [(self.names[i] if self.names else str(i), float(self.values[i])) for i in order]

    def picture(self) -> Array:
        """A mask as bytes, 255 for certain; labels as evenly spaced greys."""
        if self.kind not in ("mask", "labels"):
            raise ShapeError(f"the network gives {self.kind}, not a picture")
        most = 1 if self.kind == "mask" else max(len(self.names) if self.names else int(self.values.max()) + 1, 2) - 1
        greys: Array = np.rint(self.values * (255 / most)).astype(np.uint8)
        return greys


def predict(net: Graph, image: npt.ArrayLike, preprocessing: Preprocessing | None = None) -> Prediction:
    """What a network with one output says of a picture H×W or H×W×C.

    Scores become probabilities unless the network's last operator makes them: softmax over several classes, sigmoid for one.
    preprocessing: what is done to the picture, if not what the network says.

    Raises ShapeError for a picture that is too small for the network and for outputs that are none of the four kinds.
    """
    own, picture = prepared(net, image, preprocessing)
    found = net.run({next(iter(net.inputs)): own(picture)})
    if len(found) != 1:
        raise ShapeError(f"the network has {len(found)} outputs ({', '.join(found)}); use net.run for them")
    (y,) = found.values()
    (value,) = net.outputs.values()
    last = next(type(node.op) for node in net.nodes if value in node.outputs)
    names = net.classes
    if y.ndim == 2 and y.shape[1] > 1:
        return Prediction("classes", y[0] if last is Softmax else _shares(y[0]), names)
    if y.ndim == 2:
        return Prediction("numbers", y[0])
    if y.ndim == 4 and y.shape[1] == 1:
        return Prediction("mask", y[0, 0] if last is Sigmoid else sigmoid(y[0, 0]))
    if y.ndim == 4:
        return Prediction("labels", y[0].argmax(axis=0), names)
    raise ShapeError(f"the network gives an output of shape {y.shape}, which is neither classes nor a picture")


def prepared(net: Graph, image: npt.ArrayLike, preprocessing: Preprocessing | None = None) -> tuple[Preprocessing, Array]:
    """A picture as a network with one input takes it, (1, C, h, w) in the picture's type, and the preprocessing that is still to be done.

    Raises ShapeError for networks that take no pictures.
    """
    if len(net.inputs) != 1:
        raise ShapeError(f"the network has {len(net.inputs)} inputs ({', '.join(net.inputs)}); use net.run for them")
    (shape,) = net.inputs.values()
    own = preprocessing or net.preprocessing or BYTES
    if own.size is None and shape is not None and len(shape) == 3 and shape[1] is not None and shape[2] is not None:
        own = replace(own, size=(shape[1], shape[2]))
    return own, own.picture(image, _channels(shape))


def _channels(shape: InputShape) -> int:
    """How many channels the network's pictures have: 1 or 3."""
    count = 3 if shape is None or shape[0] is None else shape[0]
    if (shape is not None and len(shape) != 3) or count not in (1, 3):
        raise ShapeError(f"the network takes inputs of shape {shape}, not pictures of 1 or 3 channels")
    return count


def _shares(scores: Array) -> Array:
    shifted = np.exp(scores.astype(np.float64) - scores.max())
    total: Array = shifted / shifted.sum()
    return total


__all__ = ["Prediction", "predict", "prepared"]
