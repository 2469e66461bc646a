"""`juanji info`: the machine, the versions, the caches."""

import dataclasses

import typer

from juanji import __version__
from juanji.cli.options import Json
from juanji.cli.talk import memory, print_json, waiting
from juanji.messages import say

app = typer.Typer()


@app.command(help=say("info"), epilog=say("info.example"))
def info(as_json: Json = False) -> None:
    import platform
    from importlib import metadata

    from juanji import machine
    from juanji.jit import store

    with waiting(say("info.machine")):
        probed = machine.probe()
    versions = {"juanji": __version__, "python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in ("numpy", "llvmlite", "pillow")}
    (files, size), folder = store.size(), store.folder()
    if as_json:
        kept = {"folder": str(folder), "files": files, "bytes": size}
        print_json({"versions": versions, "machine": dataclasses.asdict(probed), "store": kept})
        return
    peak = say(
        "info.peak.value",
        f32=f"{probed.peak_f32 / 1e9:.0f} GFLOP/s",
        f64=f"{probed.peak_f64 / 1e9:.0f} GFLOP/s",
        bandwidth=f"{probed.bandwidth / 1e9:.1f} GB/s",
    )
    if probed.peak_int8:
        peak += say("info.peak.dots", rate=f"{probed.peak_int8 / 1e9:.0f} GFLOP/s")
    if probed.peak_matrix:
        peak += say("info.peak.matrix", rate=f"{probed.peak_matrix / 1e9:.0f} GFLOP/s")
    lines = {
        "info.versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "info.machine": f"{probed.name}, {platform.system()} {platform.machine()}",
        "info.cores": probed.cores,
        "info.vectors": say("info.vectors.value", bits=probed.vector_bits, registers=probed.registers),
        "info.caches": f"L1 {memory(probed.l1)}, L2 {memory(probed.l2)}",
        "info.peak": peak,
        "info.store": say("info.store.value", files=files, size=memory(size), folder=folder),
    }
    for key, value in lines.items():
        print(f"{say(key)}: {value}")
