"""Log-mel by librosa, file by file, as in most code of the field.

Run by a Python that has librosa: ``python librosa_log_mel.py RATE FILE …``; prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import librosa


def log_mel(path: str, rate: int) -> float:
    """Compute the features of a file; returns its seconds."""
    samples, _ = librosa.load(path, sr=rate)
    power = librosa.feature.melspectrogram(y=samples, sr=rate, n_fft=2048, hop_length=512, n_mels=128)
    librosa.power_to_db(power)
    return len(samples) / rate


def main(rate: int, paths: list[str]) -> None:
    """Print the seconds of audio per second as JSON."""
    log_mel(paths[0], rate)  # what is loaded and compiled on first use does not count
    start = time.perf_counter()
    seconds = sum(log_mel(path, rate) for path in paths)
    print(json.dumps({"name": f"librosa {version('librosa')}", "features": seconds / (time.perf_counter() - start)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
