"""Pictures of what the operators do, computed from the user's own numbers.

`slide` animates a window over its input, `compare` puts input, kernel and output side by side. GIF, PNG and SVG are written with Pillow
alone; figures need matplotlib, the extra "show"; MP4 needs imageio-ffmpeg, the extra "video".
"""

from juanji.show.comparing import compare
from juanji.show.slides import Slide, slide

__all__ = ["Slide", "compare", "slide"]
