"""A problem of words: channels in groups of four or two, which an instruction multiplies at once; its weights as words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from juanji.algorithms.costs import FMA_PER_CYCLE
from juanji.algorithms.packing import Array, Packing, TransformedPacking
from juanji.algorithms.problem import Problem
from juanji.jit.dot_products import Dot
from juanji.jit.emit import Type
from juanji.jit.word_panels import WORD, Words
from juanji.jit.word_weights import WordWeightsCode, emit_word_weights
from juanji.kept import kept
from juanji.spec import itemsize


class WordProblem(Problem):
    """What the channel tile sees of a problem once words stand for its channels: one for each `word` of them.

    A word has the size of a sum, so that words lie in panels and registers as numbers of the sum's type would.
    """

    def __init__(self, plain: Problem, dot: Dot):
        super().__init__(
            plain.contraction, plain.dtypes._replace(sum=dot.total), plain.epilogue, plain.machine, plain.goal, plain.narrowing.overflow
        )
        self.plain, self.dot, self.word = plain, dot, dot.group
        self.numbers = plain.channels  # of a group
        self.channels = -(-self.numbers // dot.group)
        self.words = Words.of(dot, self.numbers)
        shape = list(self.x_shape)
        shape[self.channel_dimension] //= dot.group
        self.x_shape = tuple(shape)  # of words, where they can be read in place

    @kept
    def lanewise(self) -> int:
        """No lanes along channels of input and output alike."""
        return 0

    @property
    def converted(self) -> bool:
        """Whether the numbers of the input do not lie as words."""
        return not self.last or not self.words.even or self.dot.turned or itemsize(self.dtypes.x) * self.word != WORD

    @property
    def products_per_cycle(self) -> float:
        """Vectors of words that are multiplied and added, in quarters, so that two measurements of a machine come to the same choice."""
        machine = self.machine
        rate = machine.peak_of_dots(self.dtypes.x, self.dtypes.w) / (machine.peak_f32 * self.word)
        return max(round(4 * FMA_PER_CYCLE * rate), 1) / 4

    def constants(self, outside: npt.NDArray[np.float64], parameter: float) -> Array:
        """What stands outside each axis as a word, and the activation's parameter as a sum."""
        if self.dot.scalar == "bf16":
            numbers: Array = (outside.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        else:
            numbers = outside.astype(np.int64).astype(f"i{Type(self.dot.scalar).bytes}")
        filled = np.zeros((len(outside), self.word), numbers.dtype)
        filled[:, : self.words.channels] = numbers[:, None]
        if self.dot.turned:
            filled ^= np.array(-128, np.int8)
        last: Array = np.array([parameter]).astype(self.dtypes.sum)
        return np.concatenate([filled.view(np.uint8).reshape(-1), last.view(np.uint8)])


class WordPacking(TransformedPacking):
    """packed[group, block of features, block of words, *taps, word of the block, feature] = words of weights; then the corrections."""

    def __init__(self, problem: WordProblem, width: int, block: int):
        contraction, dot, channels = problem.contraction, problem.dot, problem.numbers
        taps = [(contraction.extent(f"k{i}"), contraction.w.stride(f"k{i}")) for i in range(contraction.n)]
        packing = Packing(problem.plain, width, [*taps, (channels, contraction.w.stride("c"))], across=False, overlap=False)
        # Channels of each word, -1 where it has none, or holds one once more.
        word = np.arange(problem.channels)[:, None]
        first = word * dot.group if problem.words.even else np.minimum(word * dot.group, channels - problem.words.channels)
        channel = first + np.arange(dot.group)
        channel = np.where((channel < word * dot.group) | (channel >= channels), -1, channel).reshape(-1, 1, block, dot.group)
        tap = np.arange(problem.kernel)[:, None, None]
        places = np.where(channel < 0, -1, tap * channels + channel).reshape(-1)
        in_place = packing.beside
        known = packing.places * WORD if in_place else np.arange(problem.kernel * channels) * (width * WORD)
        rows = np.where(places < 0, -1, known[places]).reshape(-1)
        steps = problem.kernel * problem.channels
        self.step = (steps + dot.turned) * width * WORD
        item = width * WORD if in_place else len(known) * width * WORD
        words = {"map_rows": rows.ctypes.data, "steps": steps, "item": item, "goal": self.step}
        code = WordWeightsCode(dot, width // problem.lanes)
        super().__init__(packing, code, emit_word_weights, words, (self.step,), np.uint8, (rows,), in_place)
