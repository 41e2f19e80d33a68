"""Text, line art, painted cels and gradients: flat and sharp content that photographs do not teach."""

from __future__ import annotations

import string

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .dead_leaves import draw_outline
from .palette import draw_palette
from .raster import (
    Canvas,
    Floats,
    blur_field,
    coverage,
    fill,
    fixed_point,
    log_uniform,
    mix_in,
    plain_canvas,
    to_canvas,
    to_ink,
)

_LETTERS = list(string.ascii_letters + string.digits + ".,:;!?&%@#()[]+-=/")
_HERSHEY = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)


def draw_gradient(height: int, width: int, rng: np.random.Generator) -> Canvas:
    """A smooth picture, (height, width, 3): a few colours blended over a coarse grid, or one flat colour."""
    rows, columns = int(rng.integers(1, 6)), int(rng.integers(1, 6))
    grid = np.stack(np.split(draw_palette(rng, rows * columns), rows))
    smooth = np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return to_canvas(blur_field(smooth, 0.25 * max(height / rows, width / columns)))


def smooth_curve(rng: np.random.Generator, height: int, width: int, length: float) -> Floats:
    """A smooth random stroke of about ``length`` pixels as (n, 2) points: its curvature drifts slowly."""
    steps = max(int(length / 4.0), 4)
    curvature = rng.normal(0.0, 0.02) + np.cumsum(rng.normal(0.0, 0.01, steps))
    heading = rng.uniform(0.0, 2.0 * np.pi) + np.cumsum(np.minimum(np.maximum(curvature, -0.25), 0.25))
    moves = 4.0 * np.stack([np.cos(heading), np.sin(heading)], -1)
    return (rng.uniform([0.0, 0.0], [width, height]) + np.cumsum(moves, 0)).astype(np.float32)


def stroke(canvas: Canvas, points: Floats, width: float, colour: Floats, *, taper: bool = True) -> None:
    """Ink a line of ``width`` pixels along ``points``, thinning to its ends if ``taper``, antialiased."""
    tangent = np.empty_like(points)
    tangent[1:-1] = points[2:] - points[:-2]
    tangent[0], tangent[-1] = points[1] - points[0], points[-1] - points[-2]
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    profile = np.sin(np.linspace(0.15, np.pi - 0.15, len(points))) ** 0.6 if taper else np.ones(len(points))
    offset = normal * (0.5 * width * profile)[:, None]
    left, right = fixed_point(points + offset), fixed_point(points - offset)
    # Quads rather than one outline: a self-crossing stroke would be hollow at the crossing.
    for index in range(len(points) - 1):
        quad = np.stack([left[index], left[index + 1], right[index + 1], right[index]])
        cv2.fillConvexPoly(canvas, quad, to_ink(colour), cv2.LINE_AA, 4)


def _hatch(canvas: Canvas, rng: np.random.Generator, width: float, colour: Floats) -> None:
    """Parallel short strokes over a patch, sometimes crossed."""
    centre = rng.uniform([0.0, 0.0], [canvas.shape[1], canvas.shape[0]])
    size, gap = rng.uniform(20.0, 120.0), width * rng.uniform(1.6, 5.0)
    for angle in rng.uniform(0.0, np.pi) + np.array([0.0, np.pi / 2])[: rng.integers(1, 3)]:
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        for shift in np.arange(-size / 2, size / 2, gap):
            half = 0.5 * size * rng.uniform(0.6, 1.0) * along
            start, end = fixed_point(np.stack([-half, half]) + centre + across * shift).tolist()
            cv2.line(canvas, start, end, to_ink(colour), max(round(width), 1), cv2.LINE_AA, 4)


def draw_line_art(height: int, width: int, rng: np.random.Generator) -> Canvas:
    """Ink on paper, (height, width, 3): tapered strokes, outlines and hatching of a few pen widths."""
    paper, ink = draw_palette(rng, 1)[0], draw_palette(rng, 1)[0]
    if rng.random() < 0.7:
        paper, ink = 0.25 * paper + 0.75, 0.3 * ink
    canvas = plain_canvas(height, width, paper)
    pens = [log_uniform(rng, 1.2, 9.0) for _ in range(3)]
    for _ in range(int(rng.integers(10, 60))):
        pen, choice = float(rng.choice(pens)), rng.random()
        if choice < 0.12:
            _hatch(canvas, rng, pen, ink)
        elif choice < 0.4:
            radius = log_uniform(rng, 10.0, 0.4 * max(height, width))
            outline = draw_outline(rng, radius) + rng.uniform([0, 0], [width, height]).astype(np.float32)
            stroke(canvas, np.concatenate([outline, outline[:1]]), pen, ink, taper=False)
        else:
            length = log_uniform(rng, 30.0, 2.0 * max(height, width))
            stroke(canvas, smooth_curve(rng, height, width, length), pen, ink, taper=rng.random() < 0.7)
    return canvas


