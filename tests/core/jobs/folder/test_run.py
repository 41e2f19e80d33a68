"""A folder from beginning to end, with everything that goes wrong on the way."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError, OutOfMemory
from backplate.core.image.canvas import Background, Fill
from backplate.core.image.fit import Fit, Target
from backplate.core.jobs.folder import run as folder_run
from backplate.core.jobs.folder.job import FolderJob
from backplate.core.jobs.folder.manifest import Manifest, Status, manifest_path, read_entries
from backplate.core.jobs.folder.run import run_folder
from backplate.core.jobs.folder.summary import summarise
from backplate.core.jobs.marketplace import deliver as deliver_module
from backplate.core.jobs.model_info import Model
from backplate.core.jobs.picture import PictureSettings, enlarge, read_source, write_enlarged
from backplate.core.jobs.quality import Limits
from backplate.core.media.picture.read import read_picture
from backplate.core.media.picture.sign import Signatory
from backplate.core.progress import Progress
from drawn_folder import BROKEN
from PIL import Image


def test_settings_that_came_later_leave_the_hash_of_earlier_folders(tmp_path: Path) -> None:
    """That of version 0.1 for these settings, which its manifests hold."""
    job = FolderJob(tasks=(), output=tmp_path, settings=PictureSettings(), model=Model(name="a", sha256="0" * 64))
    assert job.settings_sha256 == "663caa477613f701840d2af76c6853293cbb5de2ca832374c82e4d26e9775236"
    embedded = replace(job, settings=PictureSettings(embedded=(("workflow", "{}"),)))
    assert embedded.settings_sha256 == job.settings_sha256
    assert replace(job, settings=PictureSettings(strip_metadata=True)).settings_sha256 != job.settings_sha256
    signed, renewed = (
        replace(job, settings=PictureSettings(signatory=Signatory(certificate=Path(name), key=Path("key.pem"))))
        for name in ("chain.pem", "renewed.pem")
    )
    assert signed.settings_sha256 == renewed.settings_sha256 != job.settings_sha256


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_in(folder) if not name.endswith(".jsonl")}


def one_by_one(job, upscaler, folder: Path) -> Path:
    """The same pictures without threads, manifest or anything else."""
    for task in job.tasks:
        output = folder / task.output_name
        try:
            source = read_source(task.source, output, job.settings, upscaler.spec.scale)
        except InputError:
            continue
        write_enlarged(output, enlarge(source, upscaler, job.settings, Progress()), source, job.settings)
    return folder


def test_a_hundred_pictures_run_to_the_end(hundred, job, upscaler, listening, tmp_path):
    progress = listening()
    work = job(hundred)
    run = run_folder(work, upscaler, progress)
    summary = summarise(work, run)
    assert (summary.total, summary.written, summary.fresh) == (100, 97, 97)
    failed = summary.with_status(Status.FAILED)
    assert [entry.source for entry in failed] == list(BROKEN)
    for entry, why in zip(failed, ("damaged", "0 bytes", "not a readable picture"), strict=True):
        assert why in entry.reason
    assert len(progress.finished) == progress.total == 100
    for name in contents(work.output):
        assert Image.open(work.output / name).size == (48, 48)
    assert contents(work.output) == contents(one_by_one(work, upscaler, tmp_path / "alone"))
    assert len(files_in(work.output)) == 98
    lines = manifest_path(work.output).read_text().splitlines()
    assert len(lines) == 100
    assert {json.loads(line)["status"] for line in lines} <= {"done", "failed", "flagged"}


def test_the_manifest_says_what_became_of_a_picture(ten, job, upscaler):
    work = job(ten)
    run_folder(work, upscaler)
    entries, unreadable = read_entries([manifest_path(work.output)])
    assert unreadable == 0
    turned = next(entry for entry in entries if entry.source == "turned.jpg")
    assert (turned.source_width, turned.source_height) == (12, 20)
    assert (turned.width, turned.height, turned.passes) == (48, 48, 2)
    assert turned.source_bytes == (ten / "turned.jpg").stat().st_size
    assert turned.output_bytes == (work.output / "turned.png").stat().st_size
    assert turned.lr_psnr is not None
    assert turned.lr_psnr > 20
    assert turned.delta_e is not None
    assert turned.delta_e < 5
    assert turned.seconds > 0


def test_what_is_done_is_skipped_and_what_failed_is_tried_again(ten, job, upscaler, listening):
    work = job(ten, resume=True)
    first = run_folder(work, upscaler)
    before = contents(work.output)
    stamps = {name: (work.output / name).stat().st_mtime_ns for name in before}
    progress = listening()
    second = run_folder(work, upscaler, progress)
    assert len(first.entries) == 10
    assert [entry.source for entry in second.entries] == list(BROKEN)
    assert len(second.skipped) == 7
    assert {name: (work.output / name).stat().st_mtime_ns for name in before} == stamps
    assert progress.notes == []


def test_missing_outputs_and_changed_sources_are_made_again(ten, job, upscaler):
    work = job(ten, resume=True)
    run_folder(work, upscaler)
    (work.output / "single.png").unlink()
    (work.output / "inks.png").write_bytes(b"")
    Image.new("RGB", (9, 9), "red").save(ten / "turned.jpg")
    again = [entry.source for entry in run_folder(work, upscaler).entries if entry.written]
    assert again == ["inks.jpg", "single.png", "turned.jpg"]
    assert read_picture(work.output / "turned.png").picture[0, :, 24, 24].tolist() == pytest.approx([1, 0, 0], abs=0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"quality": 50},
        {"trim": True},
        {"target": Target(fit=Fit.COVER, width=48, height=48)},
        {"background": Background(Fill.COLOUR, "black")},
        {"strip_gps": True},
    ],
)
def test_other_settings_make_everything_again_and_say_so(ten, job, upscaler, listening, change):
    work = job(ten, resume=True)
    run_folder(work, upscaler)
    progress = listening()
    changed = replace(work, settings=replace(work.settings, **change))
    assert len(run_folder(changed, upscaler, progress).skipped) == 0
    assert progress.notes == ["7 of these pictures were made with other settings; they are made again."]


def test_another_model_makes_everything_again_and_tiles_do_not(ten, job, upscaler, listening):
    work = job(ten, resume=True)
    run_folder(work, upscaler)
    tiled = replace(work, settings=replace(work.settings, tiles=replace(work.settings.tiles, size=32)))
    assert len(run_folder(tiled, upscaler).skipped) == 7
    progress = listening()
    run = run_folder(replace(work, model=replace(work.model, sha256="1" * 64)), upscaler, progress)
    assert len(run.skipped) == 0
    assert progress.notes == ["7 of these pictures were made with another model; they are made again."]


def test_half_a_line_at_the_end_costs_that_line_only(ten, job, upscaler, listening):
    work = job(ten, resume=True)
    run_folder(work, upscaler)
    manifest = manifest_path(work.output)
    torn = manifest.read_bytes()[:-40]
    manifest.write_bytes(torn)
    progress = listening()
    run = run_folder(work, upscaler, progress)
    assert progress.notes == ["1 lines of the manifest cannot be read and are passed over."]
    assert len(run.skipped) + sum(entry.written for entry in run.entries) == 7
    assert manifest.read_bytes().startswith(torn + b"\n")
    assert len(run_folder(work, upscaler).skipped) == 7


def test_a_second_run_without_resume_is_refused_before_any_work(ten, job, upscaler):
    work = job(ten)
    run_folder(work, upscaler)
    with pytest.raises(InputError, match="earlier run on 10 of these pictures; resume"):
        run_folder(work, upscaler)
    assert len(run_folder(replace(work, overwrite=True), upscaler).entries) == 10


def test_files_of_others_are_left_alone_for_ever(ten, job, upscaler):
    work = job(ten, resume=True)
    work.output.mkdir()
    (work.output / "single.png").write_bytes(b"precious")
    for _ in range(2):
        run = run_folder(work, upscaler)
        (entry,) = [each for each in run.entries if each.source == "single.png"]
        assert (entry.status, entry.kept) == (Status.FAILED, True)
        assert "does not belong to this job" in entry.reason
        assert (work.output / "single.png").read_bytes() == b"precious"
    run_folder(replace(work, overwrite=True), upscaler)
    assert read_picture(work.output / "single.png").picture.shape[-1] == 48


def test_a_result_without_its_line_is_ours_and_is_made_again(ten, job, upscaler):
    """As a kill between the two leaves it."""
    work = job(ten, resume=True)
    run_folder(work, upscaler)
    manifest = manifest_path(work.output)
    lines = [line for line in manifest.read_text().splitlines() if '"single.png"' not in line]
    manifest.write_text("".join(f"{line}\n" for line in lines))
    run = run_folder(work, upscaler)
    assert "single.png" in [entry.source for entry in run.entries if entry.written]


def test_leftovers_of_a_killed_run_go_and_those_of_a_living_one_stay(ten, job, upscaler):
    work = job(ten, resume=True)
    work.output.mkdir()
    (work.output / ".single.png.0a1b2c3d.part").write_bytes(b"half")
    (work.output / ".other.png.0a1b2c3d.part").write_bytes(b"half")
    other = Manifest(manifest_path(work.output))
    run_folder(work, upscaler)
    assert (work.output / ".single.png.0a1b2c3d.part").exists()
    other.close()
    run_folder(work, upscaler)
    assert not (work.output / ".single.png.0a1b2c3d.part").exists()
    assert (work.output / ".other.png.0a1b2c3d.part").exists()


def test_stopping_keeps_what_is_done(ten, job, upscaler, listening):
    work = job(ten, resume=True)
    run = run_folder(work, upscaler, listening(stop_after=4))
    assert 0 < run.remaining < 6
    assert len(run.entries) + run.remaining == 10
    rest = run_folder(work, upscaler)
    assert rest.remaining == 0
    assert len([entry for entry in rest.entries if entry.written]) + len(rest.skipped) == 7


class Cancel(Exception):
    """What a host raises; ComfyUI's is an Exception too."""


