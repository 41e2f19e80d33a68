import json
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.progress import Cancelled
from backplate.core.training import loop
from backplate.core.training.checkpoint import load_state
from backplate.core.training.loop import train
from backplate.core.training.loss_log import read_rows
from backplate.core.training.trainer import Learner
from backplate.core.training.validation import score
from backplate.model_loader.licences import card_of
from backplate.model_loader.loaded import load_model
from backplate.model_loader.safe_load import read_state_dict
from recorder import Recorder
from tiny_training import tiny, tiny_model

ROOT = pathlib.Path(__file__).parents[3]


class StopAt(Recorder):
    """Stops the run before a step with a given exception."""

    def __init__(self, step: int, reason: BaseException) -> None:
        super().__init__()
        self.step, self.reason, self.asked = step, reason, 0

    def check(self) -> None:
        if self.asked == self.step:
            raise self.reason
        self.asked += 1


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run, its notes and its folder."""
    out, notes = tmp_path_factory.mktemp("runs") / "cels", Recorder()
    return train(tiny(), out, tiny_model(), notes), notes, out


def test_a_run_leaves_everything_in_its_folder(finished):
    result, notes, out = finished
    files = "settings.yaml state.pt log.jsonl samples cels-last.safetensors cels-best.safetensors"
    assert {path.name for path in out.iterdir()} - {"tensorboard"} == set(files.split())
    assert (notes.total, notes.done) == (12, 12)
    assert result.steps == 12
    assert "learning_rate: 0.002" in (out / "settings.yaml").read_text()
    assert [row["step"] for row in read_rows(out / "log.jsonl") if row["group"] == "train"] == list(range(1, 13))
    assert [row["step"] for row in read_rows(out / "log.jsonl") if row["group"] == "validation"] == [6, 12]
    assert {path.name for path in (out / "samples").iterdir()} == {"00-step-000006.png", "00-step-000012.png"}


def test_the_result_is_better_by_what_the_run_says(finished):
    result, _, out = finished
    assert result.best == out / "cels-best.safetensors"
    assert result.after["psnr"] > result.before["psnr"]
    assert f"psnr {result.before['psnr']:.3f} -> {result.after['psnr']:.3f}" in result.text()


def test_the_file_loads_as_any_model_and_is_what_was_scored(finished):
    result, _, _ = finished
    loaded = load_model(result.best)
    assert (loaded.facts.architecture, loaded.facts.scale) == ("RealESRGAN Compact", 2)
    run = loop._Run(tiny(), tiny_model(), result.best.parent, Recorder())
    run.journal.close()
    again, _ = score(loaded.descriptor.model, run.pairs, torch.device("cpu"), 2.0)
    assert again["psnr"] == pytest.approx(result.after["psnr"], abs=1e-4)


def test_the_card_tells_where_the_file_comes_from(finished):
    result, _, _ = finished
    card = card_of(result.best)
    assert card["base_sha256"] == tiny_model().facts.sha256
    assert card["steps"] == result.best_step
    assert card["scores_before"]["psnr"] == result.before["psnr"]
    assert card["scores_after"]["psnr"] == result.after["psnr"]
    assert (card["training_pictures"], card["validation_pictures"]) == (6, 2)
    assert card["settings"]["losses"]["pixel"] == 1.0
    assert len(card["data_fingerprint"]) == 64


def test_the_model_that_was_given_is_not_changed(tmp_path):
    base = tiny_model()
    before = {name: value.clone() for name, value in base.descriptor.model.state_dict().items()}
    train(tiny(steps=2), tmp_path / "run", base)
    assert all(torch.equal(value, before[name]) for name, value in base.descriptor.model.state_dict().items())
    assert not base.descriptor.model.training


def test_random_state_and_threads_are_left_as_they_were(tmp_path):
    torch.manual_seed(5)
    expected, threads = torch.rand(2), torch.get_num_threads()
    torch.manual_seed(5)
    train(tiny(steps=2), tmp_path / "run", tiny_model())
    assert torch.equal(torch.rand(2), expected)
    assert torch.get_num_threads() == threads


def losses_of(out: pathlib.Path) -> list[dict]:
    return read_rows(out / "log.jsonl")


@pytest.mark.parametrize("step", [0, 3, 6, 11])
def test_a_cancelled_run_saves_and_goes_on_to_the_same_end(finished, tmp_path, step):
    _, _, whole = finished
    out = tmp_path / "cels"
    with pytest.raises(Cancelled):
        train(tiny(), out, tiny_model(), StopAt(step, Cancelled()))
    assert load_state(out / "state.pt")["standing"]["step"] == step
    notes = Recorder()
    train(tiny(), out, tiny_model(), notes)
    assert notes.done == 12
    assert losses_of(out) == losses_of(whole)
    expected = read_state_dict(whole / "cels-last.safetensors")
    again = read_state_dict(out / "cels-last.safetensors")
    assert all(torch.equal(value, expected[name]) for name, value in again.items())


KILLED = """
import importlib.util, os, pathlib, signal, sys
root, out = map(pathlib.Path, sys.argv[1:])
spec = importlib.util.spec_from_file_location("backplate", root / "__init__.py", submodule_search_locations=[str(root)])
sys.modules["backplate"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["backplate"])
sys.path.append(str(root / "tests" / "support"))
from recorder import Recorder
from tiny_training import tiny, tiny_model
class Killed(Recorder):
    def advance(self, steps=1):
        super().advance(steps)
        if self.done == 10:
            os.kill(os.getpid(), signal.SIGKILL)
