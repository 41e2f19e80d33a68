"""The plain network computes what the model computes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from backplate.core.engines.fuse import fuse_for_export
from backplate.model_loader.loaded import LoadedModel


@pytest.mark.parametrize("name", ["compact", "rrdbnet", "rrdbnet x2", "rrdbnet x1", "span", "span without mean"])
def test_the_plain_network_equals_the_model(build: Callable[[str], LoadedModel], name: str):
    model = build(name)
    picture = torch.rand(2, 3, 24, 36, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model.descriptor.model(picture)
        before = {key: value.clone() for key, value in model.descriptor.model.state_dict().items()}
        assert torch.equal(fuse_for_export(model.descriptor.model)(picture), expected)
    after = model.descriptor.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_merged_convolutions_leave_their_branches_out(build: Callable[[str], LoadedModel]):
    model = build("span")
    assert sum(p.numel() for p in fuse_for_export(model.descriptor.model).parameters()) < model.facts.parameters / 2
