"""What happens inside a network: every way back and every map against its definition."""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from juanji import image, inside, nn
from juanji.errors import ArgumentError, ShapeError
from juanji.inside.ascent import SMALLEST
from juanji.inside.inputs import as_input
from juanji.inside.parts import scores

Array = npt.NDArray[Any]
DATA = os.environ.get("JUANJI_DATA")
with_data = pytest.mark.skipif(not DATA, reason="JUANJI_DATA, the folder with trained weights, is not set")


def small() -> nn.Graph:
    """A network with pooling, a batch norm and a way around, of float64, so that differences can be measured."""
    x = nn.Input((3, 12, 12))
    a = nn.ReLU()(nn.BatchNorm()(nn.Conv(6, 3, padding=1, name="conv1")(x)))
    b = nn.MaxPool(2)(a)
    c = nn.ReLU6(name="last")(nn.Add(name="sum")(nn.Conv(6, 3, padding=1, name="conv2")(b), b))
    y = nn.Dense(4, name="scores")(nn.GlobalPool()(c))
    net = nn.Graph(x, nn.Softmax(name="shares")(y), preprocessing=None, classes=("a", "b", "c", "d")).astype(np.float64)
    net.build(seed=3)
    random = np.random.default_rng(5)
    for key in net.buffers:
        net.buffers[key][:] = random.uniform(0.5, 1.5, net.buffers[key].shape)
    return net


X = np.random.default_rng(1).normal(size=(1, 3, 12, 12))


# The part of a network that leads to a layer -----------------------------------------------------------------------------


@pytest.mark.parametrize("light", [False, True])
def test_a_part_gives_what_the_network_gives(light: bool) -> None:
    net = small()
    for name in ("conv1", "relu1", "pool1", "sum", "scores", "shares"):
        if light and name == "conv1":
            continue
        part = inside.until(net, name, light=light)
        assert part(X) == pytest.approx(net.features(X, [name])[name], rel=1e-9)
        assert {node.name for node in part.nodes} <= {node.name for node in net.nodes}
    assert not any(type(node.op) is nn.BatchNorm for node in inside.until(net, "scores", light=True).nodes)
    assert inside.until(net, "pool1")(np.zeros((1, 3, 40, 20))).shape == (1, 6, 20, 10)
    assert not inside.until(net, "scores").parameters.keys() & {"conv1.weight", "scores.weight"}


def test_parts_keep_shared_parameters() -> None:
    shared = nn.Conv(3, 3, padding=1)
    x = nn.Input((3, 6, 6))
    net = nn.Graph(x, nn.Add()(shared(x), shared(nn.ReLU()(shared(x))))).build()
    part = inside.until(net, "conv2")
    inputs = np.ones((1, 3, 6, 6), np.float32)
    assert (part(inputs) == net.features(inputs, ["conv2"])["conv2"]).all()


def test_unknown_layers_are_answered_with_the_known() -> None:
    with pytest.raises(ArgumentError, match=r"layer \(='conv9'\) must be one of conv1, .*, shares"):
        inside.until(small(), "conv9")


# What a filter looks for -------------------------------------------------------------------------------------------------


MEAN, DEVIATION = 100.0, 50.0


def climbed(net: nn.Graph, layer: str, feature: int, x: Array, steps: int) -> tuple[Array, float]:
    """The recipe as it is written, one picture at a time, by finite differences of the mean activation."""
    part = inside.until(net, layer)

    def mean(picture: Array) -> float:
        return float(part((picture[None] - MEAN) / DEVIATION)[0, feature].mean())

    for _ in range(steps):
        value = mean(x)
        g = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            moved = x.copy()
            moved[index] += 1e-4 * DEVIATION
            g[index] = (mean(moved) - value) / 1e-4
        x = x + g / (np.sqrt((g**2).mean()) + SMALLEST)
    return x, value


