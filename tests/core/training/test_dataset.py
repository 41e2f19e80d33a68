import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.training import dataset as pictures
from backplate.core.training.config import DataSettings, ValidationSettings
from PIL import Image


def fill(folder, count=10, size=(40, 36), seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(folder / f"{index:02d}.png")
    return folder


def opened(folder, crop=16, notes=None, **validation):
    data = DataSettings(folder=str(folder), crop=crop)
    return pictures.open_folder(data, ValidationSettings(**validation), 0, (notes if notes is not None else []).append)


def test_pictures_of_subfolders_are_found_and_split_without_overlap(tmp_path):
    fill(tmp_path / "a", 6)
    fill(tmp_path / "b" / "c", 4)
    (tmp_path / "notes.txt").write_text("not a picture")
    collection = opened(tmp_path, share=0.3)
    assert len(collection.names) == 10
    assert not set(collection.training) & set(collection.validation)
    assert len(collection.validation) == 3
    assert len(collection.training) == 7


def test_at_most_so_many_are_validated_on_but_all_of_the_share_is_held_out(tmp_path):
    collection = opened(fill(tmp_path), share=0.5, most=2)
    assert len(collection.validation) == 2
    assert len(collection.training) == 5


def test_unreadable_and_small_pictures_are_counted_aloud(tmp_path):
    fill(tmp_path, 4)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    Image.new("RGB", (12, 80)).save(tmp_path / "narrow.png")
    notes = []
    collection = opened(tmp_path, notes=notes)
    assert len(collection.names) == 4
    assert any("1 of 6 pictures cannot be read" in note and "broken.png" in note for note in notes)
    assert any("under 16 pixels" in note and "narrow.png" in note for note in notes)


@pytest.mark.parametrize(("count", "crop"), [(1, 16), (5, 64)])
def test_too_little_is_a_sentence_with_the_numbers(tmp_path, count, crop):
    fill(tmp_path, count)
    with pytest.raises(InputError, match=f"holds {count} pictures, of which {int(crop == 16)} can be used"):
        opened(tmp_path, crop=crop)


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="There are no pictures in"):
        opened(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        opened(tmp_path / "nowhere")


def test_a_picture_that_turns_out_damaged_is_replaced_and_remembered(tmp_path):
    fill(tmp_path, 3, size=(64, 64))
    whole = (tmp_path / "01.png").read_bytes()
    (tmp_path / "01.png").write_bytes(whole[: len(whole) // 2])
    source = pictures.FolderPictures(pictures.find_pictures(tmp_path), 1 << 20)
    assert torch.equal(source[1], source[2])
    assert list(source.broken) == [1]
    assert "01.png" in source.broken[1]


def test_the_cache_keeps_within_its_limit_and_changes_nothing(tmp_path):
    paths = pictures.find_pictures(fill(tmp_path, 5))
    small, large = pictures.FolderPictures(paths, 2 * 3 * 40 * 36), pictures.FolderPictures(paths, 1 << 20)
    for index in (0, 1, 2, 3, 4, 0, 2):
        assert torch.equal(small[index], large[index])
        assert small._used <= 2 * 3 * 40 * 36


def test_grey_pictures_become_three_equal_channels(tmp_path):
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "grey.png")
    picture = pictures.FolderPictures(pictures.find_pictures(tmp_path), 1 << 20)[0]
    assert picture.shape == (3, 16, 16)
    assert torch.equal(picture[0], picture[2])
    assert int(picture.max()) == 255


def test_a_batch_depends_on_the_step_alone(tmp_path):
    fill(tmp_path)
    data = DataSettings(crop=16, shuffle_colours=True)
    first, second = opened(tmp_path), opened(tmp_path)
    ahead = [pictures.training_batch(first, data, 3, 7, step) for step in range(4)]
    for step in (2, 0, 3, 1):
        assert torch.equal(pictures.training_batch(second, data, 3, 7, step), ahead[step])
    assert not torch.equal(ahead[0], ahead[1])
    assert ahead[0].shape == (3, 3, 16, 16)


def test_an_epoch_uses_every_training_picture_once():
    indices = [3, 5, 8, 9, 12, 40, 41]
    steps = [pictures.picked(indices, step, 2, seed=1) for step in range(7)]
    drawn = [index for step in steps for index in step]
    assert sorted(drawn[:7]) == indices
    assert sorted(drawn[7:]) == indices
    assert drawn[:7] != drawn[7:]


def test_augmentation_is_one_of_the_eight_symmetries(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / "one.png")
    source = pictures.FolderPictures(pictures.find_pictures(tmp_path), 1 << 20)
    collection = pictures.Collection(source, (0,), (0,), ("one.png",), "")
    square = source[0]
    symmetric = [torch.rot90(s, k, (-2, -1)) for s in (square, square.flip(-1)) for k in range(4)]
    seen = set()
    for step in range(60):
        crop = pictures.training_batch(collection, DataSettings(crop=16), 1, 0, step)[0]
        seen.add(next(i for i, candidate in enumerate(symmetric) if torch.equal(crop, candidate)))
    assert seen == set(range(8))
    plain = pictures.training_batch(collection, DataSettings(crop=16, flips=False), 1, 0, 3)[0]
    assert torch.equal(plain, square)


def test_the_fingerprint_follows_names_and_content(tmp_path):
    before = opened(fill(tmp_path / "a")).fingerprint
    assert opened(fill(tmp_path / "b")).fingerprint == before
    Image.new("RGB", (40, 36), "red").save(tmp_path / "b" / "00.png")
    changed = opened(tmp_path / "b").fingerprint
    (tmp_path / "a" / "00.png").rename(tmp_path / "a" / "zz.png")
    assert len({before, changed, opened(tmp_path / "a").fingerprint}) == 3


@pytest.mark.parametrize("square", [False, True])
def test_validation_crops_are_the_middle_in_whole_multiples(tmp_path, square):
    collection = opened(fill(tmp_path, 4, size=(50, 35)))
    (crop,) = pictures.validation_crops(collection, 32, 8, square=square)
    assert crop.shape == (1, 3, 32, 32)
    (crop,) = pictures.validation_crops(collection, 64, 8, square=square)
    assert crop.shape == (1, 3, 32, 32 if square else 48)
    expected = collection.pictures[collection.validation[0]][:, 1:33, (9 if square else 1) : (41 if square else 49)]
    torch.testing.assert_close(crop[0] * 255, expected.float())


def test_a_run_folder_among_the_pictures_is_refused(tmp_path):
    pictures.check_apart(tmp_path / "runs" / "one", tmp_path / "pictures")
    for inside in (tmp_path / "pictures", tmp_path / "pictures" / "run", tmp_path / "x" / ".." / "pictures" / "run"):
        with pytest.raises(InputError, match="lies inside the folder of pictures"):
            pictures.check_apart(inside, tmp_path / "pictures")


def test_drawn_pictures_need_room_for_a_crop():
    with pytest.raises(InputError, match="10 drawn pictures of 32 pixels cannot give crops of 64"):
        pictures.open_drawn(DataSettings(drawn=10, drawn_size=32, crop=64), ValidationSettings(), 0)