def test_cancel_passes_through_after_the_finished_pictures_are_written(ten, job, upscaler, listening):
    class Cancelling(listening):
        def check(self) -> None:
            if self.started == 4:
                raise Cancel

        started = 0

        def start_picture(self, name: str) -> None:
            self.started += 1

    work = job(ten, resume=True)
    with pytest.raises(Cancel):
        run_folder(work, upscaler, Cancelling())
    entries, _ = read_entries([manifest_path(work.output)])
    assert sum(entry.written for entry in entries) == 3
    assert len(contents(work.output)) == 3
    assert len(run_folder(work, upscaler).skipped) == 3


def test_a_model_that_fails_costs_the_picture(ten, job, upscaler, monkeypatch):
    real = folder_run.enlarge
    failures = iter([OutOfMemory("Out of memory at last."), ZeroDivisionError("oh"), None, None, None, None, None])

    def sometimes(*arguments):
        if failure := next(failures):
            raise failure
        return real(*arguments)

    monkeypatch.setattr(folder_run, "enlarge", sometimes)
    run = run_folder(job(ten), upscaler)
    reasons = [entry.reason for entry in run.entries if not entry.written]
    assert "Out of memory at last." in reasons
    assert "unexpected ZeroDivisionError: oh" in reasons
    assert sum(entry.written for entry in run.entries) == 5


