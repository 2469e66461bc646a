"""What the operators do, on the user's own sizes and numbers: shapes, arithmetic, matrices, counts, measurements.

Every function returns a structure of numbers that prints itself; pictures of them are drawn elsewhere.
"""

from juanji.explain.backward import Gradients, gradients_as_convolutions
from juanji.explain.columns import MatrixProduct, col2im, im2col, matrix_product
from juanji.explain.counting import Counts, Rung, counts
from juanji.explain.diagonals import Diagonal, Rolling, rolling
from juanji.explain.layers import Layer, LayerTable, layer_table
from juanji.explain.matrix import Coordinates, Toeplitz, toeplitz
from juanji.explain.pooled import PoolTrace, trace_pool
from juanji.explain.reach import Reach, Window, inputs_of, outputs_of
from juanji.explain.receptive import ReceptiveField, effective_field, receptive_field
from juanji.explain.shapes import AxisShape, OutputShape, output_shape, output_shape_pool, output_shape_transpose
from juanji.explain.symmetry import Equivariance, Measured, Permuted, equivariance, permuted_pixels, shift_through_pooling
from juanji.explain.tracing import Term, Trace, trace, trace_transpose
from juanji.explain.turning import Turned, conv_against_correlation

__all__ = [
    "AxisShape",
    "Coordinates",
    "Counts",
    "Diagonal",
    "Equivariance",
    "Gradients",
    "Layer",
    "LayerTable",
    "MatrixProduct",
    "Measured",
    "OutputShape",
    "Permuted",
    "PoolTrace",
    "Reach",
    "ReceptiveField",
    "Rolling",
    "Rung",
    "Term",
    "Toeplitz",
    "Trace",
    "Turned",
    "Window",
    "col2im",
    "conv_against_correlation",
    "counts",
    "effective_field",
    "equivariance",
    "gradients_as_convolutions",
    "im2col",
    "inputs_of",
    "layer_table",
    "matrix_product",
    "output_shape",
    "output_shape_pool",
    "output_shape_transpose",
    "outputs_of",
    "permuted_pixels",
    "receptive_field",
    "rolling",
    "shift_through_pooling",
    "toeplitz",
    "trace",
    "trace_pool",
    "trace_transpose",
]
