import numpy as np
import pytest
import torch
import torchvision
from backplate.core.training.loss_log import read_rows
from backplate.model_loader.licences import card_of
from PIL import Image
from safetensors.torch import save_file

SMALL = (
    "--steps=4", "--batch=2", "--seed=3", "--device=cpu",
    "--set=threads=1", "--set=data.crop=32", "--set=validation.crop=32", "--set=validation.every=2",
    "--set=validation.share=0.3", "--set=checkpoint_every=2",
)  # fmt: skip


@pytest.fixture
def cels(tmp_path):
    """Flat pictures with dark lines, eight of them."""
    folder = tmp_path / "cels"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(8):
        picture = np.full((48, 48, 3), rng.integers(80, 255, 3), np.uint8)
        picture[rng.integers(5, 40) :][:2] = 20
        picture[:, rng.integers(5, 40) :][:, :2] = 20
        Image.fromarray(picture).save(folder / f"{index}.png")
    return folder


def test_finetune_writes_a_model_and_prints_the_scores(backplate, model, cels, tmp_path):
    out = tmp_path / "run"
    done = backplate("finetune", "-m", model, "--data", cels, "--recipe", "anime", "-o", out, *SMALL, code=0)
    assert "line_psnr" in done.stdout
    assert "Step 4:" in done.stderr
    card = card_of(out / "run-last.safetensors")
    assert (card["recipe"], card["base_model"], card["steps"]) == ("anime", "tiny_x2", 4)
    assert card["settings"]["data"]["folder"] == "cels"
    assert backplate("info", out / "run-last.safetensors").exit_code == 0


def test_an_interrupted_run_goes_on_with_the_same_command(backplate, model, cels, tmp_path, monkeypatch):
    words = ("finetune", "-m", model, "--data", cels, "--recipe", "anime", *SMALL)
    assert backplate(*words, "-o", tmp_path / "whole").exit_code == 0
    with monkeypatch.context() as patch:
        interrupt(patch, before=3)
        stopped = backplate(*words, "-o", tmp_path / "run")
    assert stopped.exit_code == 130
    assert "Stopped after step 3; the same command continues from there." in stopped.stderr
    assert "Continuing after step 3 of 4" in backplate(*words, "-o", tmp_path / "run").stderr
    assert read_rows(tmp_path / "run" / "log.jsonl") == read_rows(tmp_path / "whole" / "log.jsonl")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Seeded weights in the form of torchvision's files, for the losses and scores that need them."""
    folder = tmp_path_factory.mktemp("networks")
    generator = torch.Generator().manual_seed(1)

    def features(name):
        # On the device "meta" the classifiers, most of the weights, cost nothing.
        with torch.device("meta"):
            state = getattr(torchvision.models, name)(weights=None).features.state_dict()
        return {f"features.{k}": 0.03 * torch.randn(v.shape, generator=generator) for k, v in state.items()}

    # Half precision: half of the disk, and files like that exist.
    save_file({k: v.half() for k, v in features("vgg19").items()}, folder / "vgg19.safetensors")
    torch.save(features("alexnet"), folder / "alex.pth")
    return folder


@pytest.mark.parametrize("recipe", ["photo", "portrait"])
def test_perceptual_and_adversarial_losses_run_to_the_end_and_go_on(
    backplate, model, cels, networks, tmp_path, monkeypatch, recipe
):
    pytest.importorskip("lpips", reason="the score needs the package lpips")
    words = (
        "finetune", "-m", model, "--data", cels, "--recipe", recipe, *SMALL,
        "--set=losses.l1=1", "--set=losses.pixel=0", "--set=losses.perceptual=1", "--set=losses.gan=0.1",
        "--set=losses.gan_features=8", f"--set=losses.vgg_weights={networks / 'vgg19.safetensors'}",
        f"--set=validation.lpips_weights={networks / 'alex.pth'}",
    )  # fmt: skip
    done = backplate(*words, "-o", tmp_path / "whole", code=0)
    assert "lpips" in done.stdout
    rows = read_rows(tmp_path / "whole" / "log.jsonl")
    assert {"l1", "perceptual", "gan", "discriminator"} <= set(rows[0])
    assert "pixel" not in rows[0]
    card = card_of(tmp_path / "whole" / "whole-last.safetensors")
    assert card["settings"]["losses"]["vgg_weights"] == "vgg19.safetensors"
    assert set(card["scores_after"]) >= {"psnr", "ssim", "lpips"}
    with monkeypatch.context() as patch:
        interrupt(patch, before=3)
        assert backplate(*words, "-o", tmp_path / "run").exit_code == 130
    assert backplate(*words, "-o", tmp_path / "run").exit_code == 0
    assert read_rows(tmp_path / "run" / "log.jsonl") == rows


def interrupt(monkeypatch, before):
    """Ctrl-C before a step."""
    from backplate.core.training.trainer import Learner

    learn = Learner.learn

    def interrupted(self, references, step):
        if step == before:
            raise KeyboardInterrupt
        return learn(self, references, step)

    monkeypatch.setattr(Learner, "learn", interrupted)


def test_train_makes_a_network_from_nothing(backplate, tmp_path):
    size = ("network.scale=2", "network.features=4", "network.convolutions=1", "data.drawn=6", "data.drawn_size=40")
    backplate("train", "-o", tmp_path / "new", *SMALL, *(f"--set={s}" for s in size), code=0)
    card = card_of(tmp_path / "new" / "new-last.safetensors")
    assert (card["scale"], card["recipe"]) == (2, "custom")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--recipe", "vhs"), "There is no recipe 'vhs'; there are photo, anime, portrait."),
        (("--recipe", "anime", "--set", "stepz=3"), "There is no stepz; did you mean steps."),
        (
            ("--recipe", "anime", "--set", "losses.line=much"),
            "losses.line cannot be 'much': it should be a valid number",
        ),
    ],
)
def test_settings_that_cannot_be_meant_are_misuse(backplate, model, cels, tmp_path, words, sentence):
    backplate("finetune", "-m", model, "--data", cels, "-o", tmp_path / "run", *words, code=2, says=sentence)
    assert not (tmp_path / "run").exists()


def test_pictures_that_cannot_be_used_are_a_sentence(backplate, model, tmp_path):
    (tmp_path / "none").mkdir()
    done = backplate(
        "finetune", "-m", model, "--data", tmp_path / "none", "--recipe", "anime", "-o", tmp_path / "run", *SMALL
    )
    assert done.exit_code == 1
    assert "There are no pictures in" in done.stderr


def test_settings_come_from_a_file_and_flags_win(backplate, model, cels, tmp_path):
    pytest.importorskip("yaml", reason="settings files need PyYAML")
    mine = tmp_path / "mine.yaml"
    mine.write_text("steps: 99\nlosses: {line: 3.0}\n")
    out = tmp_path / "run"
    backplate(
        "finetune", "-m", model, "--data", cels, "--recipe", "anime", "--settings", mine, "-o", out, *SMALL, code=0
    )
    settings = card_of(out / "run-last.safetensors")["settings"]
    assert (settings["steps"], settings["losses"]["line"]) == (4, 3.0)
