"""The command line: results on standard output, talk on standard error, exit status 0, 1 or 2, and one line for an error."""

import json
import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import juanji
from juanji import image as ji
from juanji import messages
from juanji.cli import main

RANDOM = np.random.default_rng(3)
PHOTO = RANDOM.integers(0, 256, (24, 31, 3), "uint8")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in a folder that holds photo.png, and gives its status and what it printed on either stream."""
    monkeypatch.chdir(tmp_path)
    ji.write("photo.png", PHOTO)
    messages.use("en")

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        captured = capsys.readouterr()
        messages.use("en")
        return status, captured.out, captured.err

    return call


def in_a_process(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from juanji.cli import main; sys.exit(main())", *arguments],
        cwd=folder, env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment}, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip


# filter


def test_filter_writes_the_picture_and_says_how(run: Run) -> None:
    status, out, err = run("filter", "photo.png", "--kernel", "sharpen", "-o", "out.png")
    assert status == 0
    assert out == "out.png\n"
    assert (ji.read("out.png") == ji.filter(PHOTO, "sharpen")).all()
    done, plan, took = err.splitlines()
    assert done == "photo.png: 31×24 pixels, colour, uint8, through sharpen to out.png"
    assert re.fullmatch(r"plan: direct, space tile [^,]*", plan)
    assert re.fullmatch(r"time: \S+ (s|ms|µs)\b.*, threads: 1, \d+% of their (copying|multiply-add) limit.*", took)


def test_a_long_first_run_is_not_repeated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from juanji.image.prepared import Prepared

    whole, runs = Prepared.run, []

    def slow(self: Prepared, threads: int | None = None) -> np.ndarray:
        time.sleep(0.31)
        return whole(self, threads)

    def counted(self: Prepared, threads: int | None = None) -> np.ndarray:
        runs.append(threads)
        return self.plan(self.x, self.w, threads=threads)

    monkeypatch.setattr(Prepared, "run", slow)
    monkeypatch.setattr(Prepared, "convolve", counted)
    _, _, err = run("filter", "photo.png", "-k", "mean", "-o", "out.png", "--threads", "1")
    assert runs == [1], "once, inside run"
    assert re.fullmatch(r"time: \S+ m?s, machine code made or loaded in it, threads: 1, .* limit", err.splitlines()[-1])


KERNEL = json.dumps(RANDOM.integers(-9, 9, (9, 9)).tolist())  # no passes along single axes make it so short that a thread is enough


def test_share_is_of_the_cores_used(run: Run) -> None:
    ji.write("large.png", RANDOM.integers(0, 256, (600, 500), "uint8"))
    for threads in (1, 2):
        told = json.loads(run("filter", "large.png", "-k", KERNEL, "-o", "out.png", "--threads", str(threads), "--json")[1])
        cores = min(threads, os.cpu_count() or 1)
        assert told["threads"] == threads
        assert told["share"] == pytest.approx(told["plan"]["limit"]["seconds"] / told["warm"] / cores)


def test_options_reach_the_filter(run: Run) -> None:
    cases: list[tuple[list[str], np.ndarray]] = [
        (["gaussian", "--sigma", "2"], ji.gaussian(PHOTO, 2)),
        (["gaussian", "--sigma", "2", "--size", "5"], ji.gaussian(PHOTO, 2, 5)),
        (["mean", "--size", "5", "--boundary", "edge"], ji.mean(PHOTO, 5, boundary="edge")),
        (["mean", "--boundary", "constant=128"], ji.mean(PHOTO, boundary=("constant", 128))),
        (["motion_blur", "--size", "7", "--angle", "45"], ji.motion_blur(PHOTO, 7, 45)),
        (["unsharp", "--amount", "2", "--threads", "1"], ji.unsharp(PHOTO, amount=2)),
        (["emboss", "--stride", "2"], ji.emboss(PHOTO, stride=2)),
        (["emboss", "--stride", "2x3"], ji.emboss(PHOTO, stride=(2, 3))),
        (["[[0, 2], [1, 0]]"], ji.filter(PHOTO, [[0, 2], [1, 0]])),
    ]  # fmt: skip
    for options, expected in cases:
        assert run("filter", "photo.png", "-o", "out.png", "--kernel", *options)[0] == 0, options
        assert (ji.read("out.png") == expected).all(), options


def test_derivatives_are_written_as_magnitudes(run: Run) -> None:
    for name in ("sobel_x", "laplacian", "outline"):
        assert run("filter", "photo.png", "-k", name, "-o", "out.png")[0] == 0
        signed = ji.filter(PHOTO, name, dtype="float32")
        assert (ji.read("out.png") == np.clip(np.rint(np.abs(signed)), 0, 255)).all()
    assert run("filter", "photo.png", "-k", "sobel", "-o", "out.png")[0] == 0
    assert (ji.read("out.png") == np.clip(np.rint(ji.sobel(PHOTO)), 0, 255)).all()
    assert run("filter", "photo.png", "-k", "[[1,0,-1]]", "--signed", "-o", "out.png")[0] == 0
    expected = 128 + ji.filter(PHOTO, [[1, 0, -1]], dtype="float32") * (127 / 255)
    assert (ji.read("out.png") == np.rint(expected)).all()


def test_kernels_from_files(run: Run) -> None:
    kernel = [[0.0, 1.0, 0.5], [0.25, 0.0, -1.0]]
    np.save("k.npy", np.array(kernel))
    Path("k.json").write_text(json.dumps(kernel))
    Path("k.txt").write_text("0 1 0.5\n0.25 0 -1\n")
    Path("commas.txt").write_text("0, 1, 0.5\n0.25, 0, -1\n")
    for name in ("k.npy", "k.json", "k.txt", "commas.txt"):
        status, _, err = run("filter", "photo.png", "-k", name, "-o", "out.png")
        assert status == 0, err
        assert (ji.read("out.png") == ji.filter(PHOTO, kernel)).all()


def test_pictures_of_every_kind(run: Run) -> None:
    for shape, dtype in (((9, 8), "uint8"), ((9, 8, 2), "uint8"), ((9, 8, 4), "uint8"), ((9, 8), "uint16"), ((1, 1), "uint8")):
        picture = RANDOM.integers(0, np.iinfo(dtype).max + 1, shape, dtype)
        ji.write("other.png", picture)
        for kernel in ("mean", "sobel", "sobel_y", "outline"):
            status, _, err = run("filter", "other.png", "-k", kernel, "-o", "out.png")
            assert status == 0, err
            assert ji.read("out.png").dtype == picture.dtype
    np.save("one.npy", picture[..., None])
    assert run("filter", "one.npy", "-k", "mean", "-o", "out.png")[0] == 0
    assert (ji.read("out.png") == ji.mean(picture)).all()
    np.save("values.npy", RANDOM.normal(size=(5, 6)))
    assert run("filter", "values.npy", "-k", "sobel_x", "-o", "out.npy")[0] == 0
    assert (np.load("out.npy") == ji.filter(np.load("values.npy"), "sobel_x")).all(), "numbers keep their signs"


def test_json_of_filter(run: Run) -> None:
    status, out, _ = run("filter", "photo.png", "-k", "sobel", "-o", "out.png", "--json")
    told = json.loads(out)
    assert status == 0
    assert (told["output"], told["shape"], told["dtype"]) == ("out.png", [24, 31, 3], "uint8")
    assert told["plan"]["algorithm"] == "direct"
    assert 0 < told["warm"] <= told["first_call"]


def test_the_whole_plan(run: Run) -> None:
    _, _, err = run("filter", "photo.png", "-k", "mean", "-o", "out.png", "--plan")
    assert re.search(r"^plan    \w+: ", err, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["filter"], 2, "Missing argument"),
        (["filter", "photo.png", "-o", "out.png"], 2, "--kernel"),
        (["filter", "photo.png", "-k", "soble", "-o", "out.png"], 2, "--kernel (='soble') must be a name (gradient,"),
        (["filter", "photo.png", "-k", "[[1,2", "-o", "out.png"], 2, "must be rows of finite numbers"),
        (["filter", "photo.png", "-k", "[[1,2],[3]]", "-o", "out.png"], 2, "all of one length, such as [[0,1,0],[1,-4,1],[0,1,0]] ("),
        (["filter", "photo.png", "-k", "[1,2]", "-o", "out.png"], 2, "must be rows of finite numbers"),
        (["filter", "photo.png", "-k", "none.npy", "-o", "out.png"], 1, "none.npy: no such file"),
        (["filter", "photo.png", "-k", "photo.txt", "-o", "out.png"], 1, "photo.txt: no such file"),
        (["filter", "photo.png", "-k", "sobel", "--sigma", "2", "-o", "out.png"], 2, "kernel (='sobel') takes no parameter, not sigma"),
        (["filter", "photo.png", "-k", "[[1]]", "--size", "3", "-o", "out.png"], 2, "--size belongs to named kernels"),
        (["filter", "photo.png", "-k", "mean", "--size", "4", "-o", "out.png"], 2, "size (=4) must be odd and positive"),
        (["filter", "photo.png", "-k", "mean", "--size", "-3", "-o", "out.png"], 2, "size (=-3) must be odd and positive"),
        (["filter", "photo.png", "-k", "mean", "--size", "x", "-o", "out.png"], 2, "--size"),
        (["filter", "photo.png", "-k", "gaussian", "--sigma", "-1", "-o", "out.png"], 2, "sigma (=-1.0) must be a positive number"),
        (["filter", "photo.png", "-k", "mean", "--stride", "0", "-o", "out.png"], 2, "stride (=0) must be at least 1"),
        (["filter", "photo.png", "-k", "mean", "--stride", "two", "-o", "out.png"], 2, "--stride (='two') must be whole numbers"),
        (["filter", "photo.png", "-k", "mean", "--boundary", "mirror", "-o", "out.png"], 2, "boundary (='mirror') must be one of"),
        (["filter", "photo.png", "-k", "mean", "--boundary", "constant=x", "-o", "out.png"], 2, "--boundary (='constant=x')"),
        (["filter", "photo.png", "-k", "mean", "--boundary", "edge=3", "-o", "out.png"], 2, "--boundary (='edge=3')"),
        (["filter", "photo.png", "-k", "mean", "--boundary", "constant=nan", "-o", "out.png"], 2, "(=nan) must be finite for a picture"),
        (["filter", "photo.png", "-k", "mean", "--boundary", "constant=-inf", "-o", "out.png"], 2, "(=-inf) must be finite"),
        (["filter", "photo.png", "-k", "mean", "--signed", "-o", "out.png"], 2, "--signed: the weights of mean do not add up to zero"),
        (["filter", "seven.npy", "-k", "mean", "-o", "out.png"], 1, "seven.npy: has shape 4×5×7; a picture is H×W"),
        (["filter", "photo.png", "-k", "mean", "--threads", "0", "-o", "out.png"], 2, "--threads"),
        (["filter", "photo.png", "-k", "sobel", "--signed", "-o", "out.png"], 2, "use sobel_x or sobel_y"),
        (["filter", "photo.png", "-k", "mean", "-o", "photo.png"], 2, "is the photo itself"),
        (["filter", "photo.png", "-k", "mean", "-o", "out.xyz"], 2, "-o (='out.xyz') must name a file that ends in one of .png,"),
        (["filter", "none.png", "-k", "mean", "-o", ""], 2, "-o (='') must name a file"),
        (["filter", "photo.png", "-k", "mean", "-o", "none/out.png"], 1, "does not exist"),
        (["filter", "none.png", "-k", "mean", "-o", "out.png"], 1, "none.png: no such file"),
        (["filter", ".", "-k", "mean", "-o", "out.png"], 1, "is a folder"),
        (["filter", "cut.jpg", "-k", "mean", "-o", "out.png"], 1, "cut.jpg: is damaged"),
        (["filter", "text.png", "-k", "mean", "-o", "out.png"], 1, "is not a picture"),
        (["explain", "conv", "--input", "3x9x9"], 2, "--kernel"),
        (["explain", "conv", "--input", "3", "--kernel", "8x3"], 2, "--input (='3') must be whole numbers joined by x"),
        (["explain", "conv", "--input", "3x-8x8", "--kernel", "8x3x3"], 2, "--input (='3x-8x8') must be sizes of at least 1"),
        (["explain", "conv", "--input", "3x9x9", "--kernel", "8x0x3"], 2, "--kernel (='8x0x3') must be sizes of at least 1"),
        (["explain", "conv", "--input", "3x9x9", "--kernel", "8x3"], 2, "as many sizes"),
        (["explain", "conv", "--input", "1x4", "--kernel", "1x5", "--dilation", "2", "--padding", "1"], 2,
         "kernel of size 5 with dilation 2 spans 9, but axis 0 is 4 + 1 + 1 padding = 6"),
        (["explain", "conv", "--input", "3x9x9", "--kernel", "8x3x3", "--groups", "2"], 2, "--groups (=2) must divide the 3 channels"),
        (["explain", "conv", "--input", "3x9x9", "--kernel", "8x3x3", "--dtype", "foo"], 2, "--dtype (='foo')"),
        (["explain", "conv", "--input", "3x9x9", "--kernel", "8x3x3", "--dtype", "longdouble"], 1, "not built yet"),
        (["explain", "conv", "--input", "3x9x9", "--kernel", "8x3x3", "--layout", "foo"], 2, "layout (='foo') must be one of"),
        (["explain", "conv", "--input", "3x9x9", "--kernel", "8x3x3", "--padding", "some"], 2, "padding (='some') must be one of"),
        (["matrix", "--input", "4x4", "--kernel", "0x3"], 2, "--kernel (='0x3') must be sizes of at least 1"),
        (["matrix", "--input", "4x4x", "--kernel", "3x3"], 2, "--input (='4x4x') must be whole numbers joined by x"),
        (["matrix", "--input", "4x4", "--kernel", "3"], 2, "--kernel (='3') has 1 axes, but --input (='4x4') has 2"),
        (["matrix", "--input", "2x2", "--kernel", "3x3"], 2, "kernel of size 3, but axis 0 is 2 + 0 + 0 padding = 2"),
        (["matrix", "--input", "4x4", "--kernel", "[[1,2],[3]]"], 2, "(='[[1,2],[3]]') must be nested lists of finite numbers"),
        (["matrix", "--input", "4x4", "--kernel", "[[1,NaN]]"], 2, "must be nested lists of finite numbers"),
        (["matrix", "--input", "4x4", "--kernel", "[[1]]", "--channels", "2"], 2, "--kernel gives numbers, which are of one channel"),
        (["trace", "--input", "4x4", "--kernel", "3x3", "--position", "2,0"], 2, "position (=(2, 0)) must lie inside the output 1×2×2"),
        (["trace", "--input", "4x4", "--kernel", "3x3", "--position", "a"], 2, "--position (='a') must be whole numbers joined by commas"),
        (["trace", "--input", "4x4", "--kernel", "3x3", "--position", "0,0", "--pool", "max", "--flip"], 2, "--flip belongs to"),
        (["trace", "--input", "4x4", "--kernel", "3x3", "--position", "0,0", "--pool", "mean"], 2, "kind (='mean') must be one of"),
        (["frobnicate"], 2, "No such command"),
        (["info", "--frob"], 2, "--frob"),
        (["info", "--lang", "fr"], 2, "--lang"),
    ],
)  # fmt: skip
def test_bad_usage_gets_one_line(run: Run, arguments: list[str], status: int, message: str) -> None:
    ji.write("whole.jpg", PHOTO)
    Path("cut.jpg").write_bytes(Path("whole.jpg").read_bytes()[:700])
    Path("text.png").write_text("not a picture")
    np.save("seven.npy", np.zeros((4, 5, 7), "uint8"))
    got, out, err = run(*arguments)
    lines = err.splitlines()
    assert got == status, err
    assert message in lines[-1]
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in err
    assert out == ""
    assert not Path("out.png").exists()
    assert (ji.read("photo.png") == PHOTO).all()


NO_ROWS = ["[1, Infinity, 3]", "[NaN]", "[1e400]", "[-1e400]", "[1e300]", "[null]", "[true]", '["1"]', "", "[]", "1"]


@pytest.mark.parametrize("weights", NO_ROWS)
def test_kernels_are_finite_numbers(run: Run, weights: str) -> None:
    Path("k.json").write_text(f"[{weights}]")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for kernel, status, message in ((f"[{weights}]", 2, "must be rows of finite"), ("k.json", 1, "k.json: does not hold a kernel")):
            got, _, err = run("filter", "photo.png", "-k", kernel, "-o", "out.png")
            assert got == status
            assert message in err
            assert len(err.splitlines()) == 1
    assert not caught


def test_kernel_files_are_finite_numbers(run: Run) -> None:
    np.save("nan.npy", [[1.0, np.nan]])
    np.save("complex.npy", [[1j]])
    Path("ragged.txt").write_text("1 2\n3\n")
    Path("empty.txt").write_text("")
    for name in ("nan.npy", "complex.npy", "ragged.txt", "empty.txt"):
        status, _, err = run("filter", "photo.png", "-k", name, "-o", "out.png")
        assert (status, len(err.splitlines())) == (1, 1)
        assert f"{name}: does not hold a kernel" in err


def test_debug_shows_the_traceback(run: Run) -> None:
    from juanji.errors import FileError

    with pytest.raises(FileError):
        run("filter", "none.png", "-k", "mean", "-o", "out.png", "--debug")


# explain, info, bench, help


def test_explain_conv(run: Run) -> None:
    status, out, err = run("explain", "conv", "--input", "3x224x224", "--kernel", "64x7x7", "--stride", "2", "--padding", "3")
    assert status == 0
    assert err == ""
    assert "input 1×3×224×224 → output 1×64×112×112" in out
    assert "axis 0: ⌊(224 + 3 + 3 − 7) / 2⌋ + 1 = 112" in out
    assert "9,408 weights and 64 biases" in out
    assert "118,013,952 MACs" in out
    assert re.search(r"^plan    \w+: ", out, re.MULTILINE)


def test_explain_names_the_elements_that_a_stride_leaves_unused(run: Run) -> None:
    out = run("explain", "conv", "--input", "1x6x9", "--kernel", "1x3x2", "--stride", "2x5")[1]
    assert "⌊(6 + 0 + 0 − 3) / 2⌋ + 1 = 2, unused: 5\n" in out
    assert "⌊(9 + 0 + 0 − 2) / 5⌋ + 1 = 2, unused: 2…4, 7…8\n" in out


def test_explain_figures_of_a_known_layer(run: Run) -> None:
    # 227×227×3, 96 kernels of 11×11, stride 4: 55×55×96
    common = ["explain", "conv", "--json", "--input", "3x227x227", "--kernel", "96x11x11", "--stride", "4"]
    told = json.loads(run(*common)[1])
    assert told["output"] == [1, 96, 55, 55]
    assert told["parameters"] == {"weights": 11 * 11 * 3 * 96, "biases": 96}
    assert told["macs"] == 55 * 55 * 96 * 363
    last = json.loads(run(*common, "--layout", "channels_last", "--batch", "2")[1])
    assert last["input"] == [2, 227, 227, 3]
    assert last["output"] == [2, 55, 55, 96]
    # 32×48×12, 24 kernels 3×3, stride 2, padding 1: 16×24×24
    small = run("explain", "conv", "--json", "--input", "12x32x48", "--kernel", "24x3x3", "--stride", "2", "--padding", "1")
    assert json.loads(small[1])["output"] == [1, 24, 16, 24]
    assert json.loads(small[1])["parameters"] == {"weights": 2592, "biases": 24}


@pytest.mark.parametrize(("padding", "output"), [("0:1x3", [8, 13]), ("1x0", [9, 7]), ("same", [9, 9]), ("2", [11, 11])])
def test_explain_padding(run: Run, padding: str, output: list[int]) -> None:
    told = json.loads(run("explain", "conv", "--json", "--input", "1x9x9", "--kernel", "1x3x3", "--padding", padding)[1])
    assert told["output"][2:] == output


def test_matrix(run: Run) -> None:
    status, out, err = run("matrix", "--input", "4x4", "--kernel", "3x3")
    assert (status, err) == (0, "")
    head, entries, *rows = out.splitlines()
    assert head == "C is 4×16: outputs 1×2×2 by inputs 1×4×4"
    assert entries == "36 non-zeros, 9 to a row"
    assert rows[1] == "· 1 2 3 · 4 5 6 · 7 8 9 · · · ·"
    told = json.loads(run("matrix", "--input", "4x4", "--kernel", "[[0.5, -1]]", "--padding", "1", "--boundary", "constant=2", "--json")[1])
    assert told["shape"] == [30, 16]
    assert told["output"] == [1, 6, 5]
    assert told["offset"][0] == -1.0
    outside = run("matrix", "--input", "9", "--kernel", "[-1, 2]", "--padding", "1", "--boundary", "constant=1")[1]
    assert outside.splitlines()[2] == "the constant outside adds −1 to 2 to the outputs"
    large = run("matrix", "--input", "32x32", "--kernel", "3x3", "--channels", "3", "--features", "16", "--lang", "zh")[1]
    assert large.splitlines() == ["C 为 14400×3072：输出 16×30×30，输入 3×32×32", "388,800 个非零元素，每行 27 个"]


def test_trace(run: Run) -> None:
    common = ["trace", "--input", "[[1,2,3],[4,5,6],[7,8,9]]", "--kernel"]
    status, out, err = run(*common, "[[0,1],[2,3]]", "--position", "0,0")
    assert (status, err) == (0, "")
    assert out.splitlines() == ["y[0, 0, 0, 0] ← x[0, 0, 0…1, 0…1]", "0·1 + 1·2 + 2·4 + 3·5 = 25"]
    biased = run(*common, "[[0,1],[2,3]]", "--position", "1,1", "--bias", "-50", "--activation", "relu")[1].splitlines()
    assert biased[2:] == ["49 + bias −50 = −1", "relu(−1) = 0"]
    edge = run(*common, "sobel_x", "--position", "0,0", "--padding", "same", "--boundary", "edge", "--lang", "zh")[1].splitlines()
    assert edge[1] == "[ ] 位于输入之外：edge"
    up = run("trace", "--input", "2x2", "--kernel", "3x3", "--position", "0,1", "--transposed")[1]
    assert "2·1 + 1·2 = 4" in up
    assert "max(1, 2, 4, 5) = 5 = x[0, 0, 1, 1]" in run(*common, "2", "--position", "0,0", "--pool", "max")[1]
    told = json.loads(run(*common, "[[0,1],[2,3]]", "--position", "0,0", "--bias", "1.5", "--json")[1])
    assert [term["product"] for term in told["terms"]] == [0, 2, 8, 15]
    assert (told["sum"], told["result"]) == (25, 26.5)
    pooled = json.loads(run(*common, "2x2", "--position", "0,0", "--pool", "weighted", "--stride", "1", "--json")[1])
    assert pooled["result"] == pytest.approx(3)
    assert len(pooled["weights"]) == 4


def test_info(run: Run) -> None:
    status, out, _ = run("info")
    assert status == 0
    assert "numpy " in out
    assert "GFLOP/s float32" in out
    told = json.loads(run("info", "--json")[1])
    assert told["machine"]["cores"] >= 1
    assert set(told["store"]) == {"folder", "files", "bytes"}
    assert told["versions"]["llvmlite"]


@pytest.mark.parametrize("command", [[], ["filter"], ["info"], ["explain"], ["explain", "conv"], ["matrix"], ["trace"], ["bench"]])
def test_help(run: Run, command: list[str]) -> None:
    status, out, _ = run(*command, "--help")
    assert status == 0
    assert "Usage: juanji" in out
    if command not in ([], ["explain"]):
        assert "Example: juanji " + " ".join(command) in " ".join(out.split())


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"juanji {juanji.__version__}\n", "")


def test_python_m_juanji(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-m", "juanji", "--version"], cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert (ran.returncode, ran.stdout) == (0, f"juanji {juanji.__version__}\n")


def test_no_command_prints_help(run: Run) -> None:
    status, out, err = run()
    assert status == 2
    assert "Usage" in out + err


def test_bench_without_the_repository_says_where_it_is(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from juanji.cli import bench

    monkeypatch.setattr(bench, "__file__", str(tmp_path / "lib" / "juanji" / "cli" / "bench.py"))
    status, _, err = run("bench")
    assert status == 1
    assert "clone the repository" in err


# languages


def test_both_languages_say_the_same_things() -> None:
    for key, (english, chinese) in messages.TABLE.items():
        fields = [sorted(re.findall(r"{(\w+)", text)) for text in (english, chinese)]
        assert fields[0] == fields[1], key


def test_chinese_by_option(run: Run) -> None:
    for arguments in (["--lang", "zh", "info"], ["info", "--lang=zh"], ["info", "--lang", "zh"]):
        assert "版本：" in run(*arguments)[1] or "版本: " in run(*arguments)[1]
    status, _, err = run("filter", "none.png", "-k", "mean", "-o", "out.png", "--lang", "zh")
    assert status == 1
    assert err.startswith("错误：")


def test_chinese_by_locale(tmp_path: Path) -> None:
    ran = in_a_process("filter", "--help", folder=tmp_path, LC_ALL="zh_CN.UTF-8")
    assert ran.returncode == 0
    assert "示例：juanji filter" in ran.stdout
    assert "示例" not in in_a_process("filter", "--help", folder=tmp_path, LC_ALL="C.UTF-8").stdout


def test_a_process_of_its_own(tmp_path: Path) -> None:
    ji.write(tmp_path / "photo.png", PHOTO)
    ran = in_a_process("filter", "photo.png", "-k", "mean", "-o", "out.png", folder=tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "out.png\n")
    failed = in_a_process("filter", "none.png", "-k", "mean", "-o", "out.png", folder=tmp_path)
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 1
    wrong = in_a_process("filter", "photo.png", "-k", "mean", folder=tmp_path)
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1


def test_ctrl_c(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from juanji.image.prepared import Prepared

    def interrupted(self: Prepared, threads: int | None = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Prepared, "run", interrupted)
    status, out, err = run("filter", "photo.png", "-k", "mean", "-o", "out.png")
    assert (status, out, err.splitlines()[-1]) == (130, "", "interrupted")
    assert not Path("out.png").exists()


@pytest.mark.parametrize("dtype", ["int8", "bool", "float16", "complex64"])
def test_explain_every_kind_of_number(run: Run, dtype: str) -> None:
    status, out, _ = run("explain", "conv", "--input", "3x9x9", "--kernel", "8x3x3", "--dtype", dtype)
    assert status == 0
    assert "plan " in out
