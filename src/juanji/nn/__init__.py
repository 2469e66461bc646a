"""Networks: graphs of operators that run, train, save and open up."""

from importlib import import_module
from typing import Any

from juanji.nn import losses, models, operator
from juanji.nn.activations import GELU, HardSigmoid, LeakyReLU, ReLU, ReLU6, Sigmoid, SiLU, Softmax, Tanh
from juanji.nn.graph import Graph, Sequential, load
from juanji.nn.initial import Fill, Given, Glorot, He, Normal
from juanji.nn.joins import Add, Concatenate, Multiply
from juanji.nn.layers import Conv, ConvTranspose, Dense, Filter
from juanji.nn.losses import huber, sigmoid_cross_entropy, softmax_cross_entropy, squared_error
from juanji.nn.moves import Constant, Crop, Flatten, Pad, Reshape, Resize
from juanji.nn.nodes import Input, Node
from juanji.nn.norms import BatchNorm, Dropout, GroupNorm, LayerNorm
from juanji.nn.operator import OPERATORS, Back, Operator
from juanji.nn.operators.arithmetic import (
    ELU,
    Clip,
    Divide,
    Function,
    LogSoftmax,
    MatMul,
    Maximum,
    Minimum,
    Power,
    PReLU,
    Subtract,
    Threshold,
)
from juanji.nn.operators.layouts import (
    AddAxes,
    DepthToSpace,
    DropAxes,
    Expand,
    PadAxes,
    Rearrange,
    Slice,
    SpaceToDepth,
    Split,
    Take,
    Tile,
    ToFloat,
    Transpose,
)
from juanji.nn.operators.recurrent import GRU, LSTM
from juanji.nn.operators.reductions import Reduce
from juanji.nn.operators.resampling import Resample
from juanji.nn.operators.response_norm import LocalResponseNorm
from juanji.nn.pools import AdaptivePool, AvgPool, GlobalPool, LpPool, MaxPool, PyramidPool, Unpool, WeightedPool
from juanji.nn.predicting import Prediction, predict
from juanji.nn.preprocessing import Preprocessing
from juanji.nn.shaped import ShapedGraph
from juanji.nn.tape import Gradients, Tape
from juanji.nn.training.clipping import ClipNorm, ClipValue
from juanji.nn.training.curves import draw_curves
from juanji.nn.training.evaluation import evaluate
from juanji.nn.training.history import History
from juanji.nn.training.loop import train
from juanji.nn.training.metrics import METRICS, Metric
from juanji.nn.training.optim import OPTIMIZERS, SGD, Adam, AdamW
from juanji.nn.training.schedules import CosineDecay, OneCycle, StepDecay, WarmUp
from juanji.nn.training.symmetry import distinct_units

__all__ = [
    "load",
    "models",
    "losses",
    "operator",
    "Back",
    "AdaptivePool",
    "Add",
    "AvgPool",
    "BatchNorm",
    "Concatenate",
    "Constant",
    "Conv",
    "ConvTranspose",
    "Crop",
    "Dense",
    "Dropout",
    "Fill",
    "Filter",
    "Flatten",
    "GELU",
    "Given",
    "GlobalPool",
    "Glorot",
    "Gradients",
    "Graph",
    "GroupNorm",
    "HardSigmoid",
    "He",
    "Input",
    "LayerNorm",
    "LeakyReLU",
    "LpPool",
    "MaxPool",
    "Multiply",
    "Node",
    "Normal",
    "OPERATORS",
    "Operator",
    "Pad",
    "Prediction",
    "Preprocessing",
    "PyramidPool",
    "ReLU",
    "ReLU6",
    "Reshape",
    "Resize",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Tape",
    "Unpool",
    "WeightedPool",
    "huber",
    "predict",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "squared_error",
    "Adam",
    "AdamW",
    "ClipNorm",
    "ClipValue",
    "CosineDecay",
    "History",
    "METRICS",
    "Metric",
    "OPTIMIZERS",
    "OneCycle",
    "SGD",
    "StepDecay",
    "WarmUp",
    "distinct_units",
    "draw_curves",
    "evaluate",
    "train",
    "AddAxes",
    "Clip",
    "DepthToSpace",
    "Divide",
    "DropAxes",
    "ELU",
    "Expand",
    "Function",
    "GRU",
    "LSTM",
    "LocalResponseNorm",
    "LogSoftmax",
    "MatMul",
    "Maximum",
    "Minimum",
    "PReLU",
    "PadAxes",
    "Power",
    "Rearrange",
    "Reduce",
    "Resample",
    "ShapedGraph",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Subtract",
    "Take",
    "Tile",
    "ToFloat",
    "Transpose",
    "Threshold",
    "from_onnx",
    "to_onnx",
]

_LATER = {"from_onnx": "juanji.nn.formats.onnx_reader", "to_onnx": "juanji.nn.formats.onnx_writer"}


def __getattr__(name: str) -> Any:
    """What only some need is imported when it is first asked for."""
    if name not in _LATER:
        raise AttributeError(f"module 'juanji.nn' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value
