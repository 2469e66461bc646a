"""Why what falls short of its target does: what limits it, what was tried and did not pay, what would come next."""

from typing import NamedTuple

from bench.targets import TARGETS, least


class Cause(NamedTuple):
    """limit: what the time goes into, found by leaving parts of the kernel out, by counting instructions or by the machine's limits."""

    limit: str
    tried: str = ""
    then: str = ""


CUTTING = Cause(
    "1×1 to 64 features: reading the input and cutting it into three parts takes longer than the products",
    "filling the next panel between products; asking memory ahead: 0.92 to 0.99 of the speed",
    "parts cut once where several layers read one input",
)
GATHERED = Cause(
    "memory waits while windows are gathered and turned, or added back, a third of the time; gradients of weights: 26 GB/s of stores",
    "stretches of 8 sites; ordinary stores, 1.5 to 2.3 times slower",
    "asking for the next stretch's weights while windows are added back",
)
TURNS = Cause(
    "64 channels: each site is a job that reads the input anew; 16: weights of 16 neighbours, one vector, come from the second cache",
    "the site tile for 64 channels (1.2 times slower); asking for turned weights in the loop",
    "cutting the sum so that turned weights and windows stay in the first cache",
)
FIRST = Cause(
    "27 products to a sum: starting tiles and storing outputs show beside them",
    "the matrix unit, 0.7 of the speed; Winograd's algorithm, half",
    "storing a tile's outputs while the next one's products begin",
)
STRIDED = Cause(
    "strided pixels are gathered into a panel before they are multiplied",
    "the matrix unit: no faster, or 1.3 times where weights are bound, a fifth of whose preparation counts to each call",
    "the panel of the next chunk filled between products",
)
ONE_VECTOR = Cause("16 features are one vector: 13 loads for 12 multiply-adds")
WAY_IN = Cause(
    "the way into a kernel takes longer than its arithmetic",
    "entered by a function of machine code: half of what it was",
    "the checks of a bound call in machine code too",
)
CAUSES: dict[str, Cause] = {  # by row, or by group for all of its rows
    **dict.fromkeys(("dense, batch 8", "ResNet-50", "float32, matrix unit"), CUTTING),
    "3x3, direct": Cause(
        "89 to 100% of the limit of multiply-adds: starting tiles, filling panels and putting sums down; torch's are at 102 to 107",
        "tiles of up to 28 pixels that fill rows: 2 to 3%",
        "none: Winograd's algorithm and the matrix unit are 1.5 to 2.5 times as fast",
    ),
    "pictures float32": Cause(
        "3×3: 31 of 34 GB/s; 5×5 and 7×7: loads that cross cache lines, 0.85 of the speed of those that do not",
        "shuffles instead of loads: they take the multiply-adds' ports; tiles unrolled over all taps: spills",
        "outputs of odd width that leave in whole lines",
    ),
    "pictures, separable": Cause(
        "boxes of floats: sums by runs and doublings take twice as long as a copy; all wait for memory, with which the mean moves by 0.1",
        "running sums of floats: they drift",
        "fewer additions where neighbouring rows share runs",
    ),
    "few channels": Cause(
        "with a stride each line is parted into phases; otherwise 79 to 94% of the limit",
        "prefetching what is parted: slower",
        "parting in the tile's own loads",
    ),
    "depthwise": Cause(
        "large planes: 0.9 to 1.08 of what memory allows in either layout, which leaves torch's channels-last no more than this",
        "asking for the next plane: 10 to 45% slower; for lines of outputs: no gain",
        "fusing with the layer before or after, as compiled networks do by strips",
    ),
    "float64": Cause(
        "1×1 to 64 features: 82 to 91% of the limit; channels-first, sums are put down after each 64 planes, which lie pages apart",
        "blocks of 128 and 256 planes, a panel, other distances of asking ahead: none faster",
        "planes copied into a panel while the tile before multiplies",
    ),
    "1-D": Cause(
        "depthwise: channels-last, neighbours of a window lie 2 KB apart and share two sets of the first cache",
        "asking ahead in four ways: none faster",
        "a panel of some channels at a time",
    ),
    "3-D": Cause(
        "depthwise: input and output are read and written in 0.4 of the time, each place is read for three outer taps",
        "asking for the next plane: slower",
        "tiles of two depths",
    ),
    "dilated, grouped, edges": Cause(
        "groups of 16 channels are one vector of features: a load for each multiply-add; of 4 and 8, permutations as many as multiply-adds",
        "strips for channels-last: slower from cold caches",
        "tiles of two rows that share a permuted vector",
    ),
    "integers": Cause(
        "those of 32 and 64 bits that fit no bytes are multiplied as float64; depthwise: converted at each tap",
        "reckoned only: Winograd's transforms in float64, since bounds of float32 do not hold, are far behind bytes on the matrix unit",
        "sums of byte parts on the matrix unit",
    ),
    "float16": Cause(
        "depthwise: conversions take as long as the sums",
        "whole rows read in place and converted: as fast as the panel",
        "converted lines kept for the tile below, as the space tile keeps them",
    ),
    "large kernels": Cause(
        "depthwise 7×7: taps that meet zeros outside are multiplied, a quarter of those of 7×7 planes",
        "leaving them out in whole-row tiles: not finished",
        "the same, by the tile's rows",
    ),
    "weak cases": Cause(
        "most are at 1.2 to 3.5 of the multiply-add limit already, by Winograd's algorithm or the matrix unit",
        "both, and the direct sum: the fastest is taken",
        "that of layers of their kind",
    ),
    "bfloat16": Cause(
        "1×1 to 64 features: joining planes in words takes longer than the products, both wait for the second cache; depthwise: "
        "rounding takes as long as the sums",
        "turning by 16-byte loads, weaving by unpack instructions, filling a chunk ahead: 0.92 to 1.02",
        "panels read while they are written: a chunk of half the size in the first cache",
    ),
    "bfloat16, ResNet-50": Cause("channels-first: joining planes in words takes as long as the products of few features"),
    "all weak cases": Cause(
        "half of the rows lie channels-last, where torch's float32 kernels are near the machine's limits, and so are ours: such a row "
        "cannot be five times as fast, as one can be where torch copies or has no kernel",
        "see the groups",
        "see the groups",
    ),
    **dict.fromkeys(("1x3x224x224 64 3x3", "1x3x224x224 64 3x3 last"), FIRST),
    **dict.fromkeys(("1x1024x14x14 2048 1x1 /2", "1x512x14x14 512 3x3 /2"), STRIDED),
    **dict.fromkeys(
        ("1x256x64x64 1 1x1", "1x256x64x64 1 1x1 last"), Cause("one feature: over 90% of what memory allows", "asking memory ahead: 0.96")
    ),
    **dict.fromkeys(("1x16x8x8 16 3x3", "1x16x8x8 16 3x3 last", "1x1x32x32 4 3x3", "1x4x128 4 3"), WAY_IN),
    "gradient of input": Cause(
        "weights that are used once: turning those that lie along the sum takes a quarter as long as the products of one small image",
        "turning in the tile, just before use: what it is now",
        "the matrix unit's pointwise tile, which reads both operands as they lie: 0.42 for 0.69 ms expected",
    ),
    "gradient of weights": Cause(
        "1×1 from 64 channels to 64: cutting both operands for the matrix unit takes longer than its products",
        "filling whole panels a chunk ahead, asking memory ahead: none faster",
        "the dot tile in place: 0.133 ms expected",
    ),
    **dict.fromkeys(
        ("1x16x32x56x56 16 3x3x3", "1x16x32x56x56 16 3x3x3 last", "1x16x32x56x56 16 3x3x3 dx", "1x16x32x56x56 16 3x3x3 dx last"), ONE_VECTOR
    ),
    "pooling": Cause(
        "small: 3 µs of Python in each call; averages of pairs: at the limit, which is copying",
        "wider tiles, other distances of asking ahead: no gain",
        "the checks of a call in machine code",
    ),
    "pooling, backward": Cause(
        "small: 4 µs of Python in each call, 3 µs to write its zeros; max: places are 64-bit, twice the errors' bytes",
        "gathering by lanes, 2 to 3 times slower; narrowed places; stores past the caches",
        "distinct windows of adaptive pooling computed once",
    ),
    **dict.fromkeys(("tiled, batch 1", "tiled, batch 8 and more"), TURNS),
    **dict.fromkeys(("locally connected, batch 1", "locally connected, batch 8 and more"), GATHERED),
}


def cause(name: str, group: str, ratios: dict[str, float]) -> str:
    """Why a row misses its group's least ratio: nothing if it does not, or nobody knows.

    >>> cause("a row", "ResNet-50", {"torch best": 0.99})
    ''
    """
    target = TARGETS.get(group)
    if target is None or least(ratios, target) >= target.worst:
        return ""
    known = CAUSES.get(name, CAUSES.get(group))
    return known.limit if known else ""
