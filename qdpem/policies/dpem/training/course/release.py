"""Release the network of a finished training.

python -m qdpem.policies.dpem.training.course.release DIR [DIR ...]
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from qdpem.errors import StudyError
from qdpem.policies.dpem.policy_file import RELEASED


def release(trainings: Sequence[Path], *, target: Path = RELEASED) -> Path:
    """Copy the network of the first training to `target`, and join the curves of all trainings beside it.

    The name of a training's directory is its seed. The first training is released, a choice made before any
    is scored. Returns the path of the joined `curve.csv`. Raises StudyError for a training that is not
    finished.
    """
    rows: list[dict[str, str]] = []
    for training in trainings:
        if not (training / "policy.npz").is_file():
            raise StudyError(
                f"{training} holds no finished training (policy.npz); run `qdpem train` to its end"
            )
        with (training / "curve.csv").open(newline="") as file:
            rows += [{"seed": training.name, **row} for row in csv.DictReader(file)]
    # All trainings are read before anything is written, so an unfinished one leaves the release unchanged.
    shutil.copyfile(trainings[0] / "policy.npz", target)
    joined = target.with_name("curve.csv")
    with joined.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return joined


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(
            "usage: python -m qdpem.policies.dpem.training.course.release DIR [DIR ...]"
            " (the network of the first DIR is released)"
        )
    release([Path(argument) for argument in sys.argv[1:]])
