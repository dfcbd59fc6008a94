"""What was measured of a checkpoint, as its release tells it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from visrec_training.checkpoint import Checkpoint
from visrec_training.evaluate import EVALUATION, WORTH
from visrec_training.intervals import HISTORY
from visrec_training.picture_worth import ITEMS
from visrec_training.prepare import warn


def measured(checkpoint: Checkpoint, path: Path) -> dict[str, Any] | None:
    """What `visrec evaluate` wrote of a checkpoint; says on stderr if that can't be read.

    Args:
        checkpoint: what is released.
        path: where it was read from; the evaluation is beside it.

    Returns:
        `ndcg@10`, by history, of `new items` ranked among each other and of `known items`, as far as people
        were asked for them; and `pictures`, sentences that say what they are worth. None where there is no
        evaluation of this very checkpoint.
    """
    evaluation = path.with_name(EVALUATION)
    if not evaluation.is_file():
        return None
    try:
        report = json.loads(evaluation.read_text("utf-8"))
        if report["checkpoint"] != checkpoint.digest():
            return None
        ndcg = {items: report[name][HISTORY]["ndcg@10"] for items, name in ITEMS.items() if name in report}
    except (OSError, ValueError, KeyError, TypeError) as error:
        warn([f"{evaluation} is no evaluation of this version of visrec, and is left out ({error!r})"])
        return None
    return {"ndcg@10": ndcg, "pictures": report.get(WORTH, [])}
