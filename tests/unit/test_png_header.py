"""How many values a PNG must hold."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from diffufuse.pixels.png_header import PngHeader, require_all_rows


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (9, 8), (20, 24)])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_holds_as_many_values_as_it_says_and_not_one_row_more(mode, shape):
    levels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    image = Image.fromarray(levels.astype(np.uint16)) if mode == "I;16" else Image.fromarray(levels).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    content = buffer.getvalue()
    require_all_rows(content)
    taller = content[:20] + struct.pack(">I", shape[0] + 1) + content[24:]
    with pytest.raises(ValueError, match="a value for every pixel"):
        require_all_rows(taller)


def test_an_interlaced_picture_has_rows_in_seven_passes_of_which_small_ones_lack_some():
    assert PngHeader(8, 8, 8, 0, 0, 0, 1).size == 64 + 1 + 1 + 1 + 2 + 2 + 4 + 4
    assert PngHeader(1, 1, 8, 2, 0, 0, 1).size == PngHeader(1, 1, 8, 2, 0, 0, 0).size == 4
    assert PngHeader(3, 1, 1, 0, 0, 0, 1).size == 2 + 2 + 2  # columns 0, 2 and 1


def test_other_files_have_no_such_header():
    assert PngHeader.of(b"\xff\xd8\xff") is None
    require_all_rows(b"\xff\xd8\xff")
