"""The acceptance list's rows about the operator seen as other things: B1, B2, B7, B8, B10, B11; and A2's difference, D1, D2, E2."""

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import juanji as jj

ex = jj.explain
Array = npt.NDArray[Any]
NINE = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
CORNER = np.array([[[[0.0, 1.0], [2.0, 3.0]]]])


def integers(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-8, 9, shape)


def test_a2_the_difference_between_convolution_and_correlation() -> None:
    a, k = NINE[0, 0], CORNER[0, 0]
    told = ex.conv_against_correlation(a, k)
    assert told.correlation.tolist() == [[25, 31], [43, 49]]
    assert told.convolution.tolist() == [[11, 17], [29, 35]]
    assert told.difference.tolist() == [[-14, -14], [-14, -14]]
    assert told.turned.tolist() == [[3, 2], [1, 0]]
    assert told.other_way
    assert not told.symmetric
    for mode in ("full", "same", "valid"):
        random = np.random.default_rng(3).standard_normal((9, 7)), np.random.default_rng(4).standard_normal((3, 4))
        assert ex.conv_against_correlation(*random, mode).other_way
    blur = ex.conv_against_correlation(a, np.ones((3, 3)), "same")
    assert blur.symmetric
    assert not blur.difference.any()
    assert "both operations are one" in str(blur)
    complex_kernel = ex.conv_against_correlation([1.0, 2j, 3.0], [1j, 2.0])
    assert complex_kernel.other_way


def test_b1_the_matrix_of_a_3x3_kernel_on_a_4x4_input() -> None:
    w = np.arange(1, 10).reshape(1, 1, 3, 3)
    told = ex.toeplitz((1, 4, 4), w)
    dense = told.matrix.toarray()
    assert dense.shape == (4, 16)
    assert (np.count_nonzero(dense, axis=1) == 9).all()
    assert dense[0].tolist() == [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0]
    assert dense[3].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9]
    picture, errors = integers((1, 1, 4, 4)), integers((1, 1, 2, 2), 1)
    assert (told.matrix @ picture.reshape(16) == jj.conv(picture, w).reshape(4)).all()
    assert (told.matrix.T @ errors.reshape(4) == jj.conv_grad_input(errors, w, picture.shape).reshape(16)).all()
    assert (told.transpose(errors) == jj.conv_transpose(errors, w)[0]).all()
    assert "4×16" in str(told)
    assert "36 non-zeros" in str(told)
    assert "1 2 3 · 4 5 6 · 7 8 9 · · · · ·" in str(told)


def test_b2_im2col_of_the_first_layer_of_alexnet() -> None:
    x, w = integers((227, 227, 3)).astype("float32"), integers((11, 11, 3, 96), 1).astype("float32")
    told = ex.matrix_product(x, w, stride=4, layout="channels_last")
    assert (told.X.shape, told.W.shape, told.y.shape) == ((1, 3025, 363), (1, 363, 96), (55, 55, 96))
    assert (told.y == jj.conv(x, w, stride=4, layout="channels_last")).all()
    assert str(told).startswith("X 3025×363 · W 363×96 = 3025×96, which is 55×55×96")
    rows = ex.im2col(x, (11, 11), stride=4, layout="channels_last")
    assert (rows == told.X[0]).all()
    assert (rows[56] == x[4:15, 4:15].reshape(-1)).all()
    assert (told.W[0] == w.reshape(363, 96)).all()


def test_b7_rolling_the_outer_product() -> None:
    told = ex.rolling([1, 2, 3], [10, 20, 30])
    assert told.outer.tolist() == [[10, 20, 30], [20, 40, 60], [30, 60, 90]]
    assert [diagonal.pairs for diagonal in told.diagonals] == [
        ((0, 0),), ((1, 0), (0, 1)), ((2, 0), (1, 1), (0, 2)), ((2, 1), (1, 2)), ((2, 2),),
    ]  # fmt: skip
    assert all(i + j == diagonal.n for diagonal in told.diagonals for i, j in diagonal.pairs)
    assert told.sums.tolist() == [10, 40, 100, 120, 90]
    assert "n = 2: 3·10 + 2·20 + 1·30 = 100" in str(told)
    a, k = integers((9,)), integers((4,), 1)
    assert (ex.rolling(a, k).sums == jj.convolve(a, k)).all()
    assert (ex.rolling(a, k).sums == np.polymul(a[::-1], k[::-1])[::-1]).all()
    die = np.full(6, Fraction(1, 6), object)
    assert ex.rolling(die, die).sums[4 - 2] == Fraction(3, 36)
    with pytest.raises(jj.JuanjiError, match=r"k of shape \(0,\) must be a sequence"):
        ex.rolling([1], [])


