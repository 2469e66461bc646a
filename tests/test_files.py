"""Picture files: every kind that is good input, and what damaged or unfit ones get."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from juanji.errors import ArgumentError, DtypeError, FileError, JuanjiError, ShapeError
from juanji.image import read, write

RANDOM = np.random.default_rng(7)
COLOUR = RANDOM.integers(0, 256, (9, 14, 3), "uint8")
SMOOTH = np.add.outer(np.arange(40), np.arange(60)).astype("uint8") * 2


def kinds(*shapes: tuple[str, tuple[int, ...]]) -> list[npt.NDArray[Any]]:
    return [RANDOM.integers(0, np.iinfo(dtype).max + 1, shape, dtype) for dtype, shape in shapes]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(
    "picture",
    kinds(("uint8", (7, 9)), ("uint8", (7, 9, 2)), ("uint8", (7, 9, 3)), ("uint8", (7, 9, 4)), ("uint16", (7, 9)), ("uint8", (1, 1))),
)
def test_there_and_back(tmp_path: Path, picture: npt.NDArray[Any], suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    write(path, picture)
    again = read(path)
    assert again.dtype == picture.dtype
    assert again.shape == picture.shape
    assert (again == picture).all()
    assert os.listdir(tmp_path) == [path.name], "no temporary file is left"


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".JPG", ".jpeg", ".webp"])
def test_other_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    write(path, np.stack([SMOOTH] * 3, -1))
    assert read(path).shape == (40, 60, 3)
    assert np.abs(read(path)[..., 1].astype(int) - SMOOTH).max() <= (0 if suffix in (".bmp", ".ppm") else 12)


def test_16_bits_in_pgm_and_views(tmp_path: Path) -> None:
    picture = RANDOM.integers(0, 65536, (6, 8), "uint16")
    write(tmp_path / "a.pgm", picture.T[::-1])
    assert (read(tmp_path / "a.pgm") == picture.T[::-1]).all()
    write(tmp_path / "a.png", picture.astype(">u2"))
    assert (read(tmp_path / "a.png") == picture).all()
    write(tmp_path / "b.png", picture[:, :, None])
    assert (read(tmp_path / "b.png") == picture).all()


def test_big_endian_16_bit_tiff(tmp_path: Path) -> None:
    picture = RANDOM.integers(0, 65536, (6, 8), "uint16")
    Image.frombytes("I;16B", (8, 6), picture.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    assert read(tmp_path / "a.tif").dtype == np.uint16
    assert (read(tmp_path / "a.tif") == picture).all()


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    palette = Image.fromarray(COLOUR).quantize(16)
    palette.save(tmp_path / "p.png")
    assert (read(tmp_path / "p.png") == np.array(palette.convert("RGB"))).all()
    palette.save(tmp_path / "p.gif")
    assert (read(tmp_path / "p.gif") == np.array(palette.convert("RGB"))).all()
    palette.save(tmp_path / "t.png", transparency=3)
    seen = read(tmp_path / "t.png")
    assert seen.shape == (9, 14, 4)
    assert set(np.unique(seen[..., 3])) == {0, 255}


def test_other_modes(tmp_path: Path) -> None:
    black_and_white = Image.fromarray(SMOOTH).convert("1")
    black_and_white.save(tmp_path / "one.png")
    assert set(np.unique(read(tmp_path / "one.png"))) == {0, 255}
    assert read(tmp_path / "one.png").dtype == np.uint8
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    cmyk.save(tmp_path / "cmyk.tif")
    assert (read(tmp_path / "cmyk.tif") == np.array(cmyk.convert("RGB"))).all()
    cmyk.save(tmp_path / "cmyk.jpg")
    assert read(tmp_path / "cmyk.jpg").shape == (9, 14, 3)
    Image.fromarray(np.array([[0.5, -1.0]], np.float32)).save(tmp_path / "float.tif")
    assert read(tmp_path / "float.tif").tolist() == [[0.5, -1.0]]


def test_exif_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90° clockwise
    Image.fromarray(COLOUR).save(tmp_path / "turned.png", exif=exif)
    assert (read(tmp_path / "turned.png") == np.rot90(COLOUR, -1)).all()


def test_numpy_files(tmp_path: Path) -> None:
    values = RANDOM.normal(size=(3, 4, 5)).astype("float32")
    write(tmp_path / "a.npy", values)
    assert (read(tmp_path / "a.npy") == values).all()


def test_16_bit_colour_is_read_with_8_and_said_so(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.tobytes() for row in COLOUR.astype(">u2") * np.array(257, ">u2"))
    header = struct.pack(">IIBBBBB", 14, 9, 16, 2, 0, 0, 0)
    path = tmp_path / "deep.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    with pytest.warns(UserWarning, match="16-bit colour is read with 8 bits"):
        picture = read(path)
    assert (picture == COLOUR).all()


def test_writing_replaces_whole_files_and_follows_links(tmp_path: Path) -> None:
    target, link = tmp_path / "target.png", tmp_path / "link.png"
    write(target, SMOOTH)
    link.symlink_to(target)
    write(link, COLOUR)
    assert link.is_symlink()
    assert (read(target) == COLOUR).all()
    mode = stat.S_IMODE(target.stat().st_mode)
    assert mode & stat.S_IRUSR
    assert not mode & stat.S_IXUSR


@pytest.mark.skipif(sys.platform == "win32", reason="other permissions")
def test_permissions_are_kept_and_read_only_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    write(path, SMOOTH)
    path.chmod(0o640)
    write(path, COLOUR)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o440)
    monkeypatch.setattr(os, "access", lambda path, mode: bool(path.stat().st_mode & stat.S_IWUSR))  # the superuser may write anywhere
    with pytest.raises(FileError, match=r"a\.png: is read-only"):
        write(path, SMOOTH)
    monkeypatch.undo()
    assert (read(path) == COLOUR).all()
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    write(path, SMOOTH)

    def fail(self: Image.Image, file: Any, **options: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(FileError, match="could not be written"):
        write(path, COLOUR)
    monkeypatch.undo()
    assert (read(path) == SMOOTH).all()
    assert os.listdir(tmp_path) == ["a.png"]


def bad_file(name: str, content: bytes) -> Callable[[Path], object]:
    def attempt(folder: Path) -> object:
        (folder / name).write_bytes(content)
        return read(folder / name)

    return attempt


def truncated(suffix: str, keep: float) -> Callable[[Path], object]:
    def attempt(folder: Path) -> object:
        path = folder / f"cut{suffix}"
        Image.fromarray(RANDOM.integers(0, 256, (64, 64, 3), "uint8")).save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * keep)])
        return read(path)

    return attempt


@pytest.mark.parametrize(
    ("attempt", "kind", "message"),
    [
        (lambda folder: read(folder / "none.png"), FileError, "none.png: no such file"),
        (lambda folder: read(folder / "none.npy"), FileError, "none.npy: no such file"),
        (lambda folder: read(folder), FileError, "is a folder, not a picture"),
        (bad_file("a.png", b""), FileError, "is not a picture that Pillow knows"),
        (bad_file("a.jpg", b"hello, this is a text"), FileError, "is not a picture that Pillow knows"),
        (bad_file("a.npy", b"hello"), FileError, "is not a NumPy array file"),
        (truncated(".jpg", 0.5), FileError, "cut.jpg: is damaged"),
        (truncated(".png", 0.5), FileError, "cut.png: is damaged"),
        (truncated(".tif", 0.5), FileError, "cut.tif: is "),
        (truncated(".webp", 0.5), FileError, "cut.webp: is "),
        (truncated(".gif", 0.5), FileError, "cut.gif: is damaged"),
        (lambda folder: write(folder / "a.xyz", COLOUR), FileError, "unknown suffix '.xyz'; use one of .png"),
        (lambda folder: write(folder / "a", COLOUR), FileError, "unknown suffix ''"),
        (lambda folder: write(folder / "none" / "a.png", COLOUR), FileError, "does not exist; make it first"),
        (lambda folder: write(folder / "none" / "a.npy", COLOUR), FileError, "does not exist; make it first"),
        (lambda folder: write(folder, COLOUR), FileError, "unknown suffix"),
        (lambda folder: write(folder / "a.jpg", np.zeros((3, 3, 4), "uint8")), DtypeError, "holds no colour with alpha picture; use .png"),
        (lambda folder: write(folder / "a.jpg", np.zeros((3, 3), "uint16")), DtypeError, "holds no 16-bit grey picture; use .png or .tif"),
        (lambda folder: write(folder / "a.pgm", COLOUR), DtypeError, "PPM holds no colour picture"),
        (lambda folder: write(folder / "a.png", np.zeros((3, 3, 3), "uint16")), DtypeError, "divide it by 257"),
        (lambda folder: write(folder / "a.png", COLOUR / 255), DtypeError, "image has dtype float64; picture files hold uint8 or uint16"),
        (lambda folder: write(folder / "a.png", COLOUR[0, 0]), ShapeError, "image of shape (3,) must be"),
        (lambda folder: write(folder / "a.png", np.zeros((3, 3, 5), "uint8")), ShapeError, "up to 4 channels"),
        (lambda folder: write(folder / "a.png", COLOUR[:0]), ShapeError, "at least one pixel"),
        (lambda folder: write(COLOUR, str(folder / "a.png")), ArgumentError, "path is of type ndarray, but must be the name of a file"),  # type: ignore[arg-type]
        (lambda folder: read(5), ArgumentError, "path is of type int"),  # type: ignore[arg-type]
        (lambda folder: write(folder / "a.png", [[1, 2], [3]]), ShapeError, "image must be an array"),
        (lambda folder: write(folder / "a.npy", np.array([None])), DtypeError, "image has dtype object"),
    ],
)  # fmt: skip
def test_bad_files(attempt: Callable[[Path], object], kind: type[JuanjiError], message: str, tmp_path: Path) -> None:
    with pytest.raises(kind) as error:
        attempt(tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_object_arrays_are_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(FileError, match="not a NumPy array file"):
        read(tmp_path / "a.npy")


def test_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.png", SMOOTH)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert read(tmp_path / "a.png").shape == (40, 60), "above Pillow's warning, below twice it"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(FileError, match="is too large to be a picture"):
        read(tmp_path / "a.png")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(FileError, match="may not be written"):
        write(folder / "a.png", COLOUR)
