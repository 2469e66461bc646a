"""What the code of the matrix unit's pointwise tile depends on."""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit.arguments import HEAD


@dataclass(frozen=True)
class PointwiseCode:
    """Everything that the code depends on. exchanged: what is called x here is dy, and the other way round."""

    x: str
    dy: str
    parts: int  # numbers of the unit that stand for one
    planar: bool  # x and dy lie plane by plane
    exchanged: bool
    turned: bool  # the features of dw do not lie side by side
    rows: int  # tiles of channels
    columns: int  # tiles of features

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        return (
            *HEAD, "out0", "box0", "xs_n", "xs_c", "xs0", "gs_n", "gs_c", "gs0", "groups", "channels", "tiles", "chunks", "chunks_n",
            "segments", "blocks_f", "split", "splits", "count_f", "count_i", "block", "part_x", "planes", "planes_size", "words_f",
            "part_dy", "words", "words_size", "sums", "step_i", "step_f", "waiting", "piece", "ws_g", "ws_f", "ws_i", "ws_s", "stream",
        )  # fmt: skip
