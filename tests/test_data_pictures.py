"""Folders of pictures, image + mask pairs, TIFF volumes: made here, whole and damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from damaged import damages
from juanji.data import borders, cut, masks, patches, pictures, tiff
from juanji.data.samples import Samples
from juanji.errors import ArgumentError, ExtraError, FileError, ShapeError
from test_data_formats import check_line

Array = npt.NDArray[Any]


def image(path: Path, shape: tuple[int, ...], dtype: str = "uint8", value: int | None = None) -> Array:
    """A picture file of random or of equal pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = (
        np.random.default_rng(sum(path.name.encode())).integers(0, 255, shape).astype(dtype)
        if value is None
        else np.full(shape, value, dtype)
    )
    Image.fromarray(array).save(path)
    return array


# folders of classes


def test_classes_are_sub_folders(tmp_path: Path) -> None:
    dog = image(tmp_path / "dog" / "1.png", (4, 5, 3))
    cat = image(tmp_path / "cat" / "b.png", (4, 5))
    image(tmp_path / "cat" / "c.bmp", (4, 5, 3))
    (tmp_path / "cat" / ".hidden.png").write_bytes(b"?")
    (tmp_path / "cat" / "notes.txt").write_text("?")
    (tmp_path / ".git").mkdir()
    found = pictures.read_folder(tmp_path)
    assert found.classes == ("cat", "dog")
    assert found.y.tolist() == [0, 0, 1]
    assert found.x.shape == (3, 3, 4, 5)
    assert found.x.dtype == np.uint8
    np.testing.assert_array_equal(found.x[2], dog.transpose(2, 0, 1))
    np.testing.assert_array_equal(found.x[0], np.stack([cat] * 3))


def test_alpha_is_left_out_and_colour_made_grey(tmp_path: Path) -> None:
    colour = image(tmp_path / "a" / "1.png", (4, 5, 4))
    image(tmp_path / "a" / "2.png", (4, 5, 2))
    np.testing.assert_array_equal(pictures.read_folder(tmp_path).x[0], colour[..., :3].transpose(2, 0, 1))
    grey = pictures.read_folder(tmp_path, channels=1).x
    assert grey.shape == (2, 1, 4, 5)
    pillow = np.asarray(Image.fromarray(colour[..., :3]).convert("L"))
    assert np.abs(grey[0, 0].astype(int) - pillow).max() <= 1
    with pytest.raises(ArgumentError, match=r"channels .=2. must be 1 for grey or 3 for colour"):
        pictures.read_folder(tmp_path, channels=2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_sizes_agree_or_are_made_to(tmp_path: Path, dtype: str) -> None:
    image(tmp_path / "a" / "1.png", (8, 6), dtype, 200)
    second = image(tmp_path / "a" / "2.png", (4, 3), dtype)
    with pytest.raises(FileError, match=r"2\.png: is 4×3, but the first picture 8×6; size="):
        pictures.read_folder(tmp_path)
    found = pictures.read_folder(tmp_path, size=(4, 3)).x
    assert found.dtype == dtype
    assert (found[0] == 200).all()
    np.testing.assert_array_equal(found[1, 0], second)
    assert pictures.read_folder(tmp_path, size=7).x.shape == (2, 1, 7, 7)


def test_folders_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="has no sub-folders"):
        pictures.read_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="empty: has no pictures; remove the folder"):
        pictures.read_folder(tmp_path)
    image(tmp_path / "empty" / "1.png", (4, 5))
    image(tmp_path / "empty" / "2.png", (4, 5), "uint16")
    with pytest.raises(FileError, match=r"2\.png: holds uint16, but the first picture uint8"):
        pictures.read_folder(tmp_path)
    (tmp_path / "empty" / "2.png").write_bytes(b"no picture")
    with pytest.raises(FileError, match=r"2\.png: is not a picture"):
        pictures.read_folder(tmp_path)
    (tmp_path / "empty" / "2.png").unlink()
    np.save(tmp_path / "empty" / "3.npy", np.zeros((2, 2, 9)))
    with pytest.raises(FileError, match=r"3\.npy: has shape .2, 2, 9. of float64"):
        pictures.read_folder(tmp_path)


