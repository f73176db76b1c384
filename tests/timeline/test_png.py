"""The picture as PNG."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.drawing import BEGIN, DAY, decode_png, documentation
from trio_dispatch import Dispatch, draw_timeline
from trio_dispatch.testing import make_dispatch
from trio_dispatch.timeline import Timeline

WHITE, DARK = b"\xff\xff\xff\xff", b"\x0e\x14\x1b\xff"
EDGE, GAP = 16, 12

ROOT = Path(__file__).parents[2]


def day(*found: Dispatch) -> Timeline:
    return draw_timeline(found, BEGIN, BEGIN + DAY, now=BEGIN - DAY)


def test_size() -> None:
    picture = documentation().picture()
    image = decode_png(picture.png(500, scale=1))
    assert image.width == 500
    assert f'height="{image.height}"' in picture.svg(500)
    image = decode_png(day(make_dispatch(1, start_time=BEGIN)).png(400, scale=1.5))
    assert image.width == 600


def test_light_and_dark() -> None:
    picture = day()
    assert decode_png(picture.png(400)).rows[0][:4] == WHITE
    assert decode_png(picture.png(400, theme="auto")).rows[0][:4] == WHITE
    assert decode_png(picture.png(400, theme="dark")).rows[0][:4] == DARK


@pytest.mark.parametrize(
    "name", ["CHARGE", "W" * 60, "i" * 300, "mixed Case_and-signs @#%&" * 4, "Größe Ωμέγα Дом" * 5]
)
def test_labels_are_drawn_and_stay_in_their_column(name: str) -> None:
    image = decode_png(day(make_dispatch(1, type=name, start_time=BEGIN)).png(960, scale=1))
    svg = day(make_dispatch(1, type=name, start_time=BEGIN)).svg(960)
    # The chart begins where the first bar does.
    left = int(float(svg.split('class="bar"')[1].split(' d="M')[1].split(" ")[0])) - 3
    label = image.rows[58:]
    inked = {x for x in range(left - 1) if len({row[4 * x : 4 * x + 4] for row in label[4:26]}) > 1}
    assert min(inked) >= EDGE - 1
    assert EDGE + 20 < max(inked) < left - GAP + 2


def test_it_does_not_depend_on_the_system(tmp_path: object) -> None:
    # In another process, with other fonts and another locale, not a bit is different.
    program = (
        "import hashlib; from tests.helpers import drawing;"
        "print(hashlib.sha256(drawing.documentation().picture().png()).hexdigest())"
    )
    environment = {"HOME": str(tmp_path), "FONTCONFIG_FILE": "/nonexistent", "LC_ALL": "C"}
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=environment | more,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for more in ({}, {"TZ": "Asia/Tokyo"})
    }
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["resvg_py", "font_roboto"])
def test_without_the_extra_it_names_the_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"{name}: pip install 'trio-dispatch\[pictures\]'"):
        day().png()


def test_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scale 0\.1 is not from 0\.5 to 8"):
        day().png(scale=0.1)
    with pytest.raises(ValueError, match="width 399 is not from 400"):
        day().png(399)
