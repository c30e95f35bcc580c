"""The learning curve as TensorBoard reads it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from qdpem.extras import require_packages
from qdpem.policies.dpem.training.course.state import CurveRow


def require_tensorboard() -> None:
    """Raise MissingPackagesError unless the packages of `tensorboard_rows` are installed."""
    require_packages(["torch", "tensorboard"], extra="tensorboard", user="a training with --tensorboard")


@contextmanager
def tensorboard_rows(folder: Path | None, before: Sequence[CurveRow]) -> Iterator[Callable[[CurveRow], None]]:
    """Gives what writes a row to `folder`, one scalar for each column at the step of its round.

    The rows `before` are written first, in place of any that the folder holds, so that a training that goes
    on has one curve. Without a folder nothing is written.
    """
    if folder is None:
        yield lambda _: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), purge_step=0) as writer:

        def write(row: CurveRow) -> None:
            for name, value in asdict(row).items():
                if name != "round" and not math.isnan(value):
                    writer.add_scalar(f"training/{name}", value, row.round)
            writer.flush()

        for row in before:
            write(row)
        yield write
