"""What things cost, in cycles of one core, and where a schedule's blocks should end.

Measured on an AVX-512 server core with 48 KB and 2 MB of cache by timing each schedule of the rows of `bench` beside the others and
fitting by hand; the ranking of schedules is what counts, not the absolute figures.
"""

FMA_PER_CYCLE = 2.0
LOADS_PER_CYCLE = 1.7
FMA_LATENCY = 4.0
FEWEST_SUMS = 12  # in flight, where there is a choice: fewer leave the multiply-add units waiting

# lines and panels
LINE_CYCLES = 50.0  # to start a line
COPY_CYCLES = 2.5  # per vector that is copied
PIXEL_CYCLES = 6.0  # to start a pixel that is copied
TURN_CYCLES = 9.0  # per vector that is turned from planes to pixels
SCALAR_CYCLES = 1.2  # per element that is copied alone
PLACE_CYCLES = 8.0  # to note where a line lies that is read in place

START_CYCLES = 10e3  # of each kernel of a product that takes several: some microseconds

# tiles
TILE_CYCLES = 25.0  # to start a tile
LOOP_CYCLES = 10.0  # to start the innermost loop of a reduction
STORE_CYCLES = 2.0  # per vector of sums that is put down or taken up
TURNED_AFAR = 1.3  # times what a depthwise layer takes whose planes are turned, and turned back, beyond the second cache
TURNED_STORE_CYCLES = 8.0  # per vector of sums that leaves transposed
SCATTER_CYCLES = 3.0  # per element of a sum that is stored alone
CROSSING = 1.6  # loads that an unaligned vector counts for, because many cross a cache line
FAR_LINE = 3.0  # per vector read in place where there are more lines than the processor foresees
SECOND_CACHE_WEIGHTS = 0.5  # per vector of weights that the first cache does not hold
SECOND_CACHE_PIXELS = 1.1  # per line of x that a step takes from the second cache
PLANE, FAR_PLANE = 0.3, 1.0  # per step whose elements of x lie planes apart, in a panel and in the input
SHORT_RUN = 1 << 12  # bytes of a row of outputs below which finding its page takes longer than filling it
NEAR_PLANES = 64  # planes whose pages the first table of addresses holds

# blocks
FAR = 1.5  # of the second cache, from which on input and output together are not expected in it
ITEM_MACS = 1 << 20  # an item of work should not be smaller: a thread takes several
FEWEST_STEPS = 64  # of a block of the reduction, where there is a choice
OUTER_PIXELS, OUTER_PIXELS_LAST = 448, 112  # output positions of a block of the gradient of the weights, by where channels lie
OUTER_PIXELS_LANEWISE = 1024  # of channels that are lanes: what matters most is how many lines of the input are copied more than once
OUTER_PIXELS_IN_PLACE = 64  # of pixels that are read in place: each brings a line of its own to the first cache
MOST_STEP = 8  # elements from one output to the next, up to which vectors with gaps are stored: each then takes as many stores
MOST_TAPS = 64  # kernels with a pattern of zeros are written out tap by tap up to this many
MOST_STRAIGHT = 12  # steps of a reduction loop that are written one after the other; with more, LLVM moves loads too far ahead

# Fourier tiles: cycles per vector of a column and per pair of vectors of a row, one way. Fitted to every size of tile on pictures of
# 1920×1080 with kernels of 11×11 and 31×31, and on lines of a million places with 100 and 1000 taps.
FFT_COLUMN = 1.6  # for each doubling of its length
FFT_ROW = 2.9  # likewise
FFT_FAR = 4.6  # more for each doubling of the tile beyond a third of the first cache
FFT_FACTOR = 7.8  # more where rows and columns are one transform
FFT_PRODUCT, FFT_FAR_PRODUCT = 7.5, 28.0  # per frequency, depth entry and feature: spectra from the second cache, or from beyond
FFT_PADDING = 3.0  # per element of a border
FFT_APART = 5.0  # per element that is read or stored alone
FFT_KEPT = 60.0  # per pair of vectors of a kernel's spectrum, which are stored far apart
