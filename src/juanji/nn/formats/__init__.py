"""Files of trained weights, read and written without trusting them."""

from juanji.nn.formats.weights import read_weights as read_weights
