"""The door to all formats of weights: what a file is, its first bytes say, not its name."""

import os

from juanji.errors import ArgumentError
from juanji.nn.formats import keras_h5, safetensors_files, torch_pickles
from juanji.nn.formats.mapped import MappedFile, Weights
from juanji.nn.formats.torch_archives import is_pickle, is_zip

UNDERSTOOD = "safetensors, PyTorch's .pt and .pth of both kinds, HDF5 of Keras"


def read_weights(path: str | os.PathLike[str], *, key: str | None = None) -> Weights:
    """The arrays of a file of trained weights by name, and its metadata: safetensors, PyTorch or Keras.

    key: the entry of a PyTorch checkpoint that holds the weights, such as "state_dict"; all of it if None.

    Files may come from strangers: no code in them is run, nothing outside them is read, and nothing is allocated that their size does
    not justify. Arrays are read-only, and views of the mapped file where the format allows; `.copy()` gives one to write on.

    Raises FileError for a file that cannot be read, FormatError for one of an unknown kind and one that breaks its format, ArgumentError
    for a key that is not there.

    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "edges")
    ...     safetensors_files.write(path, {"weight": np.float32([[1, 0, -1]])}, {"made": "by hand"})
    ...     read_weights(path)
    ({'weight': array([[ 1.,  0., -1.]], dtype=float32)}, {'made': 'by hand'})
    """
    file = MappedFile(path)
    if is_pickle(file) or is_zip(file):
        return torch_pickles.read(path, key)
    if key is not None:
        raise ArgumentError(f"key (={key!r}) chooses an entry of a PyTorch checkpoint, which {file.path} is not")
    if keras_h5.is_hdf5(file):
        return keras_h5.read(path)
    if safetensors_files.is_safetensors(file):
        return safetensors_files.read(path)
    raise file.error("start", f"is of no kind that is understood: {UNDERSTOOD}")
