"""The public start: its file, and the command that makes one."""

from __future__ import annotations

import numpy as np
import pytest

from qdpem.errors import QdpemError
from qdpem.forecasting.pretrained import (
    RELEASED,
    PretrainingSettings,
    digest,
    load_pretrained,
    pretrain,
    untrained,
)
from qdpem.forecasting.recurrent.synthetic import synthetic_times
from qdpem.rng import stream


def test_the_released_weights_are_the_ones_their_page_names() -> None:
    page = RELEASED.with_name("README.md").read_text()
    assert digest(load_pretrained()) in page
    assert str(sum(value.size for value in load_pretrained().values())) in page.replace(",", "")


@pytest.mark.slow
def test_pretraining_is_deterministic_and_lowers_the_loss() -> None:
    pytest.importorskip("torch")
    settings, heard = PretrainingSettings(seed=1, peers=8, epochs=2), []
    first = pretrain(settings, on_epoch=lambda epoch, loss: heard.append(loss))
    assert len(heard) == 2
    assert heard[-1] < heard[0]
    assert digest(pretrain(PretrainingSettings(seed=1, peers=8, epochs=2))) == digest(first)
    assert digest(first) != digest(untrained(stream(1, "forecasting/start")))


def test_synthetic_times_ascend_inside_the_series_and_vary() -> None:
    times = synthetic_times(stream(2, "test/synthetic"), steps=400, peers=300)
    assert len(times) == 300
    for own in times:
        assert (np.diff(own) >= 0.0).all()
        assert ((own >= 0.0) & (own < 400.0)).all()
    # From peers that hardly ask to peers that ask in every step.
    counts = np.array([len(own) for own in times])
    assert (counts < 20).sum() > 30
    assert (counts > 400).sum() > 3


def test_another_file_is_refused_with_its_path(tmp_path) -> None:
    path = tmp_path / "other.npz"
    with pytest.raises(QdpemError, match=r"other\.npz does not hold pretrained weights"):
        load_pretrained(path)
    np.savez(path, **{name: value[..., :1] for name, value in load_pretrained().items()})
    with pytest.raises(QdpemError, match="holds weights of shapes"):
        load_pretrained(path)