from backplate.core.training.loop import train
train(tiny(), out, tiny_model(), Killed())
"""


def killed(out):
    """The tiny run, killed after step 10."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(ROOT), str(out)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_kill_9_loses_only_the_steps_since_the_last_state(finished, tmp_path):
    _, _, whole = finished
    out = tmp_path / "cels"
    killed(out)
    assert max(row["step"] for row in losses_of(out)) == 10
    assert load_state(out / "state.pt")["standing"]["step"] == 8
    notes = Recorder()
    train(tiny(), out, tiny_model(), notes)
    assert any("Continuing after step 8 of 12" in note for note in notes.notes)
    assert losses_of(out) == losses_of(whole)


def test_what_a_killed_run_left_half_written_is_removed(finished, tmp_path):
    _, _, whole = finished
    out = tmp_path / "cels"
    shutil.copytree(whole, out)
    for name in (".state.pt.0123abcd.part", ".cels-best.safetensors.0123abcd.part"):
        (out / name).write_bytes(b"half")
    (out / ".mine.0123abcd.part").touch()
    train(tiny(), out, tiny_model())
    assert [path.name for path in out.glob(".*")] == [".mine.0123abcd.part"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_tensorboard_has_every_step_once_after_a_kill(tmp_path):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="reading scalars needs TensorBoard"
    )
    out = tmp_path / "cels"
    killed(out)
    for path in (out / "tensorboard").iterdir():
        # Readers take files in the order of the second in their names; these two runs can share one.
        head, stamp, rest = path.name.split("tfevents.")[0], *path.name.split("tfevents.")[1].split(".", 1)
        path.rename(path.with_name(f"{head}tfevents.{int(stamp) - 5}.{rest}"))
    train(tiny(), out, tiny_model())
    events = reader.EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    rows = [row for row in losses_of(out) if row["group"] == "train"]
    assert {"train/loss", "train/pixel", "train/rate", "validation/psnr", "validation/ssim"} <= set(
        events.Tags()["scalars"]
    )
    assert [event.step for event in events.Scalars("train/loss")] == [row["step"] for row in rows]
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx([row["loss"] for row in rows])
    assert [event.step for event in events.Scalars("validation/psnr")] == [6, 12]


def test_a_log_line_that_a_crash_cut_off_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"step": 1}) + "\n" + '{"step": 2, "los')
    assert read_rows(path) == [{"step": 1}]


def test_a_finished_run_gives_its_result_again(finished, tmp_path):
    result, _, out = finished
    assert train(tiny(), out, tiny_model()).text() == result.text()