def test_b8_shifting_the_input_shifts_the_output() -> None:
    x, w = np.random.default_rng(5).standard_normal((2, 3, 24, 20)), np.random.default_rng(6).standard_normal((4, 3, 3, 3))
    told = ex.equivariance(lambda x: jj.conv(x, w), x, shift=(3, 5))
    assert told.shift.same == 1
    assert told.shift.compared == 2 * 4 * 19 * 13
    assert told.rotation is not None
    assert told.rotation.same < 0.01
    assert told.scale.same < 0.01
    assert told.rotation.error > 0.3
    assert told.scale.error > 0.3
    assert str(told).count("\n") == 2


def test_b8_where_it_ends() -> None:
    x = np.random.default_rng(7).standard_normal((1, 1, 16, 16))
    w = np.random.default_rng(8).standard_normal((1, 1, 3, 3))
    padded = ex.equivariance(lambda x: jj.conv(x, w, padding=1), x, shift=2)
    assert padded.shift.same < 1
    assert ex.equivariance(lambda x: jj.conv(x, w, padding=1), x, shift=2, border=1).shift.same == 1
    assert ex.equivariance(lambda x: jj.conv(x, w, stride=2), x, shift=2, stride=2).shift.same == 1
    assert ex.equivariance(lambda x: jj.conv(x, w, stride=2), x, shift=1, stride=2).shift.same < 0.01
    turns = np.array([[[[1.0, 2, 1], [2, 9, 2], [1, 2, 1]]]])
    turned = ex.equivariance(lambda x: jj.conv(x, turns), x).rotation
    assert turned is not None
    assert turned.same == 1  # a kernel that is the same when turned


def test_b8_pooling_forgives_a_shift_of_one_pixel() -> None:
    row = np.array([[[0.3, 0.1, 1.0, 0.2, 0.1]]])
    assert jj.pool(row[..., 1:], 3, stride=1, padding=1).tolist() == [[[1, 1, 1, 0.2]]]
    assert jj.pool(row[..., :-1], 3, stride=1, padding=1).tolist() == [[[0.3, 1, 1, 1]]]
    before, after = ex.shift_through_pooling(row, 3, stride=1, padding=1)
    assert before.same == 0
    assert after.same == 0.5
    before, after = ex.shift_through_pooling(np.random.default_rng(1).standard_normal((1, 1, 4000)), 3, stride=1, padding=1)
    assert before.same == 0
    assert after.same == pytest.approx(1 / 2, abs=0.03)  # two windows of three share two elements of four: these hold the maximum of all


def test_b8_a_dense_layer_does_not_care_where_pixels_are() -> None:
    x, w = np.random.default_rng(9).standard_normal((40, 1, 8, 8)), np.random.default_rng(2).standard_normal((2, 1, 3, 3))
    told = ex.permuted_pixels(x, w)
    assert told.dense < 1e-12
    assert told.before < 1e-12
    assert told.convolution > 0.9
    for more in ({"padding": 1, "boundary": "edge"}, {"padding": 1, "boundary": ("constant", 2.0)}, {"stride": 2, "flip": True}):
        again = ex.permuted_pixels(x, w, **more)
        assert again.dense < 1e-12
        assert again.before < 1e-12
        assert again.convolution > 0.5


def test_b10_the_ladder_of_assumptions() -> None:
    told = ex.counts((1, 1000, 1000), (1, 1, 10, 10), padding="same", tiles=2)
    assert told.windows == 10**6
    assert [(rung.name, rung.weights) for rung in told.ladder] == [
        ("full", 10**12), ("local", 10**8), ("tiled 2×2", 400), ("shared", 100),
    ]  # fmt: skip
    assert told.ladder[0].connections == 10**12
    whole = ex.counts((1, 1000, 1000), (1, 1, 10, 10), padding="same", boundary="wrap")
    assert {rung.connections for rung in whole.ladder[1:]} == {10**8}
    assert "full      1,000,000,000,000 1,000,000 1,000,000,000,000" in str(told)


def test_b10_layers() -> None:
    lenet = ex.counts((1, 28, 28), (1, 1, 5, 5))
    assert (lenet.windows, lenet.weights, lenet.biases) == (576, 25, 1)
    alexnet = ex.counts((3, 227, 227), (96, 3, 11, 11), stride=4)
    assert (alexnet.weights, alexnet.biases) == (96 * 11 * 11 * 3, 96)
    assert alexnet.macs == 55 * 55 * 96 * 363
    assert (alexnet.activations, alexnet.y_bytes) == (55 * 55 * 96, 4 * 55 * 55 * 96)
    small = ex.counts((32, 48, 12), (3, 3, 12, 24), layout="channels_last", stride=2, padding=1, bias=False)
    assert (small.weights, small.biases, small.spec.y_shape) == (2592, 0, (1, 16, 24, 24))
    assert [rung.biases for rung in small.ladder] == [0, 0, 0, 0]


