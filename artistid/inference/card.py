"""The model card of a saved network, in the Hugging Face Hub's format.

It says what the network was trained on, with which split, how it scored and what its limits are. Names in it come from
files that may be untrusted, and are escaped.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from artistid.data.splits import PROTOCOLS, SUBSETS
from artistid.errors import abbreviate, counted
from artistid.learning.specification import Specification
from artistid.printing import printable

CARD_FILE, SCORES_FILE = "README.md", "scores.json"
WRITTEN = "<!-- Written by artistid; without this line it is left as it is. -->"
MOST_BYTES = 2**20  # of a file of scores
MOST_NAMES = 100  # of artists listed
METRICS = {"f1_weighted": "weighted F1", "f1_macro": "macro F1", "accuracy": "accuracy", "top3": "top-3 accuracy"}
SPECIAL = re.compile(r"([\\`*_\[\]<>|#&~$])")


def model_card(specification: Specification, network: str, scores: Mapping[str, Any] | None) -> str:
    """A network's card, in Markdown with a header in YAML.

    Args:
        specification: of the network.
        network: the name of its class.
        scores: from ``scores.json`` of its run, see :func:`scores_beside`; None: they are not known.
    """
    levels = scores["test"] if scores else {}
    data = _text(str(specification.data.get("name") or _class(specification.data)))
    lines = [
        "---",
        *_header(specification, network, levels, data),
        "---",
        "",
        WRITTEN,
        "",
        f"# {network}: who made this song?",
        "",
        f"It names the artist of a recording, one of {counted(len(specification.artists), 'artist')}, "
        "by its sound. It was trained with artistid.",
        "",
        "```python",
        "from artistid.inference.identifier import Identifier",
        "",
        'identifier = Identifier.from_pretrained("this/model")  # or the folder that this file is in',
        'print(identifier.predict("song.mp3").artist)',
        "```",
        "",
        "## Data",
        "",
        *_data(specification, data),
        "",
        "## Scores",
        "",
        *_scores(specification, levels),
        "",
        "## Limits",
        "",
        *_limits(specification),
        "",
    ]
    return "\n".join(lines)


def write_card(folder: Path, card: str) -> None:
    """Write a card, unless the user has written one there."""
    path = folder / CARD_FILE
    if not path.exists() or WRITTEN in path.read_text(encoding="utf-8", errors="replace"):
        path.write_text(card, encoding="utf-8")


def scores_beside(path: Path) -> dict[str, Any] | None:
    """The scores of a checkpoint's run, or of a saved folder; None where there are none that can be read.

    Args:
        path: of the checkpoint, ``RUN/checkpoints/best.ckpt``, or of the folder.
    """
    file = path / SCORES_FILE if path.is_dir() else path.absolute().parent.parent / SCORES_FILE
    try:
        if file.stat().st_size > MOST_BYTES:
            return None
        scores = json.loads(file.read_text(encoding="utf-8"))
        test = {
            level: {name: _number(scores["test"][level][name]) for name in (*METRICS, "n")}
            | {"f1_weighted_ci95": [_number(end) for end in scores["test"][level].get("f1_weighted_ci95", ())]}
            for level in ("frame", "song")
            if level in scores["test"]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return {"test": test}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, found {value!r}")
    return value


def _header(
    specification: Specification, network: str, levels: Mapping[str, Mapping[str, Any]], data: str
) -> Iterator[str]:
    """The card's YAML; text as JSON, which is YAML."""
    yield "library_name: artistid"
    yield "license: unknown  # yours to choose, and to see that the music's owners agree"
    yield "pipeline_tag: audio-classification"
    yield "tags: [music, artist-identification, audio, artistid]"
    if not levels:
        return
    split = str(specification.split.get("rule", "unknown"))
    yield "model-index:"
    yield f"  - name: {json.dumps(network)}"
    yield "    results:"
    for level, score in levels.items():
        yield "      - task: {type: audio-classification, name: music artist identification}"
        kind = f"{data}, {split} split, {level} level"
        yield f"        dataset: {{type: {json.dumps(data)}, name: {json.dumps(kind)}, split: test}}"
        yield "        metrics:"
        for name, words in METRICS.items():
            kind, called = "f1" if name.startswith("f1") else "accuracy", json.dumps(f"{words}, {level} level")
            yield f"          - {{type: {kind}, name: {called}, value: {score[name]:.4f}}}"


def _data(specification: Specification, data: str) -> Iterator[str]:
    split = specification.split
    counts = Counter(split["subsets"].values()) if split else Counter()
    yield f"- Collection: {data} ({_text(_class(specification.data))})."
    if counts:
        numbers = ", ".join(f"{subset} {counts[subset]}" for subset in SUBSETS)
        seed = "" if split["seed"] is None else f", drawn by seed {split['seed']}"
        protocol = PROTOCOLS.get(str(split["rule"]))
        words = f": {protocol.words}" if protocol else ""
        yield f"- Split: {_text(str(split['rule']))}{seed}{words}. Tracks: {numbers}."
    artists = abbreviate([_text(name) for name in specification.artists], MOST_NAMES)
    yield f"- Artists ({len(specification.artists)}): {artists}."
    seconds = specification.clip.get("seconds")
    features = _text(str(specification.features.get("name") or _class(specification.features)))
    yield f"- Heard as: {features} at {specification.build_features().sample_rate} Hz, clips of {seconds} s."
    if specification.pretrained_from:
        yield "- It began with a network that was trained on other labels (fine-tuning)."


def _scores(specification: Specification, levels: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not levels:
        yield "Not known here: the file was not beside its run. `artistid evaluate` measures them."
        return
    yield "Of the test songs, which were not trained on. At frame level every clip is a sample; at song level"
    yield f"the clips of a song vote ({_text(str(specification.vote))}).\n"
    yield "| level | weighted F1 | 95 % interval | macro F1 | accuracy | top-3 | n |\n|---|---|---|---|---|---|---|"
    for level, score in levels.items():
        first, *others = (f"{score[name]:.3f}" for name in METRICS)
        interval = "–".join(f"{end:.3f}" for end in score["f1_weighted_ci95"])
        yield f"| {level} | {' | '.join([first, interval, *others])} | {score['n']:,} |"
    yield "\nThe interval speaks of the choice of test songs, not of the spread between trainings."


def _limits(specification: Specification) -> Iterator[str]:
    yield "- It knows no other artists than those above, and was trained on no other music of theirs."
    if specification.open_set:
        share = float(specification.open_set["accepted"])
        yield f"- It says “none of them” below a threshold that accepts {share:.0%} of the validation's songs. It does"
        yield "  not say how many songs by others it accepts."
    else:
        yield "- It has no threshold for unknown artists, so it always names one that it knows."
    protocol = PROTOCOLS.get(str(specification.split.get("rule"))) if specification.split else None
    if protocol is None or "test" not in protocol.new_albums:
        yield "- Its test may share albums with its training: expect lower scores on albums that it has not heard."
    else:
        yield "- Part of what it knows of an artist is the albums' production: expect less on other productions."
    yield "- It compares how recordings sound, not which song is played. Covers and live versions are not looked for."
    yield "- `config.json` has the artists' and tracks' names, and fingerprints of the recordings trained on."


def _class(settings: Mapping[str, Any]) -> str:
    return str(settings.get("_target_", "unknown")).rpartition(".")[2]


def _text(name: str) -> str:
    """A name escaped for Markdown, in one line."""
    return SPECIAL.sub(r"\\\1", " ".join(printable(name).split()))
