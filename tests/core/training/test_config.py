import pytest
from backplate.core.errors import InputError
from backplate.core.parsed import as_plain
from backplate.core.training.config import (
    RECIPES,
    Criterion,
    TrainSettings,
    load_settings,
    nested,
    recipe_settings,
    replaced,
    settings_text,
)
from backplate.core.training.degrade.pipeline import Mode


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_recipes_are_complete_settings(recipe):
    settings = recipe_settings(recipe)
    assert replaced(settings, {}) == settings
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
    mapping = as_plain(TrainSettings())
    assert mapping["degradation"]["second"]["blur"]["sigma"] == [0.2, 1.5]
    assert mapping["degradation"]["cel"]["restore_fading"] is False
    assert mapping["validation"]["criterion"] == "psnr"


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("stepz=3", "There is no stepz; did you mean steps."),
        ("degradation.first.blurr.sigma=1,2", "no degradation.first.blurr; did you mean degradation.first.blur."),
        ("steps=many", "steps cannot be 'many': it should be a valid integer"),
        ("steps=2.5", "steps cannot be '2.5'"),
        ("data.flips=perhaps", "data.flips cannot be 'perhaps': it should be a valid boolean"),
        ("degradation.mode=vhs", "it should be 'second-order', 'bicubic', 'jpeg' or 'cel'"),
        ("degradation.first.blur.sigma=1", "degradation.first.blur.sigma.1 is missing"),
        ("losses=3", "losses is a group of settings"),
        ("steps=0", "steps cannot be '0': it should be greater than 0"),
        ("optimiser.learning_rate=nan", "optimiser.learning_rate cannot be 'nan': it should be a finite number"),
        ("degradation.first.blur.sigma=3,1", "runs from 3 to 1"),
        ("degradation.first.blur.sigma=0,1", "it must lie within 0.01 and 100"),
        ("degradation.simple.jpeg_quality=0,90", "it must lie within 1 and 100"),
        ("degradation.second.resize_range=0,1.2", "it must lie within 0.01 and 16"),
        ("degradation.first.blur.families=1,2", "degradation.first.blur.families.2 is missing"),
        ("degradation.second.resize=0,0,0", "shares must not be negative, and not all 0"),
        ("degradation.first.blur.largest_kernel=31", "kernels from 7 to 31; both sides must be odd, from 3 to 21"),
        ("degradation.final_sinc.smallest_kernel=8", "degradation.final_sinc is"),
        ("losses.overshoot_reach=-1", "losses.overshoot_reach cannot be '-1': it should be greater than or equal to 0"),
        ("losses.overshoot_from=1", "losses.overshoot_from cannot be '1': it should be less than 1"),
        ("degradation.simple.jpeg_probability=1.5", "it should be less than or equal to 1"),
        ("losses.pixel=0", "At least one loss needs a weight over 0"),
        ("losses.line=-1", "losses.line cannot be '-1': it should be greater than or equal to 0"),
        ("data.drawn_kinds=cel,oil", "there is no 'oil'"),
        ("validation.share=1", "validation.share cannot be '1'"),
        ("steps", "written name=value"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(assignment, sentence):
    with pytest.raises(InputError) as error:
        load_settings(TrainSettings(), None, [assignment])
    assert sentence in str(error.value)


def test_overshoot_alone_cannot_begin_late():
    with pytest.raises(InputError, match="from the first step on"):
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
