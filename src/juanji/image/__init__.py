"""Pictures: named kernels, filters, files."""

from juanji.image import kernels
from juanji.image.files import read, write
from juanji.image.filters import (
    emboss,
    filter,
    gaussian,
    gradient,
    laplacian,
    mean,
    motion_blur,
    outline,
    prewitt,
    scharr,
    sharpen,
    sobel,
    unsharp,
)

__all__ = [
    "emboss",
    "filter",
    "gaussian",
    "gradient",
    "kernels",
    "laplacian",
    "mean",
    "motion_blur",
    "outline",
    "prewitt",
    "read",
    "scharr",
    "sharpen",
    "sobel",
    "unsharp",
    "write",
]
