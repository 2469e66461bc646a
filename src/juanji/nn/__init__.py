"""Networks: graphs of operators that run, train, save and open up."""

from juanji.nn import losses, models, operator
from juanji.nn.graph import Graph, Sequential, load
from juanji.nn.initial import Fill, Given, Glorot, He, Normal
from juanji.nn.losses import huber, sigmoid_cross_entropy, softmax_cross_entropy, squared_error
from juanji.nn.moves import Constant, Crop, Flatten, Pad, Reshape, Resize
from juanji.nn.nodes import Input, Node
from juanji.nn.norms import BatchNorm, Dropout, GroupNorm, LayerNorm
from juanji.nn.operator import OPERATORS, Back, Operator
from juanji.nn.ops import (
    GELU,
    Add,
    Concatenate,
    Conv,
    ConvTranspose,
    Dense,
    Filter,
    HardSigmoid,
    LeakyReLU,
    Multiply,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from juanji.nn.pools import AdaptivePool, AvgPool, GlobalPool, LpPool, MaxPool, PyramidPool, Unpool, WeightedPool
from juanji.nn.preprocessing import Preprocessing
from juanji.nn.tape import Gradients, Tape

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
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "squared_error",
]