def test_ruined_pictures_are_written_and_flagged(ten, job, upscaler, monkeypatch):
    real = folder_run.enlarge

    def black(*arguments):
        enlarged = real(*arguments)
        return replace(enlarged, picture=torch.zeros_like(enlarged.picture))

    monkeypatch.setattr(folder_run, "enlarge", black)
    run = run_folder(job(ten), upscaler)
    flagged = [entry for entry in run.entries if entry.status is Status.FLAGGED]
    assert len(flagged) == 7
    assert all("dB is below 18 dB" in entry.reason for entry in flagged)
    assert any("blocks are black" in entry.reason for entry in flagged)


def test_limits_and_sizes_can_be_asked_for(ten, job, upscaler):
    work = job(ten, limits=Limits(lr_psnr=90, delta_e=99), smallest=1_000, largest=2_000)
    entries = [entry for entry in run_folder(work, upscaler).entries if entry.written]
    assert all(entry.status is Status.FLAGGED for entry in entries)
    for entry in entries:
        said = [note for note in entry.notes if "bytes are" in note]
        assert len(said) == (not 1_000 <= entry.output_bytes <= 2_000)


@pytest.mark.parametrize("jobs", [1, 3])
def test_memory_is_bounded_however_long_the_folder_is(hundred, job, upscaler, monkeypatch, jobs):
    alive, most, lock = [0], [0], threading.Lock()
    read, write = folder_run.read_source, deliver_module.write_enlarged

    def reading(*arguments):
        source = read(*arguments)
        with lock:
            alive[0] += 1
            most[0] = max(most[0], alive[0])
        return source

    def writing(*arguments):
        write(*arguments)
        with lock:
            alive[0] -= 1

    monkeypatch.setattr(folder_run, "read_source", reading)
    monkeypatch.setattr(deliver_module, "write_enlarged", writing)
    run_folder(job(hundred, jobs=jobs), upscaler)
    assert alive[0] == 0
    assert 1 < most[0] <= 2 * jobs + 1