@pytest.mark.parametrize("sharing", ["shared", "tiled", "local"])
def test_b10_connections_are_the_places_of_the_matrix(sharing: str) -> None:
    sites = {"shared": (), "tiled": (2, 3), "local": (4, 3)}[sharing]
    w = np.ones((*sites, 4, 1, 2, 3), int)
    arguments: dict[str, Any] = {"stride": (1, 2), "padding": ((0, 0), (1, 1)), "groups": 2, "sharing": sharing}
    told = ex.counts((2, 5, 5), w.shape, tiles=(2, 3), **arguments)
    matrix = ex.toeplitz((2, 5, 5), w, **arguments)
    assert told.connections == matrix.coordinates.nnz
    assert (told.weights, told.biases) == (w.size, int(np.prod(sites)) * 4)
    rung = {"shared": 3, "tiled": 2, "local": 1}[sharing]
    assert told.ladder[rung].weights == w.size
    assert told.ladder[rung].biases == told.biases


def test_b11_one_input_of_a_layer_of_width_3_reaches_3_outputs() -> None:
    layer = ex.Window(3, padding=1)
    assert ex.outputs_of((4,), (9,), [layer]).count == (1, 3)
    assert ex.inputs_of((4,), (9,), [layer]).count == (3, 1)
    deep = ex.inputs_of((4,), (9,), [layer] * 3)
    assert deep.count == (7, 5, 3, 1)
    assert deep.elements[0][0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert ex.outputs_of((0,), (9,), [layer]).elements[1][0].tolist() == [0, 1]


def test_b11_reach_is_where_the_gradient_is_not_zero() -> None:
    layers = [
        ex.Window((3, 2), stride=(2, 1), padding=((1, 0), (0, 1))),
        ex.Window(2, dilation=2),
        ex.Window((1, 3), stride=(1, 2), padding=1),
    ]
    size = (14, 12)
    told = ex.inputs_of((2, 1), size, layers)
    shapes = told.sizes
    weights = [np.ones((1, 1, *np.broadcast_to(layer.kernel, 2))) for layer in layers]
    arguments = [{"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation} for layer in layers]
    dy = np.zeros((1, 1, *shapes[-1]))
    dy[0, 0, 2, 1] = 1
    for level in (2, 1, 0):
        dy = jj.conv_grad_input(dy, weights[level], (1, 1, *shapes[level]), **arguments[level])
        expected = np.zeros(shapes[level], bool)
        expected[np.ix_(*told.elements[level])] = True
        assert ((dy[0, 0] != 0) == expected).all()
    y = np.zeros((1, 1, *size))
    y[0, 0, 5, 6] = 1
    forward = ex.outputs_of((5, 6), size, layers)
    for level in range(3):
        y = jj.conv(y, weights[level], **arguments[level])
        expected = np.zeros(shapes[level + 1], bool)
        expected[np.ix_(*forward.elements[level + 1])] = True
        assert ((y[0, 0] != 0) == expected).all()
    with pytest.raises(jj.JuanjiError, match=r"position \(=\(9,\)\) must lie inside 9"):
        ex.outputs_of((9,), (9,), [ex.Window(3)])
    with pytest.raises(jj.JuanjiError, match="kernel of size 5 spans 5, but axis 0 is 3"):
        ex.outputs_of((1,), (3,), [ex.Window(5)])


def test_d1_d2_each_gradient_is_a_convolution() -> None:
    told = ex.gradients_as_convolutions((1, 1, 3, 3), (1, 1, 2, 2))
    assert told.padding == ((1, 1), (1, 1))
    assert "padded by 1+1, 1+1" in str(told)
    assert "4×4" in str(told)
    dy, w = integers((1, 1, 2, 2)), integers((1, 1, 2, 2), 1)
    by_hand = jj.convolve(dy[0, 0], w[0, 0], "full")
    assert by_hand.shape == (3, 3)
    assert (told.input(dy, w)[0, 0] == by_hand).all()
    x = integers((1, 1, 3, 3), 2)
    assert (told.weight(x, dy)[0, 0] == jj.correlate(x[0, 0], dy[0, 0])).all()
    assert told.bias(dy).tolist() == [dy.sum()]


def test_e2_the_arithmetic_of_one_output_pixel() -> None:
    for position, line in (
        ((0, 0), "0·1 + 1·2 + 2·4 + 3·5 = 25"),
        ((0, 1), "0·2 + 1·3 + 2·5 + 3·6 = 31"),
        ((1, 0), "0·4 + 1·5 + 2·7 + 3·8 = 43"),
        ((1, 1), "0·5 + 1·6 + 2·8 + 3·9 = 49"),
    ):
        assert line in str(ex.trace(NINE, CORNER, position)).splitlines()
    biased = ex.trace(NINE, CORNER, (1, 0), bias=[1.0])
    assert (biased.sum, biased.total, biased.result) == (43, 44, 44)
    assert "43 + bias 1 = 44" in str(biased)
