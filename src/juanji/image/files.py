"""Picture files to arrays and back, through Pillow, which is imported when the first file is read or written.

Arrays are uint8 or uint16, H×W or H×W×C with C = 2 (grey, alpha), 3 (R, G, B) or 4 (R, G, B, alpha); a `.npy` file holds any array.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from juanji.atomic import atomic_write
from juanji.describe import array_of
from juanji.errors import ArgumentError, DtypeError, FileError, ShapeError

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]

# suffix: Pillow's name of the format, and the kinds of picture it keeps
FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    ".png": ("PNG", ("L", "LA", "RGB", "RGBA", "I;16")),
    ".jpg": ("JPEG", ("L", "RGB")),
    ".jpeg": ("JPEG", ("L", "RGB")),
    ".tif": ("TIFF", ("L", "LA", "RGB", "RGBA", "I;16")),
    ".tiff": ("TIFF", ("L", "LA", "RGB", "RGBA", "I;16")),
    ".webp": ("WEBP", ("L", "LA", "RGB", "RGBA")),
    ".bmp": ("BMP", ("L", "RGB", "RGBA")),
    ".pgm": ("PPM", ("L", "I;16")),
    ".ppm": ("PPM", ("L", "RGB", "I;16")),
}
KINDS = {"L": "grey", "LA": "grey with alpha", "RGB": "colour", "RGBA": "colour with alpha", "I;16": "16-bit grey"}
SUFFIXES = (*FORMATS, ".npy")  # that `write` knows
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")


def read(path: str | os.PathLike[str]) -> Array:
    """The picture in a file, turned upright as its EXIF data say.

    8-bit pictures come as uint8 and 16-bit grey ones as uint16; palettes are looked up; CMYK and other colour spaces become R, G, B;
    black-and-white becomes 0 and 255; 32-bit float grey stays float32. Of an animation, the first frame. 16-bit *colour* is read with
    8 bits, which is all that Pillow decodes, and a warning says so.

    Raises FileError with one line for a file that is missing, damaged, enormous or no picture.
    """
    path = _path("read", path)
    if path.suffix.lower() == ".npy":
        return _open(path, lambda: np.asarray(np.load(path, allow_pickle=False)), "is not a NumPy array file")
    return _open(path, lambda: _read_picture(path), "is damaged")


def write(path: str | os.PathLike[str], image: npt.ArrayLike) -> None:
    """Write a picture in the format that the file's suffix names; `.npy` takes any array.

    The file appears whole or not at all: it is written beside its place and then moved there. A file that was there keeps its
    permissions, and one that is read-only stays.

    Raises DtypeError or ShapeError for an array the format cannot hold, FileError for a place that cannot be written.
    """
    path, array = _path("write", path), array_of("image", image)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        if array.dtype.hasobject:
            raise DtypeError(f"image has dtype {array.dtype}, which a file cannot hold")
        with atomic_write(path) as file:
            np.save(file, array, allow_pickle=False)
        return
    if suffix not in FORMATS:
        raise FileError(f"{path}: unknown suffix {suffix!r}; use one of {', '.join(SUFFIXES)}")
    name, kinds = FORMATS[suffix]
    kind = _kind(array)
    if kind not in kinds:
        raise DtypeError(f"{path}: {name} holds no {KINDS[kind]} picture; {_advice(kind)}")
    from PIL import Image

    options = {"quality": 95} if name in ("JPEG", "WEBP") else {}
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    picture = Image.fromarray(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")))
    with atomic_write(path) as file:
        picture.save(file, format=name, **options)


def _path(call: str, path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        example = "write('out.png', image)" if call == "write" else "read('photo.jpg')"
        raise ArgumentError(f"path is of type {type(path).__name__}, but must be the name of a file, as in {example}")
    return Path(path)


def _kind(array: Array) -> str:
    """Pillow's name for the kind of picture that an array is."""
    if array.dtype.name not in ("uint8", "uint16"):
        raise DtypeError(f"image has dtype {array.dtype}; picture files hold uint8 or uint16: round and convert it, or write a .npy file")
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] > 4):
        raise ShapeError(f"image of shape {array.shape} must be H×W or H×W×C with up to 4 channels and at least one pixel")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype.name == "uint16":
        if channels > 1:
            raise DtypeError(
                f"image of shape {array.shape} has 16-bit channels, but only grey files hold 16 bits here;"
                " divide it by 257 and write 8 bits, or write a .npy file"
            )
        return "I;16"
    return ("L", "LA", "RGB", "RGBA")[channels - 1]


def _advice(kind: str) -> str:
    if kind == "I;16":
        return "use .png or .tif"
    return "use .png, or drop the alpha" if kind in ("LA", "RGBA") else "use .png"


def _open(path: Path, load: Callable[[], Array], damaged: str) -> Array:
    """Run a decoder and turn whatever it raises into one line."""
    if path.is_dir():
        raise FileError(f"{path}: is a folder, not a picture; name a file in it")
    try:
        return load()
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except PermissionError:
        raise FileError(f"{path}: may not be read; check its permissions") from None
    except FileError:
        raise
    except Exception as error:  # the decoders raise nearly everything for damaged files: SyntaxError, struct.error, zlib.error ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"{path}: {damaged} ({reason}); open it in another program and save it again") from error


def _read_picture(path: Path) -> Array:
    from PIL import Image, ImageOps, UnidentifiedImageError

    with warnings.catch_warnings():
        # Pillow warns from 89 megapixels on, which cameras reach, and refuses from twice that on, which is what guards the memory.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            opened = Image.open(path)
        except UnidentifiedImageError:
            raise FileError(f"{path}: is not a picture that Pillow knows") from None
        except Image.DecompressionBombError as error:
            raise FileError(f"{path}: is too large to be a picture ({error}); cut it into pieces first") from None
        with opened:
            reduced = opened.mode not in SIXTEEN_BITS and opened.mode != "I" and any("16" in _raw_mode(tile[3]) for tile in opened.tile)
            upright = ImageOps.exif_transpose(opened)
            array = _pixels(upright, path)
    if reduced:
        warnings.warn(f"{path}: 16-bit colour is read with 8 bits", stacklevel=4)
    return array


def _raw_mode(arguments: object) -> str:
    """How a decoder's pixels lie in the file; in BMP and TIFF numbers such as the bytes of a row follow it."""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _pixels(picture: "Image", path: Path) -> Array:
    if picture.mode in SIXTEEN_BITS:
        return np.asarray(picture).astype(np.uint16)
    if picture.mode == "F":
        return np.array(picture)
    if picture.mode == "I":
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise FileError(f"{path}: has 32-bit pixels from {values.min()} to {values.max()}; 16 bits are the most that is read")
        return values.astype(np.uint16)
    if picture.has_transparency_data:
        mode = "LA" if picture.mode in ("1", "L", "LA", "La") else "RGBA"
    else:
        mode = "L" if picture.mode in ("1", "L") else "RGB"
    return np.array(picture if picture.mode == mode else picture.convert(mode))
