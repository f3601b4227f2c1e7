"""The icons at the sizes that panels show."""

from __future__ import annotations

import itertools

import pytest
from PIL import Image, ImageChops

from core.tray_icon import COLOURS, RIM, draw
from core.tray_menu import Mood

PANELS = ("#f3f3f3", "#202020")


@pytest.mark.parametrize("size", [16, 24, 64])
@pytest.mark.parametrize("mood", Mood)
def test_an_icon_is_its_colour_and_a_light_sign_on_a_clear_ground(mood: Mood, size: int) -> None:
    image = draw(mood, size)
    assert (image.size, image.mode) == ((size, size), "RGBA")
    assert image.getpixel((0, 0))[3] < 64  # type: ignore[index]
    pixels = size * size
    assert _near(image, COLOURS[mood]) > pixels * 0.2
    assert _near(image, RIM) > pixels * 0.04


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(Mood, 2)))
def test_shapes_differ_without_their_colours_at_16_pixels(one: Mood, other: Mood) -> None:
    """Compared as the light sign on a mid grey: what somebody who sees no colours has."""
    first, second = _sign(one), _sign(other)
    different = ImageChops.difference(first, second).point([0] * 96 + [1] * 160)
    assert sum(different.tobytes()) >= 16


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("mood", Mood)
def test_colours_stand_out_on_any_panel(mood: Mood, panel: str) -> None:
    """The contrast that WCAG asks of graphics is 3."""
    assert _contrast(COLOURS[mood], panel) >= 2.8


def _near(image: Image.Image, colour: str) -> int:
    plain = Image.new("RGBA", image.size, colour)
    bands = ImageChops.difference(image, plain).split()
    return sum(max(values) < 40 for values in zip(*(band.tobytes() for band in bands), strict=True))


def _sign(mood: Mood) -> Image.Image:
    """White where the icon is nearly white, else black."""
    image = Image.new("RGBA", (16, 16), "#808080")
    image.alpha_composite(draw(mood, 16))
    return image.convert("RGB").split()[2].point([0] * 180 + list(range(180, 256)))


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
