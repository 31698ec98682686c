"""Run folders: their files, their provenance, and how runs are read back, alone or as studies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from artistid.errors import ArtistidError
from artistid.places import expanded
from artistid.runs.folder import RunFolder, run_folders

__all__ = ["RunFolder", "read_runs"]


def read_runs(root: str | Path, settings: Sequence[str] = ()) -> pd.DataFrame:
    """The test scores of all finished runs at and below a folder.

    Args:
        root: such as ``runs``.
        settings: dotted names, such as ``data.producer_strength``, to add from the runs' configurations.

    Returns:
        A row per run and level, sorted by folder: ``run`` (its folder, below ``root``), the condition (``data``,
        ``split``, ``clip``, ``model``, ``seed``, ``vote``, ``init_from`` of a fine-tuned run, and ``fold`` of a
        jackknife, whose folds are rows here and pooled by the report), ``level``, what
        :func:`artistid.evaluation.scores.score_levels` gives, and ``settings``.

    Raises:
        ArtistidError: there is no finished run.
    """
    root = expanded(root)
    rows = []
    for folder in run_folders(root):
        if not folder.scores.exists():
            continue
        scores = json.loads(folder.scores.read_text(encoding="utf-8"))
        if "split" not in scores["condition"]:  # of a later evaluation
            continue
        config = OmegaConf.load(folder.config)
        chosen = {name: OmegaConf.select(config, name) for name in settings}
        run = folder.path.relative_to(root).as_posix()
        for level, score in scores["test"].items():
            rows.append({"run": run, **scores["condition"], "level": level, **score, **chosen})
    if not rows:
        raise ArtistidError(f"no finished run is in {root}")
    return pd.DataFrame(rows)
