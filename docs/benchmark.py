"""The site's page of the benchmark, made from the committed results in bench/results."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import report  # noqa: E402

RESULTS = ROOT / "bench" / "results"
TEXT = {
    "en": {
        "title": "How fast",
        "what": "Every row of the benchmark runs the same problem in juanji and in its peers, in turn, in the same run and on one thread. A"
        " ratio above 1 means that juanji was faster.",
        "how": "`python -m bench` makes this table anew on your machine.",
        "limit": "Against the limit of the machine",
        "told": "Each point is a row: how many multiply-adds a second, over how many of them there are to each byte that must be moved. The"
        " line is what the machine can do at most.",
        "alternative": "Where each row of the benchmark lies under the limits of the machine",
        "inference": "Whole networks, one picture at a time",
        "inference.what": "`net.compile` beside onnxruntime, the same graph on one thread; `python -m bench.inference`.",
        "training": "Training",
        "training.what": "One iteration, forward, backward and the optimiser's step, beside PyTorch's on the same network, weights and"
        " batches; `python -m bench.training`.",
        "pictures": "Pictures",
        "pictures.what": "From numbers to the file; `python -m bench.pictures`.",
        "network": "network", "ratio": "ratio", "share": "share of the limit", "mean": "geometric mean",
        "picture": "picture", "seconds": "seconds", "target": "at most", "size": "size",
        "animation of 60 frames, GIF": "animation of 60 frames, GIF", "page about EfficientNet-Lite0": "page about EfficientNet-Lite0",
    },
    "zh": {
        "title": "有多快",
        "what": "基准测试的每一行，都让 juanji 和对照的库在同一次运行中轮流计算同一个问题，单线程。比值大于 1 表示 juanji 更快。",
        "how": "运行 `python -m bench`，即可在自己的机器上重做这张表。",
        "limit": "与机器极限相比",
        "told": "每个点是一行：纵轴为每秒乘加次数，横轴为每搬运一个字节所对应的乘加次数。折线是机器所能达到的上限。",
        "alternative": "基准测试各行在机器极限之下的位置",
        "inference": "整个网络，一次一张图片",
        "inference.what": "`net.compile` 与 onnxruntime 对比，同一张图，单线程；命令为 `python -m bench.inference`。",
        "training": "训练",
        "training.what": "一次迭代：前向、反向和优化器的一步，与 PyTorch 在同样的网络、权重、批次上对比；命令为"
        " `python -m bench.training`。",
        "pictures": "图片",
        "pictures.what": "从数字到文件；命令为 `python -m bench.pictures`。",
        "network": "网络", "ratio": "比值", "share": "占极限的份额", "mean": "几何平均",
        "picture": "图片", "seconds": "秒", "target": "上限", "size": "大小",
        "animation of 60 frames, GIF": "60 帧的 GIF 动画", "page about EfficientNet-Lite0": "EfficientNet-Lite0 的报告页面",
    },
}  # fmt: skip


def page(language: str) -> str:
    """The page in "en" or "zh", as MyST markdown; it shows roofline.png, which stands beside it."""
    say = TEXT[language]
    table = report.markdown(report.Report.read(RESULTS / "results.json"))
    figure = f"```{{image}} roofline.png\n:alt: {say['alternative']}\n:class: figure-card\n```"
    first = [f"# {say['title']}", say["what"], table, say["how"], f"## {say['limit']}", say["told"], figure]
    tables = {"inference": _inference(say), "training": _training(say), "pictures": _pictures(say)}
    others = [part for name, made in tables.items() for part in (f"## {say[name]}", say[f"{name}.what"], made)]
    return "\n\n".join([*first, *others]) + "\n"


def _inference(say: dict[str, str]) -> str:
    rows = _read("inference")["rows"]
    lines = [
        (row["network"], _ms(row["compiled_ms"]), _ms(row["onnxruntime_ms"]), f"{row['ratio']:.2f}", f"{row['share']:.0%}") for row in rows
    ]
    mean = (say["mean"], "", "", f"{geometric_mean([row['ratio'] for row in rows]):.2f}", "")
    return _table((say["network"], "juanji", "onnxruntime", say["ratio"], say["share"]), [*lines, mean])


def _training(say: dict[str, str]) -> str:
    rows = _read("training")["records"]
    lines = [(row["name"], _ms(row["ours_ms"]), _ms(row["torch_ms"]), f"{row['ratio']:.2f}") for row in rows]
    mean = (say["mean"], "", "", f"{geometric_mean([row['ratio'] for row in rows]):.2f}")
    return _table((say["network"], "juanji", "PyTorch", say["ratio"]), [*lines, mean])


def _pictures(say: dict[str, str]) -> str:
    rows = _read("pictures")["rows"]
    lines = [(say[row["name"]], f"{row['seconds']:.1f}", f"{row['target']:g}", f"{row['bytes'] / 1e6:.1f} MB") for row in rows]
    return _table((say["picture"], say["seconds"], say["target"], say["size"]), lines)


def _read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.2f} ms"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
