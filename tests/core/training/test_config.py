import pytest
from backplate.core.errors import InputError
from backplate.core.training.config import (
    RECIPES,
    Criterion,
    TrainSettings,
    check_settings,
    load_settings,
    recipe_settings,
    settings_text,
)
from backplate.core.training.degrade.pipeline import Mode
from backplate.core.training.settings_parser import as_mapping, nested, replaced


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_recipes_are_complete_settings(recipe):
    settings = recipe_settings(recipe)
    check_settings(settings)
    assert settings.recipe == recipe


def test_recipes_aim_at_what_they_are_for():
    assert recipe_settings("anime").degradation.mode is Mode.CEL
    assert recipe_settings("anime").validation.criterion is Criterion.LINE_PSNR
    assert recipe_settings("photo").degradation.mode is Mode.SECOND_ORDER
    assert recipe_settings("portrait").losses.texture > 0


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_what_is_written_into_the_run_folder_reads_back_the_same(recipe, tmp_path):
    pytest.importorskip("yaml", reason="settings files need PyYAML")
    settings = recipe_settings(recipe)
    path = tmp_path / "settings.yaml"
    path.write_text(settings_text(settings))
    assert load_settings(TrainSettings(), path) == settings


def test_every_setting_is_written():
    mapping = as_mapping(TrainSettings())
    assert mapping["degradation"]["second"]["blur"]["sigma"] == [0.2, 1.5]
    assert mapping["degradation"]["cel"]["restore_fading"] is False
    assert mapping["validation"]["criterion"] == "psnr"


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("stepz=3", "There is no setting stepz; did you mean steps."),
        ("degradation.first.blurr.sigma=1,2", "degradation.first.blurr; did you mean degradation.first.blur"),
        ("steps=many", "steps takes a whole number, not 'many'."),
        ("steps=2.5", "steps takes a whole number"),
        ("data.flips=perhaps", "data.flips takes true or false"),
        ("degradation.mode=vhs", "it is one of second-order, bicubic, jpeg, cel"),
        ("degradation.first.blur.sigma=1", "takes 2 values, not 1"),
        ("losses=3", "losses is a group of settings"),
        ("steps=0", "steps is 0; it must be over 0"),
        ("degradation.first.blur.sigma=3,1", "runs from 3 to 1"),
        ("degradation.first.blur.sigma=0,1", "it must lie within 0.01 and 100"),
        ("degradation.simple.jpeg_quality=0,90", "it must lie within 1 and 100"),
        ("degradation.second.resize_range=0,1.2", "it must lie within 0.01 and 16"),
        ("degradation.first.blur.families=1,2", "takes 6 shares"),
        ("degradation.second.resize=0,0,0", "takes 3 shares that are not negative and not all 0"),
        ("degradation.first.blur.largest_kernel=31", "kernels from 7 to 31; both sides must be odd, from 3 to 21"),
        ("degradation.final_sinc.smallest_kernel=8", "degradation.final_sinc has kernels from 8 to 21"),
        ("losses.overshoot_reach=-1", "losses.overshoot_reach is -1; it must be at least 0"),
        ("losses.overshoot_from=1", "losses.overshoot_from is 1; it must be at least 0 and under 1"),
        ("degradation.simple.jpeg_probability=1.5", "a probability lies within 0 and 1"),
        ("losses.pixel=0", "at least one must be over 0"),
        ("losses.line=-1", "must not be negative"),
        ("data.drawn_kinds=cel,oil", "'oil'"),
        ("validation.share=1", "validation.share is 1"),
        ("steps", "written name=value"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(assignment, sentence):
    with pytest.raises(InputError) as error:
        load_settings(TrainSettings(), None, [assignment])
    assert sentence in str(error.value)


def test_overshoot_alone_cannot_begin_late():
    with pytest.raises(InputError, match="Only overshoot has a weight"):
        load_settings(TrainSettings(), None, ["losses.pixel=0", "losses.overshoot=1", "losses.overshoot_from=0.5"])


def test_flags_win_over_files_and_files_over_the_recipe(tmp_path):
    pytest.importorskip("yaml", reason="settings files need PyYAML")
    path = tmp_path / "mine.yaml"
    path.write_text("steps: 70\nbatch: 3\noptimiser: {learning_rate: 1e-3}\nlosses: {line: 2}\n")
    settings = load_settings(recipe_settings("anime"), path, ["batch=4", "degradation.cel.grain=1,2"])
    assert (settings.steps, settings.batch, settings.losses.line) == (70, 4, 2.0)
    assert settings.optimiser.learning_rate == 1e-3
    assert settings.degradation.cel.grain == (1.0, 2.0)
    assert settings.degradation.mode is Mode.CEL


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "just words"])
def test_a_file_that_holds_no_settings_is_refused(content, tmp_path):
    pytest.importorskip("yaml", reason="settings files need PyYAML")
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"broken\.yaml"):
        load_settings(TrainSettings(), path)


def test_assignments_nest_and_settings_stay_as_they_were():
    start = TrainSettings()
    changed = replaced(start, nested(["losses.line=0.5", "losses.gan=0.1", "seed=4"]))
    assert (changed.losses.line, changed.losses.gan, changed.seed) == (0.5, 0.1, 4)
    assert (start.losses.line, start.seed) == (0.0, 0)
    with pytest.raises(InputError, match="was given a value itself"):
        nested(["a=1", "a.b=2"])
