"""Pictures of what operators and networks do, computed from the user's own numbers.

`slide` animates a window over its input, `compare` puts input, kernel and output side by side, `matrices` one window as rows of im2col's
and of the sparse matrix. Of networks: `maps`, `stacked`,
`kernels`, `receptive_field`, `maximise`, `deconvnet`, `evidence`, `frequencies`, and `report`, a page of all of them.

GIF, PNG, SVG and the page are written with Pillow alone; figures need matplotlib, the extra
"show"; MP4 needs imageio-ffmpeg, the extra "video".
"""

from juanji.show.attributions import deconvnet, evidence, receptive_field
from juanji.show.banks import kernels
from juanji.show.comparing import compare
from juanji.show.featured import maps, stacked
from juanji.show.matrices import matrices
from juanji.show.reports import report
from juanji.show.sheets import maximise
from juanji.show.slides import Slide, slide
from juanji.show.trends import frequencies

__all__ = [
    "Slide",
    "compare",
    "deconvnet",
    "evidence",
    "frequencies",
    "kernels",
    "maps",
    "matrices",
    "maximise",
    "receptive_field",
    "report",
    "slide",
    "stacked",
]
