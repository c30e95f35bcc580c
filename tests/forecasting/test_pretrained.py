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
    synthetic_counts,
    untrained,
)
from qdpem.rng import stream


def test_the_released_weights_are_the_ones_their_page_names():
    page = RELEASED.with_name("README.md").read_text()
    assert digest(load_pretrained()) in page
    assert str(sum(value.size for value in load_pretrained().values())) in page.replace(",", "")


@pytest.mark.slow
def test_pretraining_is_deterministic_and_lowers_the_loss():
    settings, heard = PretrainingSettings(seed=1, batches=4, series=32), []
    first = pretrain(settings, on_batch=lambda batch, loss: heard.append(loss))
    assert digest(pretrain(settings)) == digest(first)
    assert digest(first) != digest(untrained(stream(1, "forecasting/start")))
    assert heard[-1] < heard[0]


def test_synthetic_series_keep_their_mean_rate():
    """The mean over 400 series of count over mean rate: |z| < 4.5, false alarm 7e-6."""
    counts = synthetic_counts(stream(2, "test/synthetic"), steps=800, series=400)
    means = np.exp(stream(2, "test/synthetic").uniform(np.log(0.03), np.log(6.0), 400))
    ratio = counts.mean(axis=0) / means
    assert abs(ratio.mean() - 1.0) < 4.5 * ratio.std() / 20.0


def test_another_file_is_refused_with_its_path(tmp_path):
    path = tmp_path / "other.npz"
    with pytest.raises(QdpemError, match=r"other\.npz does not hold pretrained weights"):
        load_pretrained(path)
    np.savez(path, **{name: value[..., :1] for name, value in load_pretrained().items()})
    with pytest.raises(QdpemError, match="holds weights of shapes"):
        load_pretrained(path)
