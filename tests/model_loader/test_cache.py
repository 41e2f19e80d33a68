from __future__ import annotations

import dataclasses
import gc
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from backplate.model_loader.cache import ModelCache
from backplate.model_loader.errors import ModelError
from backplate.model_loader.loaded import LoadedModel, load_model


@pytest.fixture
def load(compact_file: Path) -> Callable[[Path], LoadedModel]:
    """Makes a model of as many bytes as its file is long; counts in ``load.calls``."""
    sample = load_model(compact_file)

    def make(path: Path) -> LoadedModel:
        make.calls.append(path.name)
        facts = dataclasses.replace(sample.facts, size_bytes=path.stat().st_size, name=path.stem)
        return LoadedModel(sample.descriptor, path, facts)

    make.calls = []
    return make


@pytest.fixture
def files(tmp_path: Path) -> Callable[[str, int], Path]:
    def write(name: str, size: int) -> Path:
        path = tmp_path / name
        path.write_bytes(bytes(size))
        return path

    return write


def test_a_model_is_loaded_once(load, files):
    cache = ModelCache(100)
    path = files("a", 10)
    assert cache.get(path, load) is cache.get(path, load)
    assert load.calls == ["a"]
    assert (len(cache), cache.used_bytes) == (1, 10)


def test_the_one_used_least_recently_goes_first(load, files):
    cache = ModelCache(100)
    a, b, c = (files(name, 40) for name in "abc")
    cache.get(a, load)
    cache.get(b, load)
    cache.get(a, load)
    cache.get(c, load)
    assert cache.used_bytes == 80
    gc.collect()
    for path in (a, c, b):
        cache.get(path, load)
    assert load.calls == ["a", "b", "c", "b"]


def test_the_limit_holds_whatever_comes(load, files):
    cache = ModelCache(100)
    for index, size in enumerate([30, 90, 10, 100, 101, 1, 55, 45, 46]):
        cache.get(files(f"{index}", size), load)
        assert cache.used_bytes <= 100


def test_a_model_over_the_limit_is_handed_out_but_not_kept(load, files):
    cache = ModelCache(100)
    small = cache.get(files("small", 60), load)
    large = cache.get(files("large", 101), load)
    assert large.facts.size_bytes == 101
    assert (len(cache), cache.used_bytes) == (1, 60)
    assert cache.get(files("small", 60), load).facts.name == small.facts.name


def test_a_dropped_model_that_is_in_use_is_not_loaded_again(load, files):
    cache = ModelCache(0)
    path = files("a", 10)
    model = cache.get(path, load)
    assert cache.get(path, load) is model
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
    cache.get(path, load)
    assert load.calls == ["a", "a"]


def test_a_replaced_file_is_loaded_again_and_the_old_model_dropped(load, files):
    cache = ModelCache(100)
    path = files("a", 10)
    first = cache.get(path, load)
    os.utime(path, ns=(5, 5))
    second = cache.get(path, load)
    files("a", 20)
    third = cache.get(path, load)
    assert len({id(model) for model in (first, second, third)}) == 3
    assert (len(cache), cache.used_bytes) == (1, 20)


def test_a_failure_is_passed_on_and_not_kept(load, files):
    cache = ModelCache(100)
    path = files("a", 10)

    def fail(path: Path) -> LoadedModel:
        raise ModelError("no")

    for _ in range(2):
        with pytest.raises(ModelError, match="^no$"):
            cache.get(path, fail)
    assert len(cache) == 0
    assert cache.get(path, load).facts.name == "a"


def test_threads_that_ask_for_one_file_load_it_once(load, files):
    cache = ModelCache(100)
    path = files("a", 10)
    asking = threading.Barrier(4)
    found: list[LoadedModel] = []

    def ask() -> None:
        asking.wait()
        found.append(cache.get(path, load))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load.calls == ["a"]
    assert len(found) == 4
    assert len({id(model) for model in found}) == 1


def test_a_thread_that_waits_takes_over_when_the_first_fails(load, files):
    cache = ModelCache(100)
    path = files("a", 10)
    inside, go_on = threading.Event(), threading.Event()
    errors: list[ModelError] = []

    def fail_late(path: Path) -> LoadedModel:
        inside.set()
        go_on.wait()
        raise ModelError("no")

    def first() -> None:
        try:
            cache.get(path, fail_late)
        except ModelError as error:
            errors.append(error)

    found: list[LoadedModel] = []
    failing = threading.Thread(target=first)
    failing.start()
    inside.wait()
    waiting = threading.Thread(target=lambda: found.append(cache.get(path, load)))
    waiting.start()
    go_on.set()
    failing.join()
    waiting.join()
    assert (len(errors), len(found), load.calls) == (1, 1, ["a"])


def test_different_files_load_side_by_side(load, files):
    cache = ModelCache(100)
    both = threading.Barrier(2, timeout=30)

    def meet(path: Path) -> LoadedModel:
        both.wait()  # breaks unless the other one is loading at the same time
        return load(path)

    threads = [threading.Thread(target=cache.get, args=(files(name, 10), meet)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(load.calls) == ["a", "b"]


def test_clear(load, files):
    cache = ModelCache(100)
    cache.get(files("a", 10), load)
    cache.clear()
    assert (len(cache), cache.used_bytes) == (0, 0)


@pytest.mark.parametrize(("text", "limit"), [(None, 2048 << 20), ("", 2048 << 20), ("0", 0), (" 64 ", 64 << 20)])
def test_the_limit_comes_from_the_environment(monkeypatch, text, limit):
    if text is not None:
        monkeypatch.setenv("BACKPLATE_MODEL_CACHE_MB", text)
    assert ModelCache().limit_bytes == limit


@pytest.mark.parametrize("text", ["lots", "-1", "1.5"])
def test_a_limit_that_is_no_number(compact_file, monkeypatch, text):
    monkeypatch.setenv("BACKPLATE_MODEL_CACHE_MB", text)
    with pytest.raises(ModelError, match=f"BACKPLATE_MODEL_CACHE_MB is '{text}': give a whole number of MiB"):
        load_model(compact_file)
