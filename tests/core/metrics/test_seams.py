"""Planted seams are found where they are; pictures without seams score about 1."""

from __future__ import annotations

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.metrics.errors import NotMeasurable
from backplate.core.metrics.seams import seam_score

COLUMNS, ROWS = (64, 128, 192), (64, 128)
STEP = 1 / 255


def smooth(height: int = 192, width: int = 256) -> torch.Tensor:
    """A gradient in 8-bit values."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return ((60 + 0.31 * x + 0.17 * y).round() / 255).expand(1, 3, -1, -1).clone()


@pytest.mark.parametrize("seed", range(4))
def test_clean_pictures_score_about_one(drawn, seed):
    assert 0.75 < seam_score(drawn(192, 256, seed), COLUMNS, ROWS)[0].score < 1.35


def test_smooth_pictures_score_about_one():
    assert seam_score(smooth(), COLUMNS, ROWS)[0].score == pytest.approx(1, abs=0.35)
    assert seam_score(torch.full((1, 3, 192, 256), 0.5), COLUMNS, ROWS)[0].score == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("position", COLUMNS)
def test_one_seam_of_one_level_is_found_in_a_smooth_picture(position):
    picture = smooth()
    picture[..., position:] += STEP
    found = seam_score(picture, COLUMNS, ROWS)[0]
    assert found.worst[:2] == ("column", position)
    assert found.worst.score > 5
    assert found.score > 1.5 * seam_score(smooth(), COLUMNS, ROWS)[0].score


@pytest.mark.parametrize("position", ROWS)
def test_rows_are_seen_as_columns_are(position):
    picture = smooth()
    picture[..., position:, :] += STEP
    assert seam_score(picture, COLUMNS, ROWS)[0].worst[:2] == ("row", position)


@pytest.mark.parametrize("seed", range(4))
def test_tiles_one_level_apart_are_found_in_a_lively_picture(drawn, seed):
    picture = drawn(192, 256, seed, falloff=2.5)
    clean = seam_score(picture, COLUMNS, ROWS)[0].score
    for column in range(4):
        for row in range(3):
            if (column + row) % 2:
                picture[..., row * 64 : row * 64 + 64, column * 64 : column * 64 + 64] += STEP
    assert seam_score(picture, COLUMNS, ROWS)[0].score > max(1.5, 1.4 * clean)


def test_a_higher_seam_scores_higher(drawn):
    scores = []
    for levels in (0, 1, 2, 4, 8):
        picture = drawn(192, 256, falloff=2.5)
        picture[..., 128:] += levels * STEP
        scores.append(seam_score(picture, (128,), ())[0].score)
    assert scores[1:] == sorted(scores[1:])
    assert scores[-1] > 4 * scores[0]


def test_a_seam_beside_the_borders_is_not_theirs():
    picture = smooth()
    picture[..., 150:] += 4 * STEP
    clean = seam_score(smooth(), COLUMNS, ROWS)[0].score
    assert seam_score(picture, COLUMNS, ROWS)[0].score == pytest.approx(clean, rel=0.2)


def test_each_picture_of_a_batch_has_its_own_score():
    picture = smooth().repeat(2, 1, 1, 1)
    picture[1, ..., 128:] += STEP
    first, second = seam_score(picture, COLUMNS, ())
    assert second.score > 1.5 * first.score


@pytest.mark.parametrize(
    ("columns", "message"),
    [((), "No tile border"), ((0,), "no column border at pixel 0 .* 256x192"), ((256,), "at pixel 256")],
)
def test_borders_must_lie_in_the_picture(columns, message):
    with pytest.raises(InputError, match=message):
        seam_score(smooth(), columns, ())


def test_tiny_tiles_leave_nothing_to_compare_with():
    with pytest.raises(NotMeasurable, match="0 of 16 lines"):
        seam_score(smooth(), tuple(range(4, 256, 4)), ())