def test_the_climb_is_the_recipe() -> None:
    net = nn.Sequential(
        nn.Conv(4, 3), nn.Tanh(), nn.Conv(3, 3, bias=4.0), shape=(2, 7, 7), preprocessing=nn.Preprocessing(MEAN, DEVIATION)
    ).astype(np.float64)  # fmt: skip
    net.build(seed=2)
    start = 128 + 20 * (np.random.default_rng([7, 1]).random((2, 7, 7)) - 0.5)
    wanted, activation = climbed(net, "conv2", 1, start, steps=3)
    found = inside.maximise(net, "conv2", [1], size=7, steps=3, seed=7)
    assert found.activations == pytest.approx([activation], rel=1e-4)
    assert found.pictures[0] == pytest.approx(np.moveaxis(wanted, 0, -1), abs=2e-3)


def test_pictures_do_not_depend_on_their_company() -> None:
    net = nn.Sequential(nn.Conv(20, 3, weight="he"), shape=(3, 9, 9))
    every = inside.maximise(net, "conv1", size=9, steps=4)
    assert len(every) + len(every.dead) == 20
    assert (every.activations > 0).all()
    assert (np.diff(every.activations) <= 0).all()
    last = every.filters[-1]
    alone = inside.maximise(net, "conv1", [last], size=9, steps=4)
    assert (alone.pictures[0] == every.pictures[-1]).all()


def test_dead_filters_are_dropped_and_the_sheet_has_the_size_of_the_texts() -> None:
    bias = np.array([1.0, -1e9, 2.0], np.float32)
    net = nn.Sequential(nn.Conv(3, 3, bias=bias), nn.ReLU(), shape=(3, 128, 128))
    found = inside.maximise(net, "relu1", steps=1)
    assert found.dead == (1,)
    assert set(found.filters) == {0, 2}
    sheet = found.sheet()
    assert sheet.shape == (1059, 1059, 3)
    tile = found.pictures[1]
    shown = np.clip((tile - tile.mean()) / (tile.std() + 1e-5) * 0.1 + 0.5, 0, 1)
    assert sheet[:128, 133:261] == pytest.approx(shown, abs=1e-5)
    assert not sheet[:, 266:].any()
    assert not sheet[:, 128:133].any()


def test_variants_raise_the_activation_too() -> None:
    net = nn.Sequential(nn.Conv(8, 5, bias=0.5), nn.ReLU(), nn.Conv(4, 3, bias=0.5), shape=(1, 24, 24))
    for options in ({"jitter": 3}, {"fourier": True}, {"decay": 0.05}, {"variation": 0.2}, {"start": "grey"}):
        few, many = (inside.maximise(net, "conv2", [0, 1, 2, 3], size=24, steps=steps, step=8.0, **options) for steps in (1, 12))
        before = dict(zip(few.filters, few.activations, strict=True))
        assert many.filters
        assert all(value > before.get(number, 0) for number, value in zip(many.filters, many.activations, strict=True)), options
    rough, smooth = (inside.frequency(net, "conv2", 4, size=24, fourier=fourier) for fourier in (False, True))
    assert smooth.frequency < rough.frequency


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "conv9"}, "must be one of conv1"),
        ({"filters": [4]}, "filter 4 is none of conv1, which has 4"),
        ({"filters": 0}, "filters"),
        ({"filters": []}, "at least one filter"),
        ({"start": "black"}, "noise or grey"),
        ({"decay": 2.0}, "decay"),
        ({"variation": 0.5}, "variation"),
        ({"steps": 0}, "steps"),
        ({"size": 2}, "layer conv1"),
    ],
)
def test_maximise_refuses(arguments: dict[str, Any], message: str) -> None:
    net = nn.Sequential(nn.Conv(4, 3), shape=(3, 9, 9))
    with pytest.raises(ArgumentError, match=message):
        inside.maximise(net, **{"layer": "conv1", "size": 9, **arguments})


