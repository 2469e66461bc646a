"""The classic kernels: their numbers, their names, what their parameters may be."""

import numpy as np
import pytest

from juanji.errors import ArgumentError
from juanji.image import kernels

PRINTED = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "sharpen": [[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]],
    "sharpen_5": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "sobel_y": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "prewitt_y": [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],
    "gradient_y": [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],
    "scharr_y": [[-3, -10, -3], [0, 0, 0], [3, 10, 3]],
    "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "laplacian_8": [[1, 1, 1], [1, -8, 1], [1, 1, 1]],
    "outline": [[-1 / 8, -1 / 8, -1 / 8], [-1 / 8, 1, -1 / 8], [-1 / 8, -1 / 8, -1 / 8]],
}


@pytest.mark.parametrize("name", PRINTED)
def test_numbers(name: str) -> None:
    assert kernels.get(name).tolist() == PRINTED[name]


@pytest.mark.parametrize("pair", kernels.PAIRS)
def test_x_is_the_transpose_of_y(pair: str) -> None:
    along_columns, along_rows = (kernels.get(name) for name in kernels.PAIRS[pair])
    assert (along_columns == along_rows.T).all()
    assert (np.sign(along_columns) == [-1, 0, 1]).all()


@pytest.mark.parametrize("size", [1, 3, 5, 21])
def test_mean(size: int) -> None:
    assert (kernels.mean(size) == np.full((size, size), 1 / size**2)).all()


def test_gaussian() -> None:
    u = np.arange(-5, 6)
    expected = np.exp(-(u**2) / (2 * 1.2**2))
    expected /= expected.sum()
    np.testing.assert_allclose(kernels.gaussian(1.2), np.outer(expected, expected), rtol=1e-14)


@pytest.mark.parametrize(("sigma", "side"), [(0.1, 1), (0.5, 5), (1, 9), (1.5, 13), (2.6, 21)])
def test_gaussian_ends_at_four_sigma(sigma: float, side: int) -> None:
    assert kernels.gaussian(sigma).shape == (side, side)
    assert kernels.gaussian(sigma).sum() == pytest.approx(1)


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 180, -60])
def test_motion_blur_is_a_mean_and_symmetric(angle: float) -> None:
    kernel = kernels.motion_blur(7, angle)
    assert kernel.sum() == pytest.approx(1)
    assert kernel == pytest.approx(kernel[::-1, ::-1])
    assert all(side % 2 == 1 for side in kernel.shape)


def test_motion_blur_turns_counter_clockwise() -> None:
    rising = kernels.motion_blur(9, 45)
    assert rising[0, -1] > 0
    assert rising[0, 0] == 0


def test_unsharp() -> None:
    expected = -0.7 * kernels.gaussian(1.5)
    expected[6, 6] += 1.7
    assert (kernels.unsharp(1.5, 0.7) == expected).all()


def test_every_name_gives_a_fresh_array() -> None:
    for name in kernels.names():
        first, second = kernels.get(name), kernels.get(name)
        assert first.dtype == np.float64
        assert first.ndim == 2
        assert not np.shares_memory(first, second)
    assert not np.shares_memory(kernels.sobel_x, kernels.sobel_x)
    assert "sobel_x" in dir(kernels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernels.get("soble"), "kernel (='soble') must be an array or one of"),
        (lambda: kernels.get("sobel"), "magnitude of two kernels, sobel_x and sobel_y"),
        (lambda: kernels.get("sobel_x", sigma=2), "kernel (='sobel_x') takes no parameter, not sigma"),
        (lambda: kernels.get("mean", sigma=2), "takes size, not sigma"),
        (lambda: kernels.mean(4), "size (=4) must be odd and positive"),
        (lambda: kernels.mean(-3), "size (=-3) must be odd and positive"),
        (lambda: kernels.mean(10**9 + 1), "must be at most 4095"),
        (lambda: kernels.gaussian(0), "sigma (=0) must be a positive number"),
        (lambda: kernels.gaussian(float("nan")), "must be a positive number"),
        (lambda: kernels.gaussian(1e9), "4095 are the most"),
        (lambda: kernels.motion_blur(9, float("inf")), "angle (=inf)"),
        (lambda: kernels.unsharp(1, float("nan")), "amount (=nan)"),
        (lambda: kernels.get("gaussian", sigma=(1, 2)), "sigma (=(1, 2)) must be a positive number"),
        (lambda: kernels.get("gaussian", sigma=10**400), "must be a positive number"),
        (lambda: kernels.get("gaussian", sigma=True), "sigma (=True)"),
        (lambda: kernels.get("motion_blur", angle="up"), "angle (='up') must be a finite number"),
        (lambda: kernels.get("unsharp", amount=None), "amount (=None) must be a finite number"),
        (lambda: kernels.get("mean", size=2.5), "size (=2.5) must be odd and positive"),
    ],
)
def test_bad_arguments(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ArgumentError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="sobel_x"):
        _ = kernels.soble
