"""Audio files by FFmpeg's encoders, for formats that soundfile does not write."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

# By codec and file's ending; the encoder if it is called otherwise.
ENCODERS = {
    "aac.m4a": "aac",
    "aac.aac": "aac",
    "aac.mp4": "aac",
    "alac.m4a": "alac",
    "wmav2.wma": "wmav2",
    "opus.webm": "libopus",
    "opus.mka": "libopus",
    "ac3.ac3": "ac3",
    "wavpack.wv": "wavpack",
    "tta.tta": "tta",
    "mp2.mka": "mp2",
}


def encode(folder: Path, codec: str, samples: npt.NDArray[np.float32], rate: int) -> Path:
    """Write samples ``(channels, n)``; returns the file.

    Args:
        folder: where.
        codec: of :data:`ENCODERS`.
        samples: in [-1, 1].
        rate: Hz.
    """
    path = folder / f"{codec.partition('.')[0]}{Path(codec).suffix}"
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(path, "w") as file:
        stream = file.add_stream(ENCODERS[codec], rate=rate, layout=layout, bit_rate=128_000)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, layout, rate, stream.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return path