# Ways back to the pixels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guided", [False, True])
def test_deconvnet_against_its_definition(guided: bool) -> None:
    """Conv, relu, pool, conv, relu, by hand: switches, rectification, transposed filters."""
    random = np.random.default_rng(0)
    w1, w2 = (random.integers(-9, 10, shape).astype(float) for shape in ((4, 1, 3, 3), (5, 4, 3, 3)))
    layers = nn.Conv(4, 3, weight=w1), nn.ReLU(), nn.MaxPool(2), nn.Conv(5, 3, weight=w2), nn.ReLU()
    net = nn.Sequential(*layers, shape=(1, 14, 14)).build().astype(np.float64)
    x = random.normal(size=(1, 1, 14, 14))
    a = np.maximum(_correlated(x[0], w1), 0)
    pooled = a.reshape(4, 6, 2, 6, 2).transpose(0, 1, 3, 2, 4).reshape(4, 6, 6, 4)
    y = np.maximum(_correlated(pooled.max(axis=3), w2), 0)
    best = sorted(((y[f].max(), f, *np.unravel_index(y[f].argmax(), y[f].shape)) for f in range(5)), reverse=True)
    found = inside.deconvnet(net, x, "relu2", strongest=3, guided=guided)
    assert [each.unit for each in found] == [tuple(map(int, row[1:])) for row in best[:3]]
    for each in found:
        feature, row, column = each.unit
        assert each.activation == pytest.approx(y[each.unit])
        back = np.zeros((4, 6, 6))
        back[:, row : row + 3, column : column + 3] = w2[feature] * max(each.activation, 0)
        unpooled = np.zeros((4, 6, 6, 4))
        np.put_along_axis(unpooled, pooled.argmax(axis=3)[..., None], back[..., None], axis=3)
        placed = unpooled.reshape(4, 6, 6, 2, 2).transpose(0, 1, 3, 2, 4).reshape(4, 12, 12)
        if guided:
            placed[a <= 0] = 0
        pixels = np.zeros((14, 14))
        for f, i, j in np.ndindex(4, 12, 12):
            pixels[i : i + 3, j : j + 3] += max(placed[f, i, j], 0) * w1[f, 0]
        assert each.pixels[..., 0] == pytest.approx(pixels, abs=1e-9)
        assert each.region == ((2 * row, 2 * row + 7), (2 * column, 2 * column + 7))
        outside = each.pixels.copy()
        outside[each.region[0][0] : each.region[0][1] + 1, each.region[1][0] : each.region[1][1] + 1] = 0
        assert not outside.any()
        assert each.cut().shape == (8, 8, 1)


def _correlated(x: Array, w: Array) -> Array:
    size = tuple(length - 2 for length in x.shape[1:])
    y = np.zeros((len(w), *size))
    for u, v in itertools.product(range(3), range(3)):
        y += np.tensordot(w[:, :, u, v], x[:, u : u + size[0], v : v + size[1]], 1)
    return y


def test_an_activation_inside_a_convolution_is_a_rectifier_like_one_after_it() -> None:
    w = np.random.default_rng(0).normal(size=(4, 3, 3, 3))
    rows: list[list[nn.Operator]] = [[nn.Conv(4, 3, weight=w, activation="relu")], [nn.Conv(4, 3, weight=w), nn.ReLU()]]
    ways = []
    for row in rows:
        net = nn.Sequential(*row, nn.Conv(2, 3, weight=1.0), nn.GlobalPool(), shape=(3, 12, 12)).build()
        ways.append([inside.guided(net, X, 0), inside.saliency(net, X, 0), inside.deconvnet(net, X, "conv2")[0].pixels])
    for one, other in zip(*ways, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_units_and_features_of_deconvnet() -> None:
    net = small()
    two = np.concatenate([X, 2 * X])
    found = inside.deconvnet(net, two, "conv1", feature=3)
    assert sorted(each.sample for each in found) == [0, 1]
    assert found[0].activation >= found[1].activation
    assert {each.unit[0] for each in found} == {3}
    (one,) = inside.deconvnet(net, X, "conv1", units=[(2, 5, 6)])
    assert one.region == ((4, 6), (5, 7))
    assert inside.deconvnet(net, X, "scores", strongest=1)[0].region == ((0, 11), (0, 11))
    for units in ([(2, 12, 0)], [(6, 0, 0)], [(0, 0)], [(-1, 0, 0)]):
        with pytest.raises(ArgumentError, match="6×12×12 of conv1"):
            inside.deconvnet(net, X, "conv1", units=units)
    with pytest.raises(ArgumentError, match=r"feature \(=6\) is none of conv1, which has 6"):
        inside.deconvnet(net, X, "conv1", feature=6)
    with pytest.raises(ArgumentError, match="strongest"):
        inside.deconvnet(net, X, "conv1", strongest=0)


def test_saliency_is_the_slope_of_the_score() -> None:
    net, part = small(), scores(small())
    found = inside.saliency(net, X, "c")
    random = np.random.default_rng(4)
    for _ in range(25):
        channel, row, column = (int(random.integers(length)) for length in X.shape[1:])
        ends = []
        for sign in (1, -1):
            moved = X.copy()
            moved[0, channel, row, column] += sign * 1e-6
            ends.append(part(moved)[0, 2])
        assert found[row, column, channel] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-8)
    best = int(part(X)[0].argmax())
    assert (inside.saliency(net, X) == inside.saliency(net, X, best)).all()