def _figure(canvas: Canvas, rng: np.random.Generator, colour: Floats, ink: Floats, pen: float) -> None:
    """One cel-painted shape: flat colour, a hard shadow inside it, an ink outline and a few inner lines."""
    height, width = canvas.shape[:2]
    radius = log_uniform(rng, 0.06, 0.35) * max(height, width)
    outline = draw_outline(rng, radius) + rng.uniform([0, 0], [width, height]).astype(np.float32)
    fill(canvas, outline, colour)
    shift = rng.normal(0.0, 0.5 * radius, 2).astype(np.float32)
    shadow = np.minimum(coverage(height, width, outline + shift), coverage(height, width, outline))
    mix_in(canvas, shadow, colour * np.float32(rng.uniform(0.6, 0.85)))
    for _ in range(int(rng.integers(0, 7))):
        detail = smooth_curve(rng, height, width, radius * rng.uniform(0.3, 1.5))
        detail += outline.mean(0) - detail.mean(0) + rng.normal(0.0, 0.4 * radius, 2).astype(np.float32)
        stroke(canvas, detail, pen * float(rng.uniform(0.5, 1.0)), ink)
    stroke(canvas, np.concatenate([outline, outline[:2]]), pen, ink, taper=False)


def draw_cel(height: int, width: int, rng: np.random.Generator) -> Canvas:
    """A made animation cel, (height, width, 3): a painted background, flat figures, dark thin ink lines."""
    canvas = draw_gradient(height, width, rng)
    colours = 0.15 + 0.85 * draw_palette(rng, int(rng.integers(6, 26)))
    ink = 0.25 * draw_palette(rng, 1)[0]
    pen = log_uniform(rng, 2.0, 6.0)
    for colour in colours:
        _figure(canvas, rng, colour, ink, pen)
    return canvas


def _text_line(canvas: Canvas, rng: np.random.Generator, size: float, origin: tuple[int, int], colour: Floats) -> None:
    """One line of random words, ``origin`` at the left end of its base line."""
    words = ["".join(rng.choice(_LETTERS, rng.integers(1, 10))) for _ in range(rng.integers(1, 6))]
    line = " ".join(words)
    if rng.random() < 0.35:
        font = _HERSHEY[rng.integers(len(_HERSHEY))]
        thickness = max(1, round(size * rng.uniform(0.04, 0.14)))
        cv2.putText(canvas, line, origin, font, size / 32.0, to_ink(colour), thickness, cv2.LINE_AA)
        return
    mask = Image.new("L", (canvas.shape[1], canvas.shape[0]))
    ImageDraw.Draw(mask).text(origin, line, fill=255, font=ImageFont.load_default(size), anchor="ls")
    mix_in(canvas, np.asarray(mask, np.float32) / np.float32(255.0), colour)


def _boxes(canvas: Canvas, rng: np.random.Generator, colours: Floats) -> None:
    """Up to four filled rectangles: buttons, captions, tables."""
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(0, 5))):
        left, top = int(rng.random() * width), int(rng.random() * height)
        corner = left + 4 + int(rng.random() * width), top + 4 + int(rng.random() * height)
        cv2.rectangle(canvas, (left, top), corner, to_ink(colours[rng.integers(len(colours))]), -1)


def draw_text(height: int, width: int, rng: np.random.Generator) -> Canvas:
    """Lines of random letters over paper, a gradient or boxes, (height, width, 3), sometimes turned."""
    canvas = draw_gradient(height, width, rng)
    if rng.random() < 0.5:
        canvas = plain_canvas(height, width, draw_palette(rng, 1)[0])
    colours = draw_palette(rng, 4)
    _boxes(canvas, rng, colours)
    size, top = log_uniform(rng, 14.0, 110.0), 0.0
    while top < height:
        top += size * rng.uniform(0.9, 1.6)
        _text_line(canvas, rng, size, (int(rng.integers(-20, 40)), int(top)), colours[rng.integers(4)])
    if rng.random() < 0.4:
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-90, 90)), 1.3)
        turned = cv2.warpAffine(canvas, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        canvas = np.asarray(turned, np.uint8)
    return canvas
