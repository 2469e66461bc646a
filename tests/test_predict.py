"""What networks say of pictures, from Python and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from juanji import image, nn
from juanji.cli.app import run
from juanji.errors import ShapeError
from juanji.nn.predicting import predict

PHOTO = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def constant(values: list[float], *, last: nn.Operator | None = None, maps: bool = False) -> nn.Graph:
    """A network that says the same of every picture."""
    row: list[nn.Operator] = [nn.Conv(len(values), 1, weight=0.0, bias=np.array(values, np.float32))]
    row += [] if maps else [nn.GlobalPool()]
    return nn.Sequential(*row, *([last] if last else []), shape=(3, None, None), classes=("a", "b", "c"))


def test_scores_become_probabilities_once() -> None:
    scores = np.log([1.0, 2.0, 5.0]).tolist()
    for last in (None, nn.Softmax()):
        found = predict(constant(scores, last=last), PHOTO)
        assert found.kind == "classes"
        assert found.values == pytest.approx([0.125, 0.25, 0.625], abs=1e-6)
        assert [name for name, _ in found.best(2)] == ["c", "b"]


def test_masks_labels_and_numbers() -> None:
    for last in (None, nn.Sigmoid()):
        mask = predict(constant([0.0], last=last, maps=True), PHOTO)
        assert mask.kind == "mask"
        assert mask.picture().shape == (20, 30)
        assert (mask.picture() == 128).all()
    labels = predict(constant([0.0, 1.0, 0.5], maps=True), PHOTO)
    assert labels.kind == "labels"
    assert (labels.values == 1).all()
    assert (labels.picture() == 128).all()
    assert predict(constant([2.5]), PHOTO).values == pytest.approx([2.5])
    with pytest.raises(ShapeError, match="not a picture"):
        predict(constant([2.5]), PHOTO).picture()


def test_pictures_are_brought_to_the_networks_size() -> None:
    seen = []

    class Seeing(nn.Flatten):
        """Notes the shape that arrives."""

        def shape(self, *shapes: tuple[int, ...]) -> tuple[int, ...]:
            seen.append(shapes[0])
            return super().shape(*shapes)

    net = nn.Sequential(Seeing(), nn.Dense(2), shape=(3, 10, 10), preprocessing=nn.Preprocessing(0.0, 255.0, (10, 10), 0.5))
    predict(net, PHOTO)
    predict(net, PHOTO[..., 0])
    predict(net, np.dstack([PHOTO, PHOTO[..., :1]]))
    assert {shape[1:] for shape in seen} == {(3, 10, 10)}
    centre = nn.Preprocessing(0.0, 255.0, (10, 10), 0.5).picture(PHOTO, 3)
    assert centre[0] == pytest.approx(np.asarray(PHOTO[5:15, 10:20].transpose(2, 0, 1)))
    with pytest.raises(ShapeError, match="1 or 3 channels"):
        predict(nn.Sequential(nn.GlobalPool(), shape=(4, None, None)), PHOTO)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, saved, mask = tmp_path / "photo.png", tmp_path / "net.safetensors", tmp_path / "mask.png"
    image.write(photo, PHOTO)
    constant(np.log([1.0, 2.0, 5.0]).tolist()).build((3, 8, 8)).save(saved)
    assert run(["predict", str(saved), str(photo), "--top", "2"]) == 0
    assert capsys.readouterr().out == " 62.50%  c\n 25.00%  b\n"
    assert run(["predict", str(saved), str(photo), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"][0][0] == "c"
    constant([3.0], maps=True).build((3, 8, 8)).save(saved)
    assert run(["predict", str(saved), str(photo)]) == 2
    assert "-o FILE" in capsys.readouterr().err
    assert run(["predict", str(saved), str(photo), "-o", str(mask)]) == 0
    assert (image.read(mask) == 243).all()
    assert run(["predict", "lenet-6", str(photo)]) == 2
    assert "lenet-5" in capsys.readouterr().err
    assert run(["predict", "lenet-5", str(photo)]) == 2
    assert "juanji train lenet-5" in capsys.readouterr().err
    assert run(["predict", str(photo), str(photo)]) == 1
    assert "photo.png" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    assert run(["predict", str(tmp_path / "run"), str(photo)]) == 1
    assert "without net.safetensors" in capsys.readouterr().err
    assert run(["predict", str(saved), str(photo), "--mean", "a"]) == 2
    assert "123.7" in capsys.readouterr().err