def test_a_disk_that_cannot_hold_the_results_is_refused_before_the_work(ten, job, upscaler, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3_000}))
    work = job(ten)
    with pytest.raises(InputError, match=r"10 pictures need about .* MB free"):
        run_folder(work, upscaler)
    assert files_in(work.output) == []


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("backplate.core.jobs.marketplace.deliver.write_enlarged", "full after 0 pictures; make room there and resume"),
        ("backplate.core.jobs.folder.manifest.Manifest.append", "is full; make room there and resume"),
    ],
)
def test_a_full_disk_ends_the_job_with_a_sentence(ten, job, upscaler, monkeypatch, place, message):
    def full(*_):
        cause = OSError(28, "No space left on device")
        if place.endswith("append"):
            raise cause
        raise InputError("x: cannot be written (No space left on device).") from cause

    monkeypatch.setattr(place, full)
    with pytest.raises(InputError, match=message):
        run_folder(job(ten), upscaler)


def test_links_that_lead_out_are_not_followed_where_roots_are_given(ten, job, upscaler, tmp_path):
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    (ten / "link.png").symlink_to(secret)
    outside = tmp_path / "outside"
    outside.mkdir()
    work = job(ten, roots=(ten,))
    work.output.mkdir()
    (work.output / "sub").symlink_to(outside)
    entries = {entry.source: entry for entry in run_folder(work, upscaler).entries}
    assert "leads outside the folders" in entries["link.png"].reason
    assert not (work.output / "link.png").exists()
    below = [entry for name, entry in entries.items() if name.startswith("sub/")]
    assert below
    assert all("leads outside the results folder" in entry.reason for entry in below)
    assert files_in(outside) == []


def test_two_workers_on_one_folder_end_with_whole_files(ten, job, upscaler, tmp_path):
    work = job(ten, resume=True)
    workers = [threading.Thread(target=run_folder, args=(work, upscaler)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert contents(work.output) == contents(one_by_one(work, upscaler, tmp_path / "alone"))
    entries, unreadable = read_entries([manifest_path(work.output)])
    assert unreadable == 0
    assert {entry.source for entry in entries if not entry.written} == set(BROKEN)


def test_trimmed_products_stand_in_the_middle_on_their_own_background(tmp_path, upscaler):
    picture = np.full((30, 40, 3), 240, np.uint8)
    picture[3:13, 5:15] = (200, 30, 30)
    source, output = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(picture).save(source)
    settings = PictureSettings(target=Target(fit=Fit.PAD, width=40, height=60), trim=True)
    read = read_source(source, output, settings, 2)
    write_enlarged(output, enlarge(read, upscaler, settings, Progress()), read, settings)
    result = np.asarray(Image.open(output).convert("RGB"), int)
    assert read.size == (40, 30)
    assert result.shape == (60, 40, 3)
    assert np.all(result[:9] == 240)
    assert np.abs(result[20:40, 10:30] - (200, 30, 30)).max() < 40