@pytest.mark.parametrize(
    ("settings", "base", "what"),
    [
        (tiny(batch=3), tiny_model(), "settings"),
        (tiny(), tiny_model(seed=9), "base model"),
        (tiny(data={"drawn": 9}), tiny_model(), "settings"),
    ],
)
def test_a_folder_with_another_run_is_not_touched(finished, settings, base, what):
    _, _, out = finished
    before = losses_of(out)
    with pytest.raises(InputError, match=f"does not have the same {what}"):
        train(settings, out, base)
    assert losses_of(out) == before


def test_a_loss_that_is_no_number_goes_back_and_ends_well(tmp_path, monkeypatch):
    learn, failed = Learner.learn, []

    def sometimes(self, references, step):
        if step == 6 and self.rescues == 0:
            failed.append(step)
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("nan"))
        return learn(self, references, step)

    monkeypatch.setattr(Learner, "learn", sometimes)
    notes = Recorder()
    result = train(tiny(), tmp_path / "run", tiny_model(), notes)
    assert failed == [6]
    assert result.rescues == 1
    assert any("Step 7 failed (the loss is nan); back to step 4 with 0.5" in note for note in notes.notes)
    rows = [row for row in losses_of(tmp_path / "run") if row["group"] == "train"]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert rows[7]["rate"] < rows[3]["rate"]
    assert all(torch.isfinite(value).all() for value in read_state_dict(result.last).values())


def test_a_loss_that_never_becomes_a_number_ends_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(loop.Learner, "_pair", _not_numbers)
    with pytest.raises(InputError, match=r"failed at step 1 \(the loss is nan\) after going back 5 times"):
        train(tiny(), tmp_path / "run", tiny_model())


def _not_numbers(self, references, step):
    nothing = torch.full((2, 3, 16, 16), float("nan"))
    return loop.Pair(nothing, torch.nn.functional.interpolate(nothing, scale_factor=2))


def test_a_model_that_got_worse_is_not_called_the_best(tmp_path):
    good = train(tiny(steps=40), tmp_path / "good", tiny_model())
    base = load_model(good.last)
    # One step of a hundred thousand times the learning rate makes any model worse.
    ruin = tiny(steps=1, optimiser={"learning_rate": 50.0, "warm_up": 0, "ema": 0.0})
    result = train(ruin, tmp_path / "bad", base)
    assert result.best is None
    assert not list((tmp_path / "bad").glob("*-best.safetensors"))
    assert "none is named best" in result.text()


def test_a_better_criterion_at_the_price_of_psnr_is_not_the_best():
    from backplate.core.training.config import Criterion, ValidationSettings
    from backplate.core.training.validation import is_better

    start = {"psnr": 30.0, "texture": 0.5}
    settings = ValidationSettings(criterion=Criterion.TEXTURE, most_psnr_lost=1.0)
    assert is_better({"psnr": 29.2, "texture": 0.4}, start, start, settings)
    assert not is_better({"psnr": 28.9, "texture": 0.3}, start, start, settings)
    assert not is_better({"psnr": 31.0, "texture": 0.6}, start, start, settings)


def test_crops_that_the_model_cannot_take_are_refused_with_one_that_it_can(tmp_path):
    with pytest.raises(InputError, match="data.crop is 33 and the model \\(x2\\) needs multiples of 2 from 2; try 32"):
        train(tiny(data={"crop": 33}), tmp_path / "run", tiny_model())


def test_adversarial_training_learns_and_resumes(tmp_path):
    settings = tiny(steps=6, checkpoint_every=2, losses={"gan": 0.1, "gan_features": 8})
    whole = train(settings, tmp_path / "a", tiny_model())
    with pytest.raises(Cancelled):
        train(settings, tmp_path / "b", tiny_model(), StopAt(4, Cancelled()))
    train(settings, tmp_path / "b", tiny_model())
    assert losses_of(tmp_path / "a") == losses_of(tmp_path / "b")
    row = losses_of(tmp_path / "a")[0]
    assert {"gan", "discriminator", "pixel"} <= set(row)
    assert row["loss"] == pytest.approx(row["pixel"] + row["gan"])
    assert whole.steps == 6


def test_training_from_nothing_is_reproducible(tmp_path):
    results = [train(tiny(steps=4), tmp_path / name / "new") for name in ("a", "b")]
    first, second = (result.last.read_bytes() for result in results)
    assert first == second
