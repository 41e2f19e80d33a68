"""What a video says of how it was made: carried, replaced, or left out."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
from backplate.core.jobs.model_info import Model
from backplate.core.jobs.video.run import run_video
from backplate.core.media.video.carry import Carry
from backplate.core.media.video.encode import EncodeSettings
from clips import Nearest, write_clip
from small_jobs import job

OLD = {"workflow": '{"nodes": []}', "prompt": '{"1": {}}', "title": "Snow", "artist": "J\u00f6rg"}
RUNNING = (("prompt", '{"2": {"class_type": "\u96ea"}}'), ("workflow", json.dumps({"nodes": [{"id": 2}]})))
KINDS = [(".mp4", "h264"), (".mov", "h264"), (".mkv", "h264"), (".webm", "vp9")]


def tagged(folder: Path, suffix: str) -> Path:
    """As ComfyUI's SaveVideo and SaveWEBM write it."""
    plain, path = write_clip(folder / "plain.mp4", audio=suffix != ".webm"), folder / f"in{suffix}"
    if suffix == ".webm":
        run_video(job(plain, folder / "plain.webm", encode=EncodeSettings(codec="vp9")), Nearest())
        plain = folder / "plain.webm"
    options = {"movflags": "use_metadata_tags"} if suffix in (".mp4", ".mov") else {}
    with av.open(str(plain)) as origin, av.open(str(path), "w", options=options) as container:
        container.metadata.update(OLD)
        copies = {stream.index: container.add_stream_from_template(stream) for stream in origin.streams}
        container.streams.video[0].codec_context.framerate = origin.streams.video[0].average_rate
        for stream in copies.values():
            stream.metadata["title"] = "a track"
        for packet in origin.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    return path


def tags_of(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return {name.lower(): text for name, text in container.metadata.items()}


def titles_of(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.metadata.get("title", "") for stream in container.streams]


def done(source: Path, output: Path, codec: str, **changed: Any) -> dict[str, str]:
    encode = EncodeSettings(codec=codec, preset="ultrafast" if codec == "h264" else "")
    made = job(source, output, encode=encode, carry=changed.pop("carry", Carry()))
    run_video(replace(made, **changed), Nearest())
    return tags_of(output)


@pytest.mark.parametrize(("suffix", "codec"), KINDS)
@pytest.mark.parametrize("origin", [".mp4", ".mkv"])
def test_a_workflow_goes_from_container_to_container(origin: str, suffix: str, codec: str, tmp_path: Path) -> None:
    found = done(
        tagged(tmp_path, origin), tmp_path / f"out{suffix}", codec, software="Backplate", **without_sound_in(suffix)
    )
    assert {name: found.get(name) for name in OLD} == OLD


def without_sound_in(suffix: str) -> dict[str, Any]:
    """WebM holds no AAC."""
    return {"carry": Carry(audio=False)} if suffix == ".webm" else {}


@pytest.mark.parametrize(("suffix", "codec"), KINDS)
def test_what_runs_takes_the_place_of_what_ran(suffix: str, codec: str, tmp_path: Path) -> None:
    for origin in (".mp4", ".mkv"):
        output = tmp_path / f"out-{origin[1:]}{suffix}"
        found = done(tagged(tmp_path, origin), output, codec, embedded=RUNNING, **without_sound_in(suffix))
        assert (found["prompt"], found["workflow"]) == (RUNNING[0][1], RUNNING[1][1])
        assert found["title"] == "Snow"
        with av.open(str(output)) as container:
            assert [name.lower() for name in container.metadata].count("workflow") == 1


@pytest.mark.parametrize(("suffix", "codec"), KINDS)
def test_all_that_the_source_says_goes_where_asked(suffix: str, codec: str, tmp_path: Path) -> None:
    output = tmp_path / f"out{suffix}"
    carry = Carry(tags=False, audio=suffix != ".webm")
    found = done(tagged(tmp_path, ".mkv"), output, codec, software="Backplate", carry=carry)
    technical = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
    assert found.keys() <= technical
    assert set(titles_of(output)) == {""}


def test_credentials_are_named_and_the_licence_is_in_the_report(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4")
    box = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + b"manifest"
    source.write_bytes(source.read_bytes() + struct.pack(">I4s", 8 + len(box), b"uuid") + box)
    model = Model(name="tiny", sha256="f" * 64, licence="MIT", commercial_use=True)
    report = run_video(replace(job(source, tmp_path / "out.mp4"), model=model), Nearest())
    assert any("C2PA content credentials" in note for note in report.notes)
    assert b"manifest" not in (tmp_path / "out.mp4").read_bytes()
    values = report.as_dict()
    assert (values["model_licence"], values["model_commercial_use"], values["model_sha256"]) == ("MIT", True, "f" * 64)
