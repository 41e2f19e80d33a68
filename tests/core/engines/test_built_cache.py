"""Built engines are found again, and only if nobody touched them."""

from __future__ import annotations

from pathlib import Path

import pytest
from backplate.core.engines.built_cache import Artifact, artifact_folder, drop_artifact, obtain
from backplate.core.progress import Progress
from recorder import Recorder

ARTIFACT = Artifact(kind="onnx", label="4x/Ultra Sharp", parts={"weights": "ab", "tile": 256})


def never() -> bytes:
    raise AssertionError("built again")


def test_what_was_built_is_found_again():
    assert obtain(ARTIFACT, lambda: b"engine", Progress()) == b"engine"
    assert obtain(ARTIFACT, never, Progress()) == b"engine"
    assert [path.name for path in artifact_folder().iterdir()] == [f"4x-Ultra-Sharp-{ARTIFACT.identity}.onnx"]
    drop_artifact(ARTIFACT)
    assert obtain(ARTIFACT, lambda: b"other", Progress()) == b"other"


@pytest.mark.parametrize(
    "other",
    [
        Artifact(kind="onnx", label="4x/Ultra Sharp", parts={"weights": "ab", "tile": 128}),
        Artifact(kind="onnx", label="4x/Ultra Sharp", parts={"weights": "ac", "tile": 256}),
        Artifact(kind="engine", label="4x/Ultra Sharp", parts={"weights": "ab", "tile": 256}),
    ],
)
def test_whatever_shapes_it_is_part_of_its_name(other: Artifact):
    assert other.identity != ARTIFACT.identity
    assert other.path != ARTIFACT.path


@pytest.mark.parametrize("place", range(0, 59, 7))
def test_a_flipped_byte_is_noticed_wherever_it_is_and_said_once(place: int):
    obtain(ARTIFACT, lambda: b"engine", Progress())
    stored = bytearray(ARTIFACT.path.read_bytes())
    assert len(stored) == 59
    stored[place] ^= 1
    ARTIFACT.path.write_bytes(stored)
    progress = Recorder()
    assert obtain(ARTIFACT, lambda: b"again", progress) == b"again"
    assert len(progress.notes) == 1
    assert obtain(ARTIFACT, never, progress) == b"again"
    assert len(progress.notes) == 1


@pytest.mark.parametrize("length", [0, 10, 53, 58])
def test_a_file_that_breaks_off_is_built_again(length: int):
    obtain(ARTIFACT, lambda: b"engine", Progress())
    ARTIFACT.path.write_bytes(ARTIFACT.path.read_bytes()[:length])
    assert obtain(ARTIFACT, lambda: b"again", Progress()) == b"again"


def test_a_failed_build_leaves_nothing():
    with pytest.raises(AssertionError):
        obtain(ARTIFACT, never, Progress())
    assert not artifact_folder().exists()


def test_a_folder_that_cannot_be_written_only_costs_the_building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BACKPLATE_ENGINES", str(tmp_path / "file" / "engines"))
    assert obtain(ARTIFACT, lambda: b"engine", Progress()) == b"engine"
    assert obtain(ARTIFACT, lambda: b"again", Progress()) == b"again"