def test_guided_lets_only_what_is_positive_through() -> None:
    """Of one hidden layer: ∂ score/∂x = Σ over hidden units that are on, of w·v; guided keeps those with v > 0."""
    random = np.random.default_rng(0)
    w, v = random.normal(size=(8, 2, 1, 1)), random.normal(size=(3, 8))
    row = nn.Conv(8, 1, weight=w, bias=None), nn.ReLU(), nn.GlobalPool(), nn.Dense(3, weight=v)
    net = nn.Sequential(*row, shape=(2, 1, 1)).build().astype(np.float64)
    x = random.normal(size=(1, 2, 1, 1))
    on = (w[:, :, 0, 0] @ x[0, :, 0, 0]) > 0
    assert inside.saliency(net, x, 1)[0, 0] == pytest.approx((on * v[1]) @ w[:, :, 0, 0])
    assert inside.guided(net, x, 1)[0, 0] == pytest.approx((on * np.maximum(v[1], 0)) @ w[:, :, 0, 0])


def test_grad_cam_is_its_formula() -> None:
    net = small()
    maps = net.features(X, ["last"])["last"][0]
    slopes = np.zeros_like(maps)  # of the score of class 1 in the last maps: dense over their mean, whose own slope is 1/area
    slopes += net.parameters["scores.weight"][1][:, None, None] / maps[0].size
    wanted = np.maximum(np.tensordot(slopes.mean(axis=(1, 2)), maps, 1), 0)
    assert inside.grad_cam(net, X, 1, enlarged=False) == pytest.approx(wanted)
    assert inside.grad_cam(net, X, 1, layer="last").shape == (12, 12)
    assert inside.grad_cam(net, X, 1, layer="conv1", enlarged=False).shape == (12, 12)
    for layer, message in (("scores", "must give maps"), ("nothing", "must be one of")):
        with pytest.raises(ArgumentError, match=message):
            inside.grad_cam(net, X, layer=layer)


@pytest.mark.parametrize(("size", "stride", "fill"), [(4, 4, 0.0), (5, 3, None), (12, 1, 0.5)])
def test_occlusion_is_its_definition(size: int, stride: int, fill: float | None) -> None:
    net, part = small(), scores(small())
    stops = sorted({*range(0, 12 - size + 1, stride), 12 - size})
    sums, counts = np.zeros((12, 12)), np.zeros((12, 12))
    for top, left in itertools.product(stops, stops):
        hidden = X.copy()
        hidden[0, :, top : top + size, left : left + size] = X[0].mean(axis=(1, 2))[:, None, None] if fill is None else fill
        sums[top : top + size, left : left + size] += part(X)[0, 1] - part(hidden)[0, 1]
        counts[top : top + size, left : left + size] += 1
    told: list[tuple[int, int]] = []
    found = inside.occlusion(net, X, 1, size=size, stride=stride, fill=fill, progress=lambda *so_far: told.append(so_far))
    assert found == pytest.approx(sums / counts, abs=1e-9)
    assert told[-1] == (len(stops) ** 2,) * 2


def test_refusals_of_attributions() -> None:
    net = small()
    for target, message in ((4, "from 0 to 3"), ("e", "they are a, b, c, d")):
        with pytest.raises(ArgumentError, match=message):
            inside.saliency(net, X, target)
    with pytest.raises(ShapeError, match="one picture"):
        inside.saliency(net, np.concatenate([X, X]))
    for size, stride in ((13, 1), (3, 4), (0, 0)):
        with pytest.raises(ArgumentError, match="stride ≤ size ≤ 12"):
            inside.occlusion(net, X, size=size, stride=stride)


