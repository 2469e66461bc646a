"""Pictures in turn as a GIF or an MP4."""

from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from juanji.extras import optional

if TYPE_CHECKING:
    from PIL.Image import Image

COLOURS = 256
APART = 8  # levels, that colours of the palette differ by at least
SMOOTH = 25  # pictures a second of a video, however long a frame stands: players do not like fewer


def gif(path: Path | BytesIO, images: Iterator["Image"], some: Iterable["Image"], seconds: float) -> None:
    """An endless GIF, all frames with one palette, which is chosen from `some` of them; the others are never held together."""
    from PIL import Image as Pillow
    from PIL.Image import Dither

    palette = Pillow.new("P", (1, 1))
    palette.putpalette(_commonest(some))
    indexed = (image.quantize(palette=palette, dither=Dither.NONE) for image in images)
    next(indexed).save(path, "GIF", save_all=True, append_images=indexed, duration=round(seconds * 1000), loop=0, disposal=1)


def _commonest(frames: Iterable["Image"]) -> list[int]:
    """The commonest colours of these frames, exactly as they are: red, green, blue of each in turn.

    Pictures drawn of flat colours have few of them; those between, where edges are smoothed, are rare and take the nearest. Pillow finds
    that on a grid of 4 levels, so a colour too close to a commoner one is left out: it would be taken for it, or the other way round.
    """
    counts: Counter[tuple[int, int, int]] = Counter()
    for frame in frames:
        for count, colour in frame.getcolors(frame.width * frame.height) or ():
            counts[colour] += count  # type: ignore[index]  # of an RGB picture
    chosen = np.empty((0, 3), np.int16)
    for colour, _ in counts.most_common():
        if not (np.abs(chosen - colour).max(axis=1) < APART).any():
            chosen = np.vstack([chosen, np.array([colour], np.int16)])
            if len(chosen) == COLOURS:
                break
    return [int(part) for part in chosen.flat]


def mp4(path: Path, images: Iterator["Image"], size: tuple[int, int], seconds: float) -> None:
    """An MP4 that every player opens (H.264). Needs imageio-ffmpeg, which brings ffmpeg along."""
    writer = optional("imageio_ffmpeg", "video").write_frames(
        str(path), size, fps=1 / seconds, macro_block_size=2, output_params=["-r", str(SMOOTH)]
    )
    writer.send(None)
    try:
        for image in images:
            writer.send(image.tobytes())
    finally:
        writer.close()
