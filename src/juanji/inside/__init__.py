"""What happens inside a network: what its filters look for, and what in a picture its answers rest on.

Every function returns arrays; pictures of them are drawn elsewhere.
"""

from juanji.inside.ascent import Maximised, maximise
from juanji.inside.attributing import grad_cam, guided, occlusion, saliency
from juanji.inside.classic import Likeness, classic_kernels, kernel_likeness
from juanji.inside.inputs import as_input, picture_of
from juanji.inside.parts import until
from juanji.inside.projecting import Projection, deconvnet
from juanji.inside.spectra import Frequency, Turn, frequency, frequency_of, repeated

__all__ = [
    "Frequency",
    "Likeness",
    "Maximised",
    "Projection",
    "Turn",
    "as_input",
    "classic_kernels",
    "deconvnet",
    "frequency",
    "frequency_of",
    "grad_cam",
    "guided",
    "kernel_likeness",
    "maximise",
    "occlusion",
    "picture_of",
    "repeated",
    "saliency",
    "until",
]