# TIFF


def frames(path: Path, volume: Array) -> None:
    first, *rest = [Image.fromarray(layer) for layer in volume]
    first.save(path, save_all=True, append_images=rest)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int32", "float32"])
@pytest.mark.parametrize("depth", [1, 3])
def test_tiff_by_pillow(tmp_path: Path, dtype: str, depth: int) -> None:
    volume = np.random.default_rng(0).integers(0, 200, (depth, 4, 5)).astype(dtype)
    frames(tmp_path / "v.tif", volume)
    found = tiff.read(tmp_path / "v.tif")
    np.testing.assert_array_equal(found, volume[np.newaxis] if depth > 1 else volume)
    assert found.dtype == ("uint8" if dtype == "bool" else dtype)


def test_tiff_in_colour(tmp_path: Path) -> None:
    for channels in (3, 4):
        volume = np.random.default_rng(0).integers(0, 255, (2, 4, 5, channels)).astype(np.uint8)
        frames(tmp_path / "v.tif", volume)
        np.testing.assert_array_equal(tiff.read(tmp_path / "v.tif"), volume[..., :3].transpose(3, 0, 1, 2))


@pytest.mark.parametrize(("shape", "dtype"), [((4, 5, 3), "uint16"), ((2, 4, 5), "uint32"), ((4, 5), "float64"), ((2, 4, 5), "int8")])
def test_tiff_by_tifffile(tmp_path: Path, shape: tuple[int, ...], dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Pillow would read with fewer bits is read whole, or refused."""
    tifffile = pytest.importorskip("tifffile", reason="the extra data is not installed")
    array = (np.arange(np.prod(shape)) * 1001 % 65536).reshape(shape).astype(dtype)
    tifffile.imwrite(tmp_path / "v.tif", array, photometric="rgb" if shape[-1] == 3 else "minisblack")
    found = tiff.read(tmp_path / "v.tif")
    assert found.dtype == dtype
    wanted = array.transpose(2, 0, 1) if shape[-1] == 3 else array.reshape(1, *shape)
    np.testing.assert_array_equal(found, wanted)
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(ExtraError, match=r"tifffile is not installed; pip install 'juanji\[data\]' brings it"):
        tiff.read(tmp_path / "v.tif")


def test_tiff_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.tif"
    for data, rule in (
        (b"", "starts with nothing"),
        (b"\x89PNG", "starts with 89 50 4e 47, which is not a TIFF's mark"),
        (b"II*\0\x08\0\0\0", "has a frame at byte 8, but ends before"),
        (b"MM\0*\0\0\0\x08\0\1", "ends in the middle of a frame's directory"),
        (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "leads from one frame back to an earlier one, at byte 8"),
        (b"II+\0\x08\0\0\0" + b"\xff" * 8, "has a frame at byte 18446744073709551615"),
    ):
        path.write_bytes(data)
        with pytest.raises(FileError) as caught:
            tiff.read(path)
        assert rule in str(caught.value)
    frames(path, np.zeros((3, 4, 5), np.uint8))
    monkeypatch.setattr(tiff, "MOST_BYTES", 59)
    with pytest.raises(FileError, match="unfolds to 60 bytes, above the 59 that are read"):
        tiff.read(path)
    first = Image.fromarray(np.zeros((4, 5), np.uint8))
    first.save(path, save_all=True, append_images=[Image.fromarray(np.zeros((5, 5), np.uint8))])
    with pytest.raises(FileError, match="frame 1 differs in size or type"):
        tiff.read(path)
    with pytest.raises(FileError, match="no such file"):
        tiff.read(tmp_path / "nothing.tif")


@pytest.mark.parametrize("contiguous", [False, True])
def test_tiff_cut_at_every_byte(tmp_path: Path, contiguous: bool) -> None:
    """No frame gets lost: a file is refused, unless only tags or empty bytes at its end are missing."""
    path, volume = tmp_path / "v.tif", np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    if contiguous:
        pytest.importorskip("tifffile", reason="the extra data is not installed").imwrite(path, volume, photometric="minisblack")
    else:
        frames(path, volume)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            found = tiff.read(path)
        except FileError as error:
            check_line(error, path)
        else:
            np.testing.assert_array_equal(found[0], volume)


@given(st.data())
@settings(max_examples=60)
def test_tiff_mutated(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.tif"
    frames(path, np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    path.write_bytes(data.draw(damages(path.read_bytes())))
    try:
        tiff.read(path)
    except FileError as error:
        check_line(error, path)


# pairs


def check_pairs(found: Samples, first: Array, mask: Array) -> None:
    np.testing.assert_array_equal(found.x[0, 0], first)
    np.testing.assert_array_equal(found.y[0], mask > 0)
    assert found.y.dtype == np.uint8
    assert found.classes == ("background", "object")
    assert found.masked


@pytest.mark.parametrize(
    "names", [("images/a.png", "masks/a.bmp"), ("a.png", "a_mask.png"), ("imga.png", "maska.png"), ("image_a.png", "mask_a.png")]
)
def test_pairs(tmp_path: Path, names: tuple[str, str]) -> None:
    for letter in "ab":
        first = image(tmp_path / names[0].replace("a.", f"{letter}."), (4, 5))
        mask = image(tmp_path / names[1].replace("a.", f"{letter}.").replace("a_mask", f"{letter}_mask"), (4, 5))
        if letter == "a":
            kept = first, mask
    assert masks.is_folder(tmp_path)
    found = masks.read_folder(tmp_path)
    assert len(found) == 2
    check_pairs(found, *kept)
    np.testing.assert_array_equal(masks.read_folder(tmp_path, masks="stored").y[0], kept[1])


def test_pairs_of_volumes(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 999, (2, 4, 5)).astype(np.uint16)
    for name in ("img3d.tif", "mask3d.tif"):
        frames(tmp_path / name, volume)
    found = masks.read_pairs([masks.pair_of(tmp_path / "img3d.tif")])
    assert found.x.shape == (1, 1, 2, 4, 5)
    assert found.y.shape == (1, 2, 4, 5)
    with pytest.raises(ArgumentError, match="size and channels have no meaning for TIFF volumes"):
        masks.read_folder(tmp_path, size=3)
    (tmp_path / "mask3d.tif").unlink()
    with pytest.raises(FileError, match=r"img3d\.tif: has no mask; put it at .*img3d_mask\.tif"):
        masks.pair_of(tmp_path / "img3d.tif")


def test_pairs_are_resized_together(tmp_path: Path) -> None:
    image(tmp_path / "a.png", (8, 6))
    mask = image(tmp_path / "a_mask.png", (8, 6))
    found = masks.read_folder(tmp_path, size=(4, 3), masks="stored")
    assert found.x.shape == (1, 1, 4, 3)
    np.testing.assert_array_equal(found.y[0], mask[1::2, 1::2])


def test_pairs_that_are_wrong(tmp_path: Path) -> None:
    image(tmp_path / "a.png", (4, 5))
    image(tmp_path / "a_mask.png", (5, 4))
    with pytest.raises(FileError, match=r"a_mask\.png: is .5, 4., but its picture a\.png .4, 5."):
        masks.read_folder(tmp_path)
    with pytest.raises(ArgumentError, match=r"masks .='all'. must be one of binary, stored"):
        masks.read_folder(tmp_path, masks="all")
    image(tmp_path / "a_mask.png", (4, 5, 3))
    with pytest.raises(FileError, match=r"a_mask\.png: is in colour"):
        masks.read_folder(tmp_path)
    image(tmp_path / "b_mask.png", (4, 5))
    with pytest.raises(FileError, match=r"b_mask\.png: is the mask of no picture"):
        masks.read_folder(tmp_path)
    image(tmp_path / "b.png", (4, 5))
    image(tmp_path / "c.png", (4, 5))
    with pytest.raises(FileError, match=r"c\.png: has no mask; put it at .*c_mask\.png"):
        masks.read_folder(tmp_path)
    (tmp_path / "volumes").mkdir()
    frames(tmp_path / "volumes" / "a.tif", np.zeros((2, 4, 5), np.uint8))
    frames(tmp_path / "volumes" / "a_mask.tif", np.zeros((2, 4, 5), np.float32))
    with pytest.raises(FileError, match=r"a_mask\.tif: holds float32 from 0\.0"):
        masks.read_folder(tmp_path / "volumes")


# cutting up


@given(st.integers(1, 3), st.data())
def test_patches_are_windows_and_cover(n: int, data: st.DataObject) -> None:
    size = data.draw(st.tuples(*[st.integers(1, 9)] * n))
    window = tuple(data.draw(st.integers(1, length)) for length in size)
    step = data.draw(st.none() | st.tuples(*[st.integers(1, 9)] * n))
    mask = np.arange(np.prod(size)).reshape(size)
    picture = np.stack([mask, -mask])
    found = patches(picture, mask, window, step)
    assert found.x.shape[1:] == (2, *window)
    np.testing.assert_array_equal(found.x[:, 0], found.y)
    np.testing.assert_array_equal(found.x[:, 1], -found.y)
    starts = [patch.ravel()[0] for patch in found.y]
    assert starts == sorted(set(starts))
    for patch in found.y:
        corner = np.unravel_index(int(patch.ravel()[0]), size)
        np.testing.assert_array_equal(patch, mask[tuple(slice(at, at + length) for at, length in zip(corner, window, strict=True))])
    if step is None or all(s <= w for s, w in zip(step, window, strict=True)):
        assert set(found.y.ravel()) == set(mask.ravel())
    np.testing.assert_array_equal(patches(mask, mask, window, step).x[:, 0], found.y)


def test_patches_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"size \(6, 6\) must fit into the picture of \(5, 7\)"):
        patches(np.zeros((5, 7)), np.zeros((5, 7), int), 6)
    with pytest.raises(ShapeError, match="must be C×S for a mask of shape"):
        patches(np.zeros((5, 7)), np.zeros((5, 6), int), 2)


def test_cut_along_the_longest_axis() -> None:
    mask = np.arange(2 * 4 * 9).reshape(2, 4, 9)
    first, second = cut(Samples(mask[:, np.newaxis], mask), 1 / 3)
    assert (first.x.shape, second.x.shape) == ((2, 1, 4, 6), (2, 1, 4, 3))
    np.testing.assert_array_equal(np.concatenate([first.y, second.y], 2), mask)
    np.testing.assert_array_equal(second.x[:, 0], second.y)
    with pytest.raises(ArgumentError, match=r"fraction .=0.01. must leave at least one of 9 rows"):
        cut(Samples(mask[:, np.newaxis], mask), 0.01)
    with pytest.raises(ShapeError, match="must be a mask"):
        cut(Samples(mask[:, np.newaxis], np.zeros(2)), 0.5)


@given(st.integers(1, 3), st.data())
def test_borders_by_their_definition(n: int, data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 2), *[st.integers(1, 5)] * n))
    objects = np.array(data.draw(st.lists(st.integers(0, 2), min_size=int(np.prod(size)), max_size=int(np.prod(size))))).reshape(size)
    found = borders(objects)
    for place in np.ndindex(*size):
        near = [(*place[:axis], place[axis] + d, *place[axis + 1 :]) for axis in range(1, n + 1) for d in (-1, 1)]
        inside = [objects[at] for at in near if all(0 <= i < length for i, length in zip(at, size, strict=True))]
        wanted = 0 if objects[place] == 0 else 1 if any(other != objects[place] for other in inside) else 2
        assert found[place] == wanted
    with pytest.raises(ArgumentError, match="objects has dtype float64"):
        borders(objects.astype(float))
