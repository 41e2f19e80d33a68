"""Videos through a real ComfyUI: loaded, upscaled as a stream, looked over, saved, trimmed, cancelled."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from comfy_server import Client, Graph, Run
from graphs import fitting, graph_with, load_model

pytest.importorskip("av", reason="the tests of videos make their own with PyAV")
from clips import drawing, packets_of, pictures_of, tags_of, times_of, write_clip

pytestmark = pytest.mark.comfyui

UNEVEN = [512 * number + 100 * (number % 3) for number in range(14)]


def load_video(graph: Graph, comfy: Client, path: Path) -> list[object]:
    return [graph.add("LoadVideo", file=comfy.upload_file(path.read_bytes(), path.name)), 0]


def upscale_video(graph: Graph, model: list[object], video: list[object], **changed: object) -> str:
    inputs = fitting(width=96, height=72) | {
        "codec": "h264",
        "crf": 4,
        "container": "mp4",
        "bit_depth": "as source",
        "held_frames": "exact",
        "held_threshold": 1.5,
        "save_to": "output",
        "filename_prefix": "video/test",
        "audio": True,
        "subtitles": True,
        "round_even": True,
        "deinterlace": False,
        "keep_partial": False,
        "tile_size": 0,
        "edge": "plain",
    }
    return graph.add("BackplateUpscaleVideo", upscale_model=model, video=video, **{**inputs, **changed})


def result_of(comfy: Client, run: Run, node: str) -> Path:
    (file,) = run.outputs[node]["images"]
    assert comfy.get("/view", **file)[4:8] == b"ftyp"
    return comfy.server.base / file["type"] / file["subfolder"] / file["filename"]


def test_times_and_sound_come_through_and_the_result_goes_on(comfy: Client, tmp_path: Path) -> None:
    pictures = [drawing(number) for number in range(len(UNEVEN))]
    source = write_clip(tmp_path / "uneven.mp4", pictures=pictures, pts=UNEVEN, audio=True)
    graph = Graph()
    video = load_video(graph, comfy, source)
    node = upscale_video(graph, load_model(graph, tiny_models.COMPACT), video)
    looked = graph.add("BackplateVideoReport", result=[node, 0], source=video)
    report, text, kept = graph.text([node, 2]), graph.text([looked, 0]), graph.text([looked, 3])
    saver = graph.add("SaveVideo", video=[node, 0], filename_prefix="video/saved", format="auto", codec="auto")
    run = comfy.succeed(graph)
    output = result_of(comfy, run, node)
    assert times_of(output) == times_of(source) == times_of(result_of(comfy, run, saver))
    assert packets_of(output) == packets_of(source)
    assert pictures_of(output)[0].shape == (72, 96, 3)
    facts = json.loads(comfy.string(run, report))
    assert (facts["frames"], facts["size"]) == (14, "96x72")
    assert "times kept" in comfy.string(run, text)
    assert comfy.string(run, kept) in ("True", "true")
    bars = [event["data"] for event in run.events if event["type"] == "progress" and event["data"]["node"] == node]
    assert bars[-1]["value"] == bars[-1]["max"] == 14
    assert not list(output.parent.glob(".*"))


def test_videos_made_of_images_keep_their_colours(comfy: Client) -> None:
    colour = (200, 40, 30)
    graph, image = graph_with(comfy, np.full((1080, 64, 3), colour, np.uint8), "flat.png")
    batch = [graph.add("ImageFromBatch", image=image, batch_index=0, length=1), 0]
    video = [graph.add("CreateVideo", images=batch, fps=24.0), 0]
    node = upscale_video(graph, load_model(graph, tiny_models.RRDB_NEW), video, width=32, height=540, save_to="temp")
    plain = graph.add("BackplateFitToResolution", image=image, **fitting(width=32, height=540))
    graph.save([plain, 0])
    run = comfy.succeed(graph)
    output = result_of(comfy, run, node)
    assert tags_of(output)[1] == 1
    middle = pictures_of(output)[0][200:300, 8:24].reshape(-1, 3).mean(axis=0)
    assert np.abs(middle - colour).max() < 5


def test_videos_made_of_images_reach_the_model_without_loss(comfy: Client) -> None:
    rng = np.random.default_rng(2)
    picture = np.kron(rng.integers(0, 255, (24, 32, 3)), np.ones((2, 2, 1))).astype(np.uint8)
    graph, image = graph_with(comfy, picture, "noise.png")
    video = [graph.add("CreateVideo", images=image, fps=24.0), 0]
    model = load_model(graph, tiny_models.COMPACT)
    settings = {**fitting(width=128, height=96), "crf": 0, "save_to": "temp"}
    node = upscale_video(graph, model, video, **settings)
    plain = graph.add(
        "BackplateUpscaleToResolution",
        upscale_model=model,
        image=image,
        tile_size=0,
        edge="plain",
        **fitting(width=128, height=96),
    )
    saved = graph.save([plain, 0])
    run = comfy.succeed(graph)
    made = pictures_of(result_of(comfy, run, node))[0].astype(int)
    wanted = comfy.picture(run, saved).astype(int)
    # 4:2:0 of the result blurs colour; an encoded source would have blurred brightness as well.
    weights = np.array([0.2126, 0.7152, 0.0722])
    assert np.abs((made - wanted) @ weights).mean() < 1.5


def test_a_trimmed_video_is_upscaled_where_it_is_shown(comfy: Client, tmp_path: Path) -> None:
    if "Video Slice" not in comfy.get_json("/object_info"):
        pytest.skip("this ComfyUI cannot trim videos")
    source = write_clip(tmp_path / "long.mp4", audio=True)
    graph = Graph()
    video = load_video(graph, comfy, source)
    cut = graph.add("Video Slice", video=video, start_time=0.2, duration=0.4, strict_duration=False)
    node = upscale_video(graph, load_model(graph, tiny_models.COMPACT), [cut, 0])
    run = comfy.succeed(graph)
    output = result_of(comfy, run, node)
    assert times_of(output) == [Fraction(number, 25) for number in range(10)]
    assert len(packets_of(output)) < len(packets_of(source))


def test_cancel_keeps_what_is_finished_and_the_same_graph_goes_on(comfy: Client, tmp_path: Path) -> None:
    pictures = [drawing(number, 160, 120) for number in range(60)]
    source = write_clip(tmp_path / "cancel.mp4", pictures=pictures, pts=[512 * number for number in range(60)])

    name = comfy.upload_file(source.read_bytes(), source.name)

    def graph_of() -> tuple[Graph, str, str]:
        graph = Graph()
        model = load_model(graph, tiny_models.RRDB_OLD, "fp32")
        video: list[object] = [graph.add("LoadVideo", file=name), 0]
        node = upscale_video(graph, model, video, filename_prefix="cancelled/clip")
        return graph, node, graph.text([node, 2])

    graph, node, _ = graph_of()
    begun = comfy.follow(comfy.queue(graph), until="progress")
    while not (begun.events[-1]["type"] == "progress" and begun.events[-1]["data"]["value"] >= 3):
        more = comfy.follow(begun.prompt_id, until="progress")
        assert not more.finished
        begun.events += more.events
    comfy.post("/interrupt", b"{}")
    stopped = comfy.follow(begun.prompt_id)
    assert stopped.ending["type"] == "execution_interrupted"
    folder = comfy.server.base / "output" / "cancelled"
    assert len(list(folder.glob(".backplate-*.parts/*.video"))) == 1
    graph, node, report = graph_of()
    run = comfy.succeed(graph)
    facts = json.loads(comfy.string(run, report))
    assert 3 <= facts["frames_from_earlier_run"] < 60
    assert facts["frames"] == 60
    assert times_of(result_of(comfy, run, node)) == times_of(source)
    assert not list(folder.glob(".*"))


def test_sentences_reach_the_user(comfy: Client, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "fields.mkv", options={"x264-params": "interlaced=1:tff=1"})
    graph = Graph()
    upscale_video(graph, load_model(graph, tiny_models.COMPACT), load_video(graph, comfy, source))
    assert "is interlaced" in comfy.run(graph).error
