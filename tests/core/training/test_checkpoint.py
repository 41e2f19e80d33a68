import errno
import os

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.training import checkpoint
from backplate.model_loader.licences import card_of
from backplate.model_loader.safe_load import read_state_dict


def test_state_reads_back_as_it_was(tmp_path):
    state = {"step": 3, "model": {"a": torch.arange(4.0)}, "nested": {"scores": {"psnr": 1.5}, "none": None}}
    checkpoint.save_state(tmp_path / "state.pt", state)
    again = checkpoint.load_state(tmp_path / "state.pt")
    assert torch.equal(again.pop("model")["a"], state.pop("model")["a"])
    assert again == state


def test_a_damaged_state_is_a_sentence(tmp_path):
    path = tmp_path / "state.pt"
    checkpoint.save_state(path, {"a": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="is not the state of a training run"):
        checkpoint.load_state(path)


def test_a_full_disk_leaves_the_last_state_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    checkpoint.save_state(path, {"step": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="the disk is full"):
        checkpoint.save_state(path, {"step": 2})
    assert checkpoint.load_state(path) == {"step": 1}
    assert os.listdir(tmp_path) == ["state.pt"]


def test_a_model_that_the_disk_refuses_is_a_sentence_and_the_one_before_it_stays(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    checkpoint.write_model(path, {"a": torch.zeros(3)}, {"recipe": "anime"})

    def full(self, content):
        with self.open("wb") as file:
            file.write(content[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint.Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"model\.safetensors could not be written \(the disk is full\)"):
        checkpoint.write_model(path, {"a": torch.ones(3)}, {})
    assert card_of(path) == {"recipe": "anime"}
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_a_really_full_disk():
    # The device that is always full: what PyTorch makes of the error number must be understood too.
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with pytest.raises((OSError, RuntimeError)) as caught:
        torch.save({"a": torch.zeros(1 << 20)}, "/dev/full")
    assert "the disk is full" in str(checkpoint.unwritten(checkpoint.Path("x"), caught.value))


def test_model_files_carry_their_card_and_load_elsewhere(tmp_path):
    weights = {"body.0.weight": torch.rand(4, 3, 3, 3), "steps": torch.tensor(3)}
    path = tmp_path / "model.safetensors"
    checkpoint.write_model(path, weights, {"recipe": "anime", "scores_after": {"psnr": 30.5}})
    assert card_of(path) == {"recipe": "anime", "scores_after": {"psnr": 30.5}}
    again = read_state_dict(path)
    assert torch.equal(again["body.0.weight"], weights["body.0.weight"])
    mode = path.stat().st_mode
    (tmp_path / "plain").touch()
    assert mode == (tmp_path / "plain").stat().st_mode
    checkpoint.write_model(path, weights, {}, half=True)
    halved = read_state_dict(path)
    assert halved["body.0.weight"].dtype == torch.float16
    assert halved["steps"].dtype == torch.int64


def test_files_get_the_usual_permissions(tmp_path):
    mask = os.umask(0o027)
    try:
        checkpoint.save_state(tmp_path / "state.pt", {"a": 1})
    finally:
        os.umask(mask)
    assert (tmp_path / "state.pt").stat().st_mode & 0o777 == 0o640