def test_pictures_are_prepared_as_for_predictions() -> None:
    net = nn.Sequential(nn.Conv(2, 3), shape=(3, None, None), preprocessing=nn.Preprocessing((1.0, 2.0, 3.0), 4.0, (10, 12)))
    photo = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    x = as_input(net, photo)
    assert x.shape == (1, 3, 10, 12)
    shown = inside.picture_of(net, x[0])
    assert shown.shape == (10, 12, 3)
    assert (as_input(net, np.moveaxis(shown, -1, 0)[None]) == x).all()
    assert as_input(net, photo[..., 0]).shape == (1, 3, 10, 12)


# Kernels and textures ----------------------------------------------------------------------------------------------------


def test_classic_kernels_are_as_printed() -> None:
    known = inside.classic_kernels(3, 3)
    for name in ("sobel_x", "sobel_y", "prewitt_x", "prewitt_y"):
        assert (known[name] == image.kernels.get(name)).all()
        assert str(inside.kernel_likeness(-2.5 * image.kernels.get(name)[None, None])[0]) == f"−{name} 1.00"
    five = inside.classic_kernels(5, 5)
    assert five["sobel_x"][0].tolist() == [-1, -2, 0, 2, 1]
    assert five["prewitt_y"][:, 0].tolist() == [-2, -1, 0, 1, 2]
    sigma = image.kernels.gaussian(1.0, 5)
    assert inside.kernel_likeness(sigma[None, None])[0].name == "gaussian σ=1.0"


def test_likeness_is_a_cosine_of_the_sum_over_channels() -> None:
    random = np.random.default_rng(0)
    w = random.normal(size=(6, 3, 3, 5))
    known = inside.classic_kernels(3, 5)
    for kernel, found in zip(w.sum(axis=1), inside.kernel_likeness(w), strict=True):
        cosines = {name: (kernel * k).sum() / np.sqrt((kernel**2).sum() * (k**2).sum()) for name, k in known.items()}
        name = max(cosines, key=lambda name: abs(cosines[name]))
        assert (found.name, found.sign) == (name, np.sign(cosines[name]))
        assert found.likeness == pytest.approx(abs(cosines[name]))
    with pytest.raises(ShapeError, match="at least 3×3"):
        inside.kernel_likeness(np.ones((2, 3, 1, 1)))


def waves(frequency: float, degrees: float, size: int = 64) -> Array:
    """A grating whose waves run along a direction, counter-clockwise from the right; its crests stand across it."""
    rows, columns = np.mgrid[:size, :size]
    angle = np.radians(degrees)
    picture: Array = np.sin(2 * np.pi * frequency * (columns * np.cos(angle) - rows * np.sin(angle)))
    return picture


def test_frequency_and_selectivity_of_gratings() -> None:
    for frequency, degrees in ((0.125, 0), (0.25, 30), (0.3, 90), (0.2, 135)):
        found = inside.frequency_of(waves(frequency, degrees)[None])
        assert found.frequency == pytest.approx(frequency, rel=0.02)
        assert found.selectivity == pytest.approx(1, abs=0.03)
    crossed = inside.frequency_of((waves(0.2, 20) + waves(0.2, 110))[None])
    assert crossed.selectivity == pytest.approx(0, abs=0.02)
    noise = inside.frequency_of(np.random.default_rng(0).normal(size=(8, 64, 64)))
    assert noise.frequency == pytest.approx(0.383, abs=0.01)  # the mean of √(u² + v²) over the square of frequencies
    assert noise.selectivity < 0.1


def test_repeats_are_found_up_to_their_turn() -> None:
    random = np.random.default_rng(0)
    fabric = np.stack([waves(0.1, 15) + 0.6 * waves(0.23, 80) + 0.1 * random.normal(size=(64, 64)) for _ in range(4)])
    turned = [fabric[0], np.rot90(fabric[1]), np.rot90(fabric[2], -1), waves(0.35, 40), fabric[3]]
    others = [waves(0.05, 100) + waves(0.3, 100), waves(0.15, 60), random.normal(size=(64, 64))]
    found = inside.Maximised("conv1", tuple(range(10, 18)), np.ones(8), np.stack([*turned, *others])[..., None], ())
    pairs = {(pair.first, pair.second): pair.turn for pair in inside.repeated(found, least=0.85)}
    assert pairs == {(10, 11): 90, (10, 12): 90, (11, 12): 0, (10, 14): 0, (11, 14): 90, (12, 14): 90}
    assert inside.repeated(inside.Maximised("conv1", (3,), np.ones(1), np.ones((1, 8, 8, 1)), ())) == ()


