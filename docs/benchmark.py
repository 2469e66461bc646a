"""The site's page of the benchmark, made from the committed results in bench/results."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import report  # noqa: E402

RESULTS = ROOT / "bench" / "results"
TEXT = {
    "en": (
        "# How fast",
        "Every row of the benchmark runs the same problem in juanji and in its peers, in turn, in the same run and on one thread. A"
        " ratio above 1 means that juanji was faster.",
        "`python -m bench` makes this table anew on your machine.",
        "## Against the limit of the machine",
        "Each point is a row: how many multiply-adds a second, over how many of them there are to each byte that must be moved. The"
        " line is what the machine can do at most.",
        "Where each row of the benchmark lies under the limits of the machine",
    ),
    "zh": (
        "# 有多快",
        "基准测试的每一行，都让 juanji 和对照的库在同一次运行中轮流计算同一个问题，单线程。比值大于 1 表示 juanji 更快。",
        "运行 `python -m bench`，即可在自己的机器上重做这张表。",
        "## 与机器极限相比",
        "每个点是一行：纵轴为每秒乘加次数，横轴为每搬运一个字节所对应的乘加次数。折线是机器所能达到的上限。",
        "基准测试各行在机器极限之下的位置",
    ),
}


def page(language: str) -> str:
    """The page in "en" or "zh", as MyST markdown; it shows roofline.png, which stands beside it."""
    title, what, how, limit, told, alternative = TEXT[language]
    table = report.markdown(report.Report.read(RESULTS / "results.json"))
    figure = f"```{{image}} roofline.png\n:alt: {alternative}\n:class: figure-card\n```"
    return "\n\n".join([title, what, table, how, limit, told, figure]) + "\n"
