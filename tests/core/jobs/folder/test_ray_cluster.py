"""The parts of a job on a cluster that need none: how machines are shared out, and what a worker does."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest
from backplate.core.errors import InputError
from backplate.core.jobs.folder.manifest import History, manifest_files, parse_line
from backplate.core.jobs.folder.ray_cluster import Cluster, Worker, rows_of, run_folder_on_cluster, share_out
from backplate.core.jobs.folder.run import Start, run_folder
from backplate.core.jobs.model_info import Model


@pytest.mark.parametrize("workers", range(1, 9))
@pytest.mark.parametrize("nodes", [[2], [3], [8], [4, 4], [16, 8, 8], [1, 1]])
def test_processors_are_never_all_taken(workers: int, nodes: Sequence[int]):
    machines = [{"CPU": float(cpus)} for cpus in nodes]
    if workers * 0.5 >= sum(nodes):
        with pytest.raises(InputError, match=f"{workers} workers"):
            share_out(workers, machines)
        return
    share = share_out(workers, machines)
    assert share.workers == workers
    assert share.cpus * workers < sum(nodes), "nothing left for Ray's own tasks"
    assert share.cpus < 1 or share.cpus == int(share.cpus), "Ray takes fractions of one processor only"
    assert share.threads >= 1


def test_one_model_for_each_gpu_and_else_for_each_machine():
    gpus = share_out(0, [{"CPU": 32.0, "GPU": 4.0}, {"CPU": 32.0, "GPU": 4.0}])
    assert (gpus.workers, gpus.gpus) == (8, 1)
    machines = share_out(0, [{"CPU": 8.0}, {"CPU": 8.0}, {"memory": 1.0}])
    assert (machines.workers, machines.gpus, machines.cpus, machines.threads) == (2, 0, 7, 8)
    with pytest.raises(InputError, match="9 workers need a GPU each and the cluster has 8"):
        share_out(9, [{"CPU": 32.0, "GPU": 4.0}] * 2)


def as_batch(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def load(upscaler, sha256: str = "0" * 64):
    return lambda: (upscaler, Model(name="tiny", sha256=sha256))


def test_a_worker_does_what_the_job_does_on_one_machine(ten, job, upscaler, tmp_path):
    """And a second one on the same pictures skips what is done."""
    here, there = job(ten, output=tmp_path / "here"), job(ten, output=tmp_path / "there", resume=True)
    expected = {entry.source: entry.status for entry in run_folder(here, upscaler).entries}
    there.output.mkdir()
    lines = Worker(there, load(upscaler), 0)(as_batch(rows_of(there, Start(History()))))
    entries = [parse_line(line) for line in lines["line"]]
    assert {entry.source: entry.status for entry in entries} == expected
    assert not any(lines["skipped"])
    for task, other in zip(here.tasks, there.tasks, strict=True):
        assert task.output.exists() == other.output.exists()
        if task.output.exists():
            assert task.output.read_bytes() == other.output.read_bytes()
    again = Worker(there, load(upscaler), 0)(as_batch(rows_of(there, Start(History.of(entries)))))
    assert sorted(parse_line(line).source for line, skipped in zip(again["line"], again["skipped"], strict=True)
                  if skipped) == sorted(name for name, status in expected.items() if status != "failed")  # fmt: skip


def test_files_of_others_are_left_alone(ten, job, upscaler):
    wanted = job(ten)
    name = wanted.tasks[0].output_name
    rows = rows_of(wanted, Start(History(), frozenset([name])))
    wanted.tasks[0].output.parent.mkdir(parents=True, exist_ok=True)
    wanted.tasks[0].output.write_text("precious")
    lines = Worker(wanted, load(upscaler), 0)(as_batch(rows))
    assert [parse_line(line).output for line in lines["line"] if parse_line(line).kept] == [name]
    assert wanted.tasks[0].output.read_text() == "precious"


def test_another_model_under_the_same_name_on_a_machine_ends_the_job(ten, job, upscaler):
    wanted = job(ten)
    lines = Worker(wanted, load(upscaler, "1" * 64), 0)(as_batch(rows_of(wanted, Start(History()))))
    assert ["another file on one of the machines" in problem for problem in lines["problem"]] == [True]
    assert manifest_files(wanted.output) == []


def test_without_ray_a_sentence_names_the_extra(ten, job, upscaler, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r'python -m pip install "ray\[data\]"'):
        run_folder_on_cluster(job(ten), load(upscaler), 2, Cluster())
