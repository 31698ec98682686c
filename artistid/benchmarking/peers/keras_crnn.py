"""The paper's network in Keras on TensorFlow, as its users would write it today; training and prediction timed.

Run by a Python that has tensorflow: ``python keras_crnn.py BATCH FRAMES SECONDS``; prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
from keras import layers

ARTISTS, MELS = 20, 128
BATCHES = 24  # per epoch, so that Keras' overhead of an epoch hardly counts


def crnn(frames: int) -> Any:
    """The network of the paper's Fig. 2, compiled as in section III-E."""
    log_mel = layers.Input((MELS, frames, 1))
    x = layers.BatchNormalization(axis=1)(log_mel)
    for filters, pool in ((64, (2, 2)), (128, (4, 2)), (128, (4, 2)), (128, (4, 2))):
        x = layers.Conv2D(filters, (3, 3), padding="same", activation="elu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(pool)(x)
        x = layers.Dropout(0.1)(x)
    x = layers.Reshape((-1, 128))(x)  # one mel bin is left: (time, channel)
    x = layers.GRU(32, return_sequences=True)(x)
    x = layers.GRU(32)(x)
    x = layers.Dropout(0.3)(x)
    model = keras.Model(log_mel, layers.Dense(ARTISTS, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def clips_per_second(work: Callable[[int], Any], batch: int, seconds: float) -> float:
    """The rate of work on a number of clips: warmed up on two batches, timed on whole epochs until the time is over."""
    work(2 * batch)
    epochs, start = 0, time.perf_counter()
    while not epochs or time.perf_counter() - start < seconds:
        work(BATCHES * batch)
        epochs += 1
    return epochs * BATCHES * batch / (time.perf_counter() - start)


def main(batch: int, frames: int, seconds: float) -> None:
    """Print the rates of training and prediction as JSON."""
    rng = np.random.default_rng(0)
    clips = rng.standard_normal((batch * BATCHES, MELS, frames, 1), dtype=np.float32)
    labels = rng.integers(ARTISTS, size=len(clips))
    model = crnn(frames)
    train = clips_per_second(lambda n: model.fit(clips[:n], labels[:n], batch, verbose=0), batch, seconds)
    predict = clips_per_second(lambda n: model.predict(clips[:n], batch, verbose=0), batch, seconds / 2)
    print(json.dumps({"name": f"Keras {keras.__version__}", "train": train, "predict": predict}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