# Whole networks with trained weights --------------------------------------------------------------------------------------


def torch_of(net: nn.Graph, layer: str) -> Any:
    """The row of 3×3 convolutions, rectifiers and pools before a layer, in torch, with the same weights."""
    import torch

    row: list[Any] = []
    for node in inside.until(net, layer).nodes:
        if isinstance(node.op, nn.Conv):
            p = net.arrays_of(node)
            features, channels = p["weight"].shape[:2]
            conv = torch.nn.Conv2d(channels, features, 3, padding=1)
            conv.load_state_dict({name: torch.from_numpy(p[name].copy()) for name in ("weight", "bias")})
            row.append(conv)
        else:
            row.append(torch.nn.ReLU() if isinstance(node.op, nn.ReLU) else torch.nn.MaxPool2d(2))
    return torch.nn.Sequential(*row)


@pytest.mark.torch
@pytest.mark.parametrize("layer", ["conv1_2", "conv3_1", "relu3_1"])
def test_steps_are_those_of_torch(layer: str) -> None:
    """Three steps of the recipe on the shape of VGG-16, with random weights unless the trained ones are there."""
    import torch

    net = nn.models.get("vgg16-edges", weights="pretrained" if DATA else None)
    model, own = torch_of(net, layer), net.preprocessing
    assert own is not None
    mean = torch.tensor(own.mean, dtype=torch.float64).reshape(1, 3, 1, 1)
    found = inside.maximise(net, layer, [0, 5, 9], size=32, steps=3)
    for feature, activation, picture in zip(found.filters, found.activations, found.pictures, strict=True):
        x = torch.from_numpy(128 + 20 * (np.random.default_rng([0, feature]).random((1, 3, 32, 32)) - 0.5))
        for _ in range(3):
            x.requires_grad_(True)
            value = model((x - mean).float())[:, feature].mean()
            (g,) = torch.autograd.grad(value, x)
            x = (x + g / ((g**2).mean().sqrt() + 1e-5)).detach()
        assert activation == pytest.approx(value.item(), rel=1e-3)
        assert np.moveaxis(picture, -1, 0) == pytest.approx(x[0].numpy(), abs=0.05)
    assert len(found) + len(found.dead) == 3


@pytest.mark.slow
@with_data
@pytest.mark.parametrize(
    ("name", "colours", "edges", "patterns"),
    [("vgg16-edges", "conv1_1", "conv2_2", "conv5_3"), ("efficientnet-lite0", "blocks.1.bn0", "blocks.3.bn0", "blocks.11.bn0")],
)
def test_colours_then_edges_then_patterns(name: str, colours: str, edges: str, patterns: str) -> None:
    """Early layers look for plain colours, then for fine lines of one direction, later ones for coarser patterns of many."""
    net = nn.models.get(name, weights="pretrained")
    first, second, last = (
        inside.frequency(net, layer, 16, size=64, jitter=4, variation=0.05, drop=False) for layer in (colours, edges, patterns)
    )
    assert first.selectivity < second.selectivity > 1.5 * last.selectivity
    assert second.frequency > last.frequency


@pytest.mark.slow
@with_data
def test_the_sheet_of_the_texts() -> None:
    """Block 5, first convolution, by the recipe; some of its filters only, for its 200 take minutes."""
    net = nn.models.get("vgg16-edges", weights="pretrained")
    found = inside.maximise(net, "conv5_1", 16)
    assert found.sheet().shape == (1059, 1059, 3)
    assert 8 <= len(found) <= 16
    fresh = inside.maximise(net, "conv5_1", found.filters, steps=1)
    before = dict(zip(fresh.filters, fresh.activations, strict=True))
    assert all(value > 2 * before.get(number, 0) for number, value in zip(found.filters, found.activations, strict=True))
