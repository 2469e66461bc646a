"""Pictures: named kernels, filters, template matching, files."""

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
from juanji.image.matching import match_template

__all__ = [
    "emboss",
    "filter",
    "gaussian",
    "gradient",
    "kernels",
    "laplacian",
    "match_template",
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
