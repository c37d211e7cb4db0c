"""Bad images and masks from end to end: refused by name, never read without end or in full."""

import os
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photograph_sets import class_folders, folder_set
from PIL import Image
from test_decode import encoded, photograph, png_of

from cdlib import external, modern
from cdlib.data.decode import UnreadableImageError, decode
from cdlib.data.folder import list_folder
from cdlib.data.sources import source_of
from cdlib.masks import check_inputs

# Folders


def test_a_pipe_among_the_images_is_refused_and_not_waited_for(tmp_path):
    root = class_folders(tmp_path / "raw")
    os.mkfifo(root / "train" / "city" / "pipe.jpg")
    with pytest.raises(ValueError, match=r"city/pipe\.jpg: a pipe"):
        source_of(folder_set(root), "train", 0)


def test_links_are_read_loops_are_not_followed_and_dead_ones_are_said(tmp_path):
    root = class_folders(tmp_path / "raw")
    before = len(list_folder(root, "train").files)
    (root / "train" / "city" / "loop").symlink_to(root / "train")
    (root / "train" / "city" / "link.jpg").symlink_to(root / "train" / "city" / "00.jpg")
    assert len(list_folder(root, "train").files) == before + 1
    (root / "train" / "city" / "dead.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(FileNotFoundError, match=r"city/dead\.jpg: listed but not there"):
        source_of(folder_set(root), "train", 0)


@pytest.mark.parametrize("place", ["file", "folder"])
def test_names_that_are_not_utf_8_are_refused_before_anything_is_made_of_them(tmp_path, place):
    root = class_folders(tmp_path / "raw")
    old = root / "train" / "city" / ("00.jpg" if place == "file" else "")
    try:
        os.rename(os.fsencode(old), os.fsencode(old.parent) + b"/caf\xe9.jpg")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    with pytest.raises(ValueError, match=r"the name 'caf\\udce9\.jpg' in it is not UTF-8"):
        list_folder(root, "train")


# Files


@pytest.mark.parametrize("side", [10_000, 100_000])
@pytest.mark.parametrize("read", [external.read_output, lambda p, n: modern._read(p, "RGB", n)])
def test_bombs_among_outputs_are_refused_by_name(tmp_path, read, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(side, side))
    with pytest.raises(ValueError, match=r"bomb\.png: more than .* pixels"):
        read(path, 32)


def test_an_example_in_another_format_is_not_opened(tmp_path):
    """A PostScript file under an image's name, say, which Pillow would have run."""
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path, "EPS")
    with pytest.raises(ValueError, match=r"a\.png: not a JPEG"):
        modern._read(path, "RGB", 8)


HEADS = [encoded(photograph(), form)[:200] for form in ("JPEG", "PNG", "WEBP", "TIFF", "BMP")]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(HEADS), st.integers(0, 200), st.binary(max_size=300))
def test_any_bytes_after_a_sound_head_decode_or_are_refused_soon(head, kept, rest):
    began = time.process_time()
    try:
        image = decode(head[:kept] + rest, 16)
    except UnreadableImageError as error:
        image = error
    assert time.process_time() - began < 2
    assert "\n" not in str(image) if isinstance(image, Exception) else image.shape == (16, 16, 3)


# Masks

SIDES = st.sampled_from([16, 16, 24, 24, 20, 8, 0])
VALUES = {"image": [0.0, 0.5, 1.0, 2.0, -1.0, torch.nan, torch.inf], "mask": [0.0, 1.0, 0.5, 2.0]}


@dataclass
class Case:
    image: torch.Tensor
    mask: torch.Tensor


@st.composite
def cases(draw) -> Case:
    """Mostly sound; now and then another size, type or value, or a mask all valid or missing."""
    often = st.integers(0, 9)
    height, width = draw(SIDES), draw(SIDES)
    batch, channels = draw(st.sampled_from([0, 1, 1, 2, 2])), 3 if draw(often) else 1
    image = torch.full((batch, channels, height, width), 0.5)
    shape = (batch, 1, height, width if draw(often) else 8)
    mask = torch.full(shape, float(draw(st.integers(0, 1))))
    for name, tensor in (("image", image), ("mask", mask)):
        for _ in range(draw(st.integers(0, 2))):
            if tensor.numel():
                place = draw(st.integers(0, tensor.numel() - 1))
                tensor.view(-1)[place] = draw(st.sampled_from(VALUES[name]))
    types = [torch.float32] * 8 + [torch.float64, torch.bool, torch.uint8]
    return Case(image.to(draw(st.sampled_from(types))), mask.to(draw(st.sampled_from(types))))


def is_sound(image: np.ndarray, mask: np.ndarray) -> bool:
    """What the door is to let in, pixel by pixel."""
    if {image.dtype, mask.dtype} != {np.dtype(np.float32)}:
        return False
    batch, channels, height, width = image.shape
    if channels != 3 or mask.shape != (batch, 1, height, width) or batch == 0:
        return False
    if not (height in (16, 24) and width in (16, 24)):
        return False
    for picture, hole in zip(image, mask[:, 0], strict=True):
        valid = [picture[:, y, x] for y, x in np.ndindex(height, width) if hole[y, x] == 1]
        missing = sum(hole[y, x] == 0 for y, x in np.ndindex(height, width))
        if not valid or len(valid) + missing != height * width:
            return False
        if not all(0 <= value <= 1 for pixel in valid for value in pixel):
            return False
    return True


@settings(max_examples=200, deadline=None)
@given(cases())
def test_the_door_lets_in_what_is_sound_and_nothing_else(case):
    if is_sound(case.image.numpy(), case.mask.numpy()):
        check_inputs(case.image, case.mask)
    else:
        with pytest.raises(ValueError, match=r"image|mask") as caught:
            check_inputs(case.image, case.mask)
        assert "\n" not in str(caught.value)
