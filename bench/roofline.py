"""The roofline: how fast each row runs for the work it does per byte, under the limits of the machine."""

import math
from pathlib import Path
from typing import Any

from bench.measure import Record
from bench.report import Report, groups

# Okabe and Ito's colours: told apart by every kind of sight; the shapes differ too
OURS, PEER, ROOF, LINK = "#0072B2", "#D55E00", "#444444", "#B8B8B8"
COLUMNS = 4


def draw(report: Report, path: Path) -> None:
    """A panel for each group: our rows as discs, the best peer of each as a diamond on the same vertical line.

    Raises ImportError where matplotlib is missing.
    """
    from matplotlib.figure import Figure

    panels = groups(record for record in report.records if record.macs and not record.fault)
    if not panels:
        return
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(max(3.2 * columns, 6.4), 2.6 * lines + 1.0), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    limits = _limits(report, [record for records in panels.values() for record in records])
    for axis, (group, records) in zip(axes.flat, panels.items(), strict=False):
        _panel(axis, group, records, report, limits)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis in axes.flat[max(len(panels) - columns, 0) : len(panels)]:
        axis.tick_params(labelbottom=True)
    _name_slope(axes.flat[0], report, limits)
    figure.supxlabel("arithmetic intensity: operations per byte of input, weights and output", fontsize=10)
    figure.supylabel("GFLOP/s", fontsize=10)
    figure.suptitle(_title(report), fontsize=11, x=0.01, ha="left")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower right", ncols=len(labels), frameon=False, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def intensity(record: Record) -> float:
    """FLOPs per byte moved, two for a multiply-add."""
    return 2 * record.macs / record.bytes_moved


def _title(report: Report) -> str:
    threads = "1 thread" if report.threads == 1 else f"{report.threads} threads"
    return f"juanji beside the best peer of every row: {report.machine['cpu']}, {threads}"


def _limits(report: Report, records: list[Record]) -> tuple[float, float, float, float]:
    """Of the axes, which all panels share: left, right, bottom, top."""
    intensities = [intensity(record) for record in records]
    speeds = [record.gflops for record in records] + [_peer_speed(record) for record in records if _peer_speed(record)]
    top = max(report.machine["peak_f32_gflops"] * report.threads, *speeds)
    return min(intensities) / 1.6, max(intensities) * 1.6, min(speeds) / 1.6, top * 2.2


def _peer_speed(record: Record) -> float:
    """GFLOP/s of the fastest peer, 0 without one."""
    times = [ms for label, ms in record.ms.items() if label != "juanji"]
    return 2 * record.macs / min(times) / 1e6 if times else 0.0


def _panel(axis: Any, group: str, records: list[Record], report: Report, limits: tuple[float, float, float, float]) -> None:
    left, right, bottom, top = limits
    double = all(record.dtype == "float64" for record in records)
    peak = report.machine["peak_f64_gflops" if double else "peak_f32_gflops"] * report.threads
    bandwidth = report.machine["bandwidth_gbs"] * report.threads
    ridge = peak / bandwidth
    axis.plot([left, ridge, right], [left * bandwidth, peak, peak], color=ROOF, linewidth=1.2, zorder=1)
    axis.plot([left, ridge], [peak, peak], color=ROOF, linewidth=0.8, linestyle=":", zorder=1)
    axis.text(left * 1.15, peak * 1.1, f"peak {peak:.0f}", va="bottom", fontsize=8, color=ROOF)  # where no row can be
    for record in records:
        if _peer_speed(record):
            axis.plot([intensity(record)] * 2, [_peer_speed(record), record.gflops], color=LINK, linewidth=0.8, zorder=2)
    compared = [record for record in records if _peer_speed(record)]
    diamonds = {"marker": "D", "s": 30, "facecolors": "white", "edgecolors": PEER, "linewidths": 1.2, "label": "best peer", "zorder": 3}
    axis.scatter([intensity(r) for r in compared], [_peer_speed(r) for r in compared], **diamonds)
    axis.scatter([intensity(r) for r in records], [r.gflops for r in records], s=13, color=OURS, label="juanji", zorder=4)
    axis.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
    axis.set_title(f"{group} ({len(records)})", fontsize=10, loc="left")
    axis.grid(True, which="major", color="#E6E6E6", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8)
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_formatter("{x:g}")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _name_slope(axis: Any, report: Report, limits: tuple[float, float, float, float]) -> None:
    """The bandwidth along the sloping roof of one panel."""
    bandwidth = report.machine["bandwidth_gbs"] * report.threads
    x, y = limits[0] * 1.9, limits[0] * 1.9 * bandwidth * 1.15
    along = math.degrees(math.atan2(y, x))  # parallel to the roof, in the units of the axes, which then turn it
    text = {"rotation": along, "rotation_mode": "anchor", "transform_rotates_text": True, "fontsize": 8, "color": ROOF}
    axis.text(x, y, f"copying {bandwidth:.0f} GB/s", va="bottom", **text)
