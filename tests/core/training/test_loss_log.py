import errno
import os
import sys
import types

import pytest
from backplate.core.errors import InputError
from backplate.core.training import loss_log as journal


class Board:
    """Stands in for TensorBoard's writer."""

    def __init__(self, folder, purge_step):
        self.purge_step, self.scalars = purge_step, []
        made.append(self)

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def close(self):
        self.scalars.append("closed")


made: list[Board] = []


def test_rows_go_to_the_file_and_to_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Board))
    notes = []
    log = journal.Journal(tmp_path, 4, notes.append)
    log.write(5, {"loss": 0.25})
    log.write(5, {"psnr": 30.0}, "validation")
    assert journal.read_rows(tmp_path / "log.jsonl") == [
        {"step": 5, "group": "train", "loss": 0.25},
        {"step": 5, "group": "validation", "psnr": 30.0},
    ]
    log.close()
    assert made[-1].purge_step == 5
    assert made[-1].scalars == [("train/loss", 0.25, 5), ("validation/psnr", 30.0, 5), "closed"]
    assert notes == []


def scalars(folder):
    """What TensorBoard itself reads from a run's folder: name -> [(step, value)]."""
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="reading scalars needs TensorBoard"
    )
    events = reader.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {name: [(e.step, round(e.value, 4)) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard", reason="scalars need TensorBoard")
    log = journal.Journal(tmp_path, 0, lambda _: None)
    for step in (1, 2, 3):
        log.write(step, {"loss": 0.5 * step, "rate": 0.1})
    log.write(3, {"psnr": 30.0}, "validation")
    log.close()
    assert scalars(tmp_path) == {
        "train/loss": [(1, 0.5), (2, 1.0), (3, 1.5)],
        "train/rate": [(1, 0.1), (2, 0.1), (3, 0.1)],
        "validation/psnr": [(3, 30.0)],
    }


@pytest.mark.parametrize("crashed", [True, False])
def test_tensorboard_forgets_the_steps_that_are_done_again(tmp_path, crashed):
    pytest.importorskip("tensorboard", reason="scalars need TensorBoard")
    log = journal.Journal(tmp_path, 0, lambda _: None)
    for step in range(1, 6):
        log.write(step, {"loss": float(step)})
    if crashed:
        log.close()
        log = journal.Journal(tmp_path, 3, lambda _: None)
    else:
        log.rewind(3)
    log.write(4, {"loss": 40.0})
    log.close()
    assert scalars(tmp_path)["train/loss"] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0)]


def test_without_tensorboard_a_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    notes = []
    log = journal.Journal(tmp_path, 0, notes.append)
    log.write(1, {"loss": 1.0})
    log.close()
    assert len(notes) == 1
    assert "TensorBoard is not installed" in notes[0]
    assert journal.read_rows(tmp_path / "log.jsonl") == [{"step": 1, "group": "train", "loss": 1.0}]


def test_rewinding_forgets_what_came_after(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    log = journal.Journal(tmp_path, 0, lambda _: None)
    for step in range(1, 6):
        log.write(step, {"loss": float(step)})
    log.rewind(3)
    log.write(4, {"loss": 40.0})
    log.close()
    assert [row["loss"] for row in journal.read_rows(tmp_path / "log.jsonl")] == [1.0, 2.0, 3.0, 40.0]


def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    log = journal.Journal(tmp_path, 0, lambda _: None)
    log.close()
    try:
        log._file = open("/dev/full", "w")  # noqa: SIM115  the journal closes it
    except OSError:
        pytest.skip("this system has no /dev/full")
    with pytest.raises(InputError, match="the disk is full"):
        log.write(1, {"loss": 1.0})


class FullBoard(Board):
    """TensorBoard's writer on a full disk: its thread's error comes out of any later call."""

    def fail(self, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    add_scalar = flush = close = fail


def test_a_disk_that_is_full_for_tensorboard_is_the_same_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=FullBoard))
    notes = []
    log = journal.Journal(tmp_path, 0, notes.append)
    with pytest.raises(InputError, match="the disk is full"):
        log.write(1, {"loss": 1.0})
    with pytest.raises(InputError, match="the disk is full"):
        log.settle()
    log.close()
    assert "may be missing: No space left on device" in notes[-1]
