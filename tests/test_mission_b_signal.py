"""Mission B3 to B7: the operator as superposition, the sum of two dice, accumulation, likeness, a product of polynomials."""

import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from juanji import messages
from juanji.cli import main
from juanji.errors import ArgumentError, DtypeError, JuanjiError, ShapeError
from juanji.image import match_template, read, write
from juanji.signal import convolve, convolve_continuous, distribution_of_sum, polynomial_product, production, quadrature, superpose

Array = npt.NDArray[Any]
RANDOM = np.random.default_rng(37)
DIE = {n: Fraction(1, 6) for n in range(1, 7)}


# B3: weighted superposition ---------------------------------------------------------------------------------------------


class Letter:
    """A product of letters, or a sum of such, which keeps itself as text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __mul__(self, other: "Letter") -> "Letter":
        return Letter(self.text + other.text)

    def __add__(self, other: "Letter | int") -> "Letter":
        return self if other == 0 else Letter(f"{self.text}+{other.text}")  # type: ignore[union-attr]

    def __radd__(self, other: "Letter | int") -> "Letter":
        return self + other


def test_b3_every_input_launches_a_copy() -> None:
    x, y = (np.array([Letter(c) for c in word], object) for word in ("abc", "ijk"))
    launched = superpose(x, y)
    assert [["".join(getattr(v, "text", ".")) for v in row] for row in launched.copies] == [
        ["ai", "aj", "ak", ".", "."],
        [".", "bi", "bj", "bk", "."],
        [".", ".", "ci", "cj", "ck"],
    ]
    assert [sorted(v.text.split("+")) for v in launched.sum] == [["ai"], ["aj", "bi"], ["ak", "bj", "ci"], ["bk", "cj"], ["ck"]]
    assert [(i, j, v.text) for i, j, v in launched.terms(2)] == [(0, 2, "ak"), (1, 1, "bj"), (2, 0, "ci")]


@settings(deadline=None)
@given(st.lists(st.integers(-(10**30), 10**30), min_size=1, max_size=6), st.lists(st.integers(-9, 9), min_size=1, max_size=6))
def test_copies_and_terms_add_up(x: list[int], y: list[int]) -> None:
    launched = superpose(x, y)
    assert launched.copies.sum(axis=0).tolist() == launched.sum.tolist()
    assert [sum(v for _, _, v in launched.terms(n)) for n in range(len(launched.sum))] == launched.sum.tolist()
    assert all(v == x[i] * y[j] and i + j == 2 for i, j, v in launched.terms(2)) if len(launched.sum) > 2 else True


def test_superposition_of_floats_is_convolve() -> None:
    x, y = RANDOM.normal(size=7), RANDOM.normal(size=4).astype("float32")
    launched = superpose(x, y)
    assert (launched.sum == convolve(x, y)).all()
    assert launched.sum.dtype == np.float64
    np.testing.assert_allclose(launched.copies.sum(axis=0), launched.sum, atol=1e-14)
    assert "x[0]" in str(launched)


# B4: sums of chance -----------------------------------------------------------------------------------------------------


def test_b4_two_dice() -> None:
    total = distribution_of_sum(DIE, DIE)
    assert total[4] == DIE[1] * DIE[3] + DIE[2] * DIE[2] + DIE[3] * DIE[1] == Fraction(3, 36)
    assert total.terms(4) == [((1, 3), Fraction(1, 36)), ((2, 2), Fraction(1, 36)), ((3, 1), Fraction(1, 36))]
    assert list(total) == list(range(2, 13))
    assert sum(total.values()) == 1
    assert total[13] == 0
    assert 13 not in total
    odds = dict.fromkeys(range(1, 7), 2)  # whatever they add up to
    assert distribution_of_sum(odds, odds) == total


def test_three_loaded_dice_against_every_outcome() -> None:
    variables: list[dict[Any, Any]] = [{1: 0.5, 2.5: 0.25, -3: 0.25}, {0: Fraction(1, 3), 1: Fraction(2, 3)}, {7: 3, 5: 1}]
    total = distribution_of_sum(*variables)
    odds = [variables[0], variables[1], {7: 0.75, 5: 0.25}]
    expected: dict[float, float] = {}
    for a in odds[0]:
        for b in odds[1]:
            for c in odds[2]:
                expected[a + b + c] = expected.get(a + b + c, 0) + odds[0][a] * odds[1][b] * odds[2][c]
    assert list(total) == sorted(expected)
    for outcome, p in expected.items():
        assert float(total[outcome]) == pytest.approx(p, rel=1e-14)
        assert math.fsum(q for _, q in total.terms(outcome)) == pytest.approx(p, rel=1e-14)
        assert all(sum(ways) == outcome for ways, _ in total.terms(outcome))


def test_sequences_are_of_outcomes_from_zero() -> None:
    p, q = RANDOM.dirichlet(np.ones(5)), RANDOM.dirichlet(np.ones(3)).astype("float32")
    np.testing.assert_allclose([float(p) for p in distribution_of_sum(p, q).values()], convolve(p, q), atol=1e-15)


# B5: continuous convolution ---------------------------------------------------------------------------------------------


def decay(age: Array) -> Array:
    return np.exp(-age / 10)


def test_b5_a_day() -> None:
    fresh, made = convolve_continuous(10, decay, 24), production(10, 24)
    assert f"{fresh.value:.3f} of {made.value:.0f}" == "90.928 of 240"
    assert fresh.value == pytest.approx(100 * -np.expm1(-2.4), rel=1e-14)
    spoilt = convolve_continuous(10, lambda age: 1 - decay(age), 24)
    assert spoilt.value == pytest.approx(240 - fresh.value, rel=1e-13)


W, C = 2 * np.pi / 24, 1 / 10
SMOOTH: dict[str, tuple[Any, Any, Any, Callable[[Array], Array]]] = {  # f, g, options, the integral over τ from 0 to t by hand
    "baker": (
        lambda t: 1 + np.cos(W * t), decay, {},
        lambda t: (1 - np.exp(-C * t)) / C + (C * np.cos(W * t) + W * np.sin(W * t) - C * np.exp(-C * t)) / (C * C + W * W),
    ),
    "polynomials": (lambda t: t**3, lambda age: age**2, {}, lambda t: t**6 / 60),
    "fast": (np.cos, lambda age: np.exp(1j * 40 * age), {}, lambda t: (np.sin(t) - 40j * (np.cos(t) - np.exp(40j * t))) / -1599),
    "bells": (
        lambda t: np.exp(-(t**2)), lambda age: np.exp(-(age**2) / 3), {"lower": -np.inf, "upper": np.inf},
        lambda t: np.sqrt(np.pi * 3 / 4) * np.exp(-(t**2) / 4),
    ),
    "memory": (np.exp, lambda age: np.exp(-2 * age), {"lower": -np.inf}, lambda t: np.exp(t) / 3),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_to_ten_digits(name: str) -> None:
    f, g, options, exact = SMOOTH[name]
    t = np.linspace(0.5, 30, 7).reshape(7, 1) if name != "bells" else np.linspace(-6, 6, 7)
    result = convolve_continuous(f, g, t, **options)
    assert result.value.shape == result.error.shape == t.shape
    error = np.abs(result.value - exact(t))
    assert (error <= 1e-10 * np.abs(exact(t))).all()
    assert (error <= result.error + 1e-15 * np.abs(exact(t))).all()
    assert (result.error <= 1e-10 * np.abs(exact(t))).all()


def test_jumps_and_kinks_are_points_and_ages() -> None:
    def box(t: Array) -> Array:
        return np.where((t >= 0.3) & (t < 1.7), 1.0, 0.0)

    t = np.linspace(0, 4, 33)
    exact = np.clip(np.minimum(t, 1.7) - np.maximum(t - 1.4, 0.3), 0, None)  # box(τ)·box(t − τ + 0.3): both are 1
    result = convolve_continuous(box, lambda age: box(age + 0.3), t, points=[0.3, 1.7], ages=[0, 1.4])
    np.testing.assert_allclose(result.value, exact, atol=1e-13)
    assert float(convolve_continuous(lambda t: np.abs(t - 1 / 3), 1, 1.0).value) == pytest.approx(5 / 18, rel=1e-10)


def test_a_singular_rate_is_integrated_too() -> None:
    result = production(lambda t: 1 / np.sqrt(t), [1.0, 4.0])
    np.testing.assert_allclose(result.value, [2, 4], rtol=1e-10)


def test_before_the_start_nothing_was_made() -> None:
    assert convolve_continuous(10, decay, [-1.0, 0.0]).value.tolist() == [0, 0]
    assert convolve_continuous(10, decay, 30, upper=24).value == pytest.approx(100 * (np.exp(-0.6) - np.exp(-3)), rel=1e-12)


def test_the_two_commute() -> None:
    t = np.linspace(0.1, 5, 9)
    one, other = convolve_continuous(np.cos, decay, t), convolve_continuous(decay, np.cos, t)
    np.testing.assert_allclose(one.value, other.value, rtol=1e-11)


def test_the_rules_are_exact_to_their_degree() -> None:
    for power in range(32):
        exact = 0 if power % 2 else 2 / (power + 1)
        assert quadrature.K @ quadrature.X**power == pytest.approx(exact, abs=1e-15)
        if power < 20:
            assert quadrature.G @ quadrature.X[1::2] ** power == pytest.approx(exact, abs=1e-15)


# B6: template matching --------------------------------------------------------------------------------------------------

# A detector of a curve, and two windows of a drawing: its back, which is that curve, and its head.
CURVE = np.zeros((7, 7))
CURVE[[0, 1, 2, 3, 4, 5], [5, 4, 3, 3, 3, 3]] = 30
BACK = np.array([
    [0, 0, 0, 0, 0, 0, 30], [0, 0, 0, 0, 50, 50, 50], [0, 0, 0, 20, 50, 0, 0], [0, 0, 0, 50, 50, 0, 0],
    [0, 0, 0, 50, 50, 0, 0], [0, 0, 0, 50, 50, 0, 0], [0, 0, 0, 50, 50, 0, 0],
])  # fmt: skip
HEAD = np.array([
    [0, 0, 0, 0, 0, 0, 0], [0, 40, 0, 0, 0, 0, 0], [40, 0, 40, 0, 0, 0, 0], [40, 20, 0, 0, 0, 0, 0],
    [0, 50, 0, 0, 0, 0, 0], [0, 0, 50, 0, 0, 0, 0], [25, 25, 0, 50, 0, 0, 0],
])  # fmt: skip


def best(likeness: Array) -> list[int]:
    """The place of the maximum."""
    return [int(i) for i in np.unravel_index(likeness.argmax(), likeness.shape)]


def test_b6_a_curve_detector() -> None:
    assert match_template(BACK, CURVE, method="correlation").item() == 50 * 30 * 4 + 20 * 30 == 6600
    assert match_template(HEAD, CURVE, method="correlation").item() == 0
    assert match_template(BACK, CURVE).item() > 0.4
    assert match_template(HEAD, CURVE).item() < 0


def test_b6_the_planted_template_is_the_maximum() -> None:
    field = RANDOM.uniform(0, 255, (60, 80))
    template = np.where(CURVE > 0, 255.0, 0.0)
    field[31:38, 47:54] = 0.4 * template + 20  # darker, of less contrast
    likeness = match_template(field, template)
    assert likeness.shape == (54, 74)
    assert best(likeness) == [31, 47]
    assert likeness.max() == pytest.approx(1, abs=1e-12)
    padded = match_template(field, template, pad=True)
    assert padded.shape == field.shape
    assert best(padded) == [34, 50]  # its centre
    np.testing.assert_allclose(padded[3:-3, 3:-3], likeness, atol=1e-12)


def alike(image: Array, template: Array, mask: Array) -> Array:
    """The likeness by its definition, each window by itself."""
    rows, columns = (i - t + 1 for i, t in zip(image.shape[:2], template.shape[:2], strict=True))
    m = np.broadcast_to(mask if mask.ndim == template.ndim else mask[..., None], template.shape)
    found = np.empty((rows, columns))
    for i, j in np.ndindex(rows, columns):
        window = image[i : i + template.shape[0], j : j + template.shape[1]]
        a, b = (v - (m * v).sum() / m.sum() for v in (window, template))
        size = np.sqrt((m * a * a).sum() * (m * b * b).sum())
        found[i, j] = (m * a * b).sum() / size if np.ptp(window) else 0
    return found


@pytest.mark.parametrize("colours", [(), (3,)])
@pytest.mark.parametrize("masked", ["no mask", "bool", "weights"])
def test_likeness_by_definition(colours: tuple[int, ...], masked: str) -> None:
    image, template = RANDOM.normal(size=(12, 15, *colours)), RANDOM.normal(size=(4, 5, *colours))
    mask = {"no mask": None, "bool": RANDOM.random((4, 5)) < 0.6, "weights": RANDOM.random((4, 5, *colours))}[masked]
    weights = np.ones((4, 5)) if mask is None else mask.astype(float)
    np.testing.assert_allclose(match_template(image, template, mask=mask), alike(image, template, weights), atol=1e-12)
    plain = match_template(image, template, mask=mask, method="correlation")
    kernel = template * (weights if weights.ndim == template.ndim else weights[..., None])
    expected = np.einsum("ijckl,klc->ij", sliding_window_view(np.atleast_3d(image), (4, 5), (0, 1)), np.atleast_3d(kernel))
    np.testing.assert_allclose(plain, expected, atol=1e-12)


def test_faint_patterns_beside_a_bright_plateau() -> None:
    image = np.full((40, 60), 1e6)
    image[:, 20:] = 0
    image[:, :20] += 1e-4 * RANDOM.normal(size=(40, 20))  # of variance 1e-20 times the square of its mean
    image[10:16, 40:46] = 1e-3 * RANDOM.normal(size=(6, 6))
    template = image[20:25, 5:10]
    likeness = match_template(image, template)
    assert best(likeness) == [20, 5]
    expected = alike(image, template, np.ones((5, 5)))
    np.testing.assert_allclose(likeness, expected, atol=1e-4)  # the plateau's own values have 6 digits there
    assert (likeness[:, 48:] == 0).all()  # even, exactly


def test_a_faint_template_far_from_zero() -> None:
    image = 1e3 * RANDOM.normal(size=(20, 30))
    image[:, 15:] += 1e6
    template = 1e6 + 1e-4 * RANDOM.normal(size=(5, 5))
    np.testing.assert_allclose(match_template(image, template), alike(image, template, np.ones((5, 5))), atol=2e-7)


def test_pixels_of_integers() -> None:
    image = RANDOM.integers(0, 256, (30, 30), "uint8")
    image[:10, :10] = 255
    likeness = match_template(image, image[12:20, 3:12])
    assert likeness.dtype == np.float64
    assert best(likeness) == [12, 3]
    assert likeness[0, 0] == 0
    assert np.abs(likeness).max() <= 1


# B7: products of polynomials --------------------------------------------------------------------------------------------


def test_b7_the_diagonals_of_an_outer_product() -> None:
    p, q = [2, 0, -1, 5], [1, 3, 4]
    outer = np.outer(p, q)[:, ::-1]
    assert polynomial_product(p, q).tolist() == [np.trace(outer, offset) for offset in range(2, -4, -1)]


@settings(deadline=None)
@given(st.data())
def test_products_are_exact(data: st.DataObject) -> None:
    number: Any = data.draw(st.sampled_from([st.integers(-(2**70), 2**70), st.integers(-9, 9), st.fractions(max_denominator=50)]))
    p, q = (np.array(data.draw(st.lists(number, min_size=1, max_size=7)), object) for _ in range(2))
    x = Fraction(3, 7)
    product = polynomial_product(p, q)

    def at(coefficients: Any) -> Fraction:
        return sum((Fraction(c) * x**i for i, c in enumerate(coefficients)), Fraction(0))

    assert at(product) == at(p) * at(q)
    assert len(product) == len(p) + len(q) - 1


def test_a_high_power_outgrows_the_machine() -> None:
    power = np.array([1])
    for _ in range(100):
        power = polynomial_product(power, [1, 1])
    assert power.tolist() == [math.comb(100, n) for n in range(101)]


def test_two_variables_and_floats() -> None:
    assert polynomial_product([[0, 1], [1, 0]], [[0, 1], [1, 0]]).tolist() == [[0, 0, 1], [0, 2, 0], [1, 0, 0]]  # (x + y)²
    assert polynomial_product([True, True], np.array([1, 2**63], "uint64")).tolist() == [1, 2**63 + 1, 2**63]
    p, q = RANDOM.normal(size=5), RANDOM.normal(size=4)
    np.testing.assert_allclose(polynomial_product(p, q), np.polynomial.polynomial.polymul(p, q), atol=1e-13)


# Bad input --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: superpose([[1]], [1]), ShapeError, "x of shape (1, 1) must be a signal with one axis"),
        (lambda: superpose([], [1]), ShapeError, "x of shape (0,)"),
        (lambda: superpose([1, 2], [3]).terms(2), ArgumentError, "n (=2) must be a place in the sum, which has 2"),
        (lambda: polynomial_product(["a"], [1]), DtypeError, "p has dtype <U1"),
        (lambda: polynomial_product(np.array([None]), [1]), DtypeError, "must hold objects that multiply"),
        (lambda: polynomial_product([1], [[1]]), ShapeError, "as many axes"),
        (lambda: distribution_of_sum(), ArgumentError, "at least one"),
        (lambda: distribution_of_sum({1: 0.5, 2: 0.4}), ArgumentError, "variable 0: its probabilities add up to 0.9"),
        (lambda: distribution_of_sum(DIE, {1: Fraction(1, 2)}), ArgumentError, "variable 1: its probabilities add up to 1/2"),
        (lambda: distribution_of_sum([1, -1, 1]), ArgumentError, "the probability of 1 (=-1)"),
        (lambda: distribution_of_sum({"a": 1}), ArgumentError, "outcome 'a' must be a number"),
        (lambda: distribution_of_sum([0, 0]), ArgumentError, "add up to 0"),
        (lambda: distribution_of_sum([math.nan]), ArgumentError, "must be a number of at least 0"),
        (lambda: distribution_of_sum(3), ArgumentError, "variable 0 (=3) must be a mapping"),  # type: ignore[arg-type]
        (lambda: convolve_continuous(math.exp, 1, [1, 2]), ArgumentError, "f must take an array"),
        (lambda: convolve_continuous(1, lambda age: np.where(age > 0.5, np.inf, 1), 1), ArgumentError, "g is inf at"),
        (lambda: convolve_continuous(lambda t: t[..., :3], 1, 1), ArgumentError, "return as many numbers"),
        (lambda: convolve_continuous(lambda t: "x", 1, 1), DtypeError, "f returns dtype"),
        (lambda: convolve_continuous(1, 1, 5, upper=-1), ArgumentError, "upper (=-1.0) must not be below lower (=0.0)"),
        (lambda: convolve_continuous(1, 1, "now"), ArgumentError, "t (='now') must be real"),
        (lambda: convolve_continuous(1, 1, np.nan), ArgumentError, "t must not hold NaN"),
        (lambda: convolve_continuous(1, 1, 1, rtol=0), ArgumentError, "rtol (=0)"),
        (lambda: production(lambda t: 1 / t, 1), ArgumentError, "rtol (=1e-10) is not reached at t = 1"),
        (lambda: match_template(np.ones((3, 3)), np.eye(4)), ShapeError, "must fit inside"),
        (lambda: match_template(np.ones((3, 3, 3)), np.eye(2)), ShapeError, "must have the axes of image"),
        (lambda: match_template(np.ones((3, 3)), np.ones((2, 2))), ArgumentError, "template is the same everywhere"),
        (lambda: match_template(np.ones((3, 3)), np.eye(2), method="sad"), ArgumentError, "one of ncc, correlation"),
        (lambda: match_template(np.ones((3, 3)), np.eye(2), mask=np.ones((2, 3))), ShapeError, "mask of shape (2, 3)"),
        (lambda: match_template(np.ones((3, 3)), np.eye(2), mask=np.zeros((2, 2))), ArgumentError, "mask must hold weights"),
        (lambda: match_template(np.full((3, 3), np.nan), np.eye(2)), ArgumentError, "image must be finite"),
        (lambda: match_template(np.ones(3), np.eye(2)), ShapeError, "must be H×W or H×W×C"),
        (lambda: match_template(np.ones((3, 3)), np.eye(2) * 1j), DtypeError, "real numbers"),
    ],
)  # fmt: skip
def test_bad_input(call: Callable[[], Any], kind: type[JuanjiError], message: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# The command ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `juanji match` in a folder with a photo, a part of it, and that part grey; gives its status and what it printed."""
    monkeypatch.chdir(tmp_path)
    photo = RANDOM.integers(0, 256, (40, 50, 3), "uint8")
    write("photo.png", photo)
    write("part.png", photo[11:20, 23:31])
    write("faded.png", np.rint(photo[11:20, 23:31].mean(axis=-1) * 0.5 + 60).astype("uint8"))
    write("mask.png", np.where(np.arange(8) < 5, 255, 0).astype("uint8") * np.ones((9, 1), "uint8"))
    messages.use("en")

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(["match", *arguments])
        messages.use("en")
        return status, *capsys.readouterr()

    return call


def test_match_finds_the_part(run: Any) -> None:
    status, out, err = run("photo.png", "part.png", "-o", "likeness.png")
    assert (status, out) == (0, "11 23 1\n")
    assert err == "best at row 11, column 23, 9×8 pixels from there: 1\n"
    likeness = read("likeness.png")
    assert likeness.shape == (32, 43)
    assert likeness[11, 23] == 255
    status, out, _ = run("photo.png", "faded.png", "--mask", "mask.png", "--json")
    told = json.loads(out)
    assert (told["row"], told["column"], told["height"], told["width"]) == (11, 23, 9, 8)
    assert told["likeness"] > 0.99


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("part.png photo.png", 2, "template of shape (40, 50, 3) must fit inside"),
        ("photo.png part.png --method sad", 2, "method (='sad') must be one of ncc, correlation"),
        ("photo.png part.png -o out.xyz", 2, "must name a file that ends in"),
        ("photo.png none.png", 1, "none.png"),
    ],
)
def test_match_refuses(arguments: str, status: int, message: str, run: Any) -> None:
    found, out, err = run(*arguments.split())
    assert (found, out) == (status, "")
    assert message in err
    assert err.count("\n") == 1
