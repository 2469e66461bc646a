"""The benchmark of training: PyTorch's twin of a network starts from the same numbers, and is timed beside it."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
from bench.training import ROWS, Row, measure

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:Using padding='same'")]
SMALL = {
    "three-stages": Row("stages", "three-stages", (3, 16, 16), 6),
    "series": Row("series", "series", (2, 20), 5, 3),
    "volume": Row("volume", "volume", (1, 8, 8, 8), 4, 2),
    "unet": Row("unet", "unet", (1, 16, 16), 3, 1),
}


@pytest.mark.parametrize("row", SMALL.values(), ids=SMALL)
def test_both_compute_the_same_and_are_timed(row: Row) -> None:
    record = measure(row, threads=1, iterations=8)
    assert record.agrees
    assert record.ratio == pytest.approx(record.torch_ms / record.ours_ms)
    assert 0 < record.ours_best_ms <= record.ours_ms
    assert 0 < record.torch_best_ms <= record.torch_ms


def test_a_network_that_computes_something_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench import training

    monkeypatch.setattr(training, "AGREE", 0.0)
    assert not measure(SMALL["series"], threads=1, iterations=8).agrees


def test_every_small_network_has_its_row() -> None:
    assert {"lenet-5", "three-stages", "mlp", "series", "volume", "unet"} == {row.model for row in ROWS}
