"""Draws the icon: a colour and a shape for each mood, so that neither is needed to tell them apart.

Middle tones with a light rim stand out on dark and on light panels.
"""

from __future__ import annotations

from PIL import Image, ImageDraw

from core.tray_menu import Mood

SIZE = 64
FINE = 8
"""Drawn so many times larger, then scaled down: smooth edges."""

COLOURS = {
    Mood.IDLE: "#6b7685",
    Mood.LOADING: "#d97706",
    Mood.SERVING: "#16a34a",
    Mood.PROBLEM: "#dc2626",
}
RIM = "#ffffff"


def draw(mood: Mood, size: int = SIZE) -> Image.Image:
    """The icon of a mood, with a transparent ground. Strokes are two pixels wide at 16 pixels."""
    image = Image.new("RGBA", (16 * FINE * 4, 16 * FINE * 4), (0, 0, 0, 0))
    pen = _Pen(ImageDraw.Draw(image), image.width / 16)
    colour = COLOURS[mood]
    if mood is Mood.PROBLEM:
        pen.polygon(((8, 0), (16, 15.5), (0, 15.5)), RIM)
        pen.polygon(((8, 1.8), (14.6, 14.7), (1.4, 14.7)), colour)
        pen.box((7, 6, 9, 10.4), RIM)
        pen.box((7, 11.5, 9, 13.5), RIM)
        return _scaled(image, size)
    pen.disc(8, 8, 8, RIM)
    pen.disc(8, 8, 7.2, colour)
    if mood is Mood.IDLE:
        pen.disc(8, 8, 4, RIM)
        pen.disc(8, 8, 2, colour)
    elif mood is Mood.LOADING:
        pen.polygon(((4.5, 3.5), (11.5, 3.5), (8, 8)), RIM)
        pen.polygon(((4.5, 12.5), (11.5, 12.5), (8, 8)), RIM)
    else:
        pen.polygon(((6, 4), (12, 8), (6, 12)), RIM)
    return _scaled(image, size)


def _scaled(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.LANCZOS)


class _Pen:
    """Draws in a field of 16 by 16, whatever the real size is."""

    def __init__(self, draw: ImageDraw.ImageDraw, scale: float) -> None:
        self._draw = draw
        self._scale = scale

    def disc(self, x: float, y: float, radius: float, colour: str) -> None:
        s = self._scale
        box = ((x - radius) * s, (y - radius) * s, (x + radius) * s, (y + radius) * s)
        self._draw.ellipse(box, fill=colour)

    def polygon(self, points: tuple[tuple[float, float], ...], colour: str) -> None:
        self._draw.polygon([(x * self._scale, y * self._scale) for x, y in points], fill=colour)

    def box(self, corners: tuple[float, float, float, float], colour: str) -> None:
        left, top, right, bottom = (value * self._scale for value in corners)
        self._draw.rectangle((left, top, right, bottom), fill=colour)
