"""A trained network at work, from Python."""

from __future__ import annotations

import doctest
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import artistid
from artistid.data.audio import decode
from artistid.data.features import LogMel
from artistid.errors import ArtistidError
from artistid.evaluation.open_set import OpenSetThreshold
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import VOTES
from artistid.inference.identification import columns, identify
from artistid.inference.identifier import Identifier
from artistid.inference.outputs import ClipOutputs
from tests.corpus import make_song, write_audio

RATE = 16000


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven seconds of the second artist's, which nobody trained on."""
    path = tmp_path_factory.mktemp("songs") / "new.flac"
    write_audio(path, make_song(2, np.random.default_rng(99), 7.3))
    return path


def test_its_repr_says_what_it_is(identifier: Identifier) -> None:
    assert repr(identifier) == (
        f"<Identifier: CRNN of 3 artists, clips of 1.02 s, 16000 Hz, {identifier.device}, 32-true>"
    )


class TestAgreesWithTraining:
    def test_every_clip_of_a_file_is_predicted_as_in_the_test(self, identifier: Identifier, run: Path) -> None:
        clips = Predictions.from_parquet(run / "predictions" / "test.parquet")
        catalog = pd.read_csv(run / "catalog.csv").set_index("track_id")
        assert identifier.artists == clips.artists
        for track_id in np.unique(clips.track_id):
            outputs = identifier.hear(catalog.loc[track_id, "path"])
            expected = clips.probability[clips.track_id == track_id]
            np.testing.assert_allclose(outputs.probability, expected, atol=1e-5)

    def test_the_vote_and_its_confidence_are_those_of_the_songs_table(self, identifier: Identifier, run: Path) -> None:
        songs = pd.read_csv(run / "songs_test.csv").merge(pd.read_csv(run / "catalog.csv"), on="track_id")
        for row in songs.itertuples():
            first = identifier.predict(row.path).top[0]
            assert first.artist == row.predicted
            assert first.probability == pytest.approx(row.confidence, abs=1e-5)
            assert first.share == pytest.approx(row.votes / row.n_clips)

    def test_a_short_song_is_filled_up_as_in_training(self, identifier: Identifier, tmp_path: Path) -> None:
        """Its clip is what the store would give: the song's own frames, then its floor."""
        write_audio(tmp_path / "short.wav", make_song(1, np.random.default_rng(5), 0.5))
        sound = identifier.read(tmp_path / "short.wav")
        assert isinstance(identifier.features, LogMel)
        features = identifier.features(decode(tmp_path / "short.wav", RATE))
        clip = np.full((32, 128), features.min(), np.float16)
        clip[: len(features)] = features
        network = identifier._network
        expected = network(torch.from_numpy(clip.T[None].astype(np.float32))).softmax(1).detach().numpy()
        np.testing.assert_allclose(identifier.infer(sound).probability, expected, atol=1e-5)

    def test_the_threshold_is_that_of_the_validation(self, run: Path, identifier: Identifier) -> None:
        songs = pd.read_csv(run / "songs_val.csv")
        open_set = json.loads((run / "scores.json").read_text())["open_set"]
        assert open_set["threshold"] == pytest.approx(np.quantile(songs["confidence"], 0.05, method="lower"), abs=1e-6)
        assert open_set["n_songs"] == len(songs)
        assert identifier.specification.open_set == open_set


class TestAnswer:
    def test_what_it_says(self, identifier: Identifier, song: Path) -> None:
        answer = identifier.predict(song, top=2)
        assert answer.name == str(song)
        assert answer.duration_s == pytest.approx(7.3, abs=1e-3)
        assert answer.artist in (None, answer.top[0].artist)
        assert len(answer.top) == 2
        everyone = identifier.predict(song).top
        assert sum(candidate.probability for candidate in everyone) == pytest.approx(1, abs=1e-5)
        assert sum(candidate.share for candidate in everyone) == pytest.approx(1)
        assert answer.score == answer.top[0].probability

    @pytest.mark.parametrize(("vote", "name", "score"), [("majority", "A", 0.27), ("mean_probability", "B", 0.523)])
    def test_name_score_and_threshold_follow_one_vote(self, vote: str, name: str, score: float) -> None:
        probability = np.float32([[0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.01, 0.97, 0.02]])
        seconds = np.arange(3.0)
        outputs = ClipOutputs("x", 3.0, seconds, seconds + 1, probability, np.zeros((3, 0), np.float32), False, ())
        for threshold, artist in ((0.2, name), (0.4, None if vote == "majority" else name)):
            answer = identify(outputs, "ABC", vote, OpenSetThreshold(threshold=threshold, accepted=0.95, n_songs=9), 3)
            assert (answer.artist, answer.top[0].artist) == (artist, name)
            assert answer.score == answer.top[0].probability == pytest.approx(score, abs=1e-3)

    @pytest.mark.parametrize("vote", VOTES)
    def test_artists_are_in_the_order_of_the_number_that_is_shown_first(self, vote: str) -> None:
        first, *others = columns(vote)
        assert {first, *others} >= {"share", "probability"}
        by_probability = []
        for probability in np.random.default_rng(0).dirichlet(np.full(5, 0.5), (20, 9)).astype(np.float32):
            seconds = np.arange(9.0)
            outputs = ClipOutputs("x", 9.0, seconds, seconds + 1, probability, np.zeros((9, 0), np.float32), False, ())
            top = identify(outputs, "ABCDE", vote, None, 5).top
            assert [each.rank for each in top] == [1, 2, 3, 4, 5]
            shown = [getattr(each, first) for each in top]
            assert shown == sorted(shown, reverse=first != "rank")
            by_probability.append([-each.probability for each in top] == sorted(-each.probability for each in top))
        assert all(by_probability) == (vote == "mean_probability")

    def test_the_timeline_covers_every_clip_once(self, identifier: Identifier, song: Path) -> None:
        outputs, timeline = identifier.hear(song), identifier.predict(song).timeline
        assert timeline[0].start_s == 0
        assert timeline[-1].end_s == pytest.approx(outputs.end_s[-1])
        assert len(outputs) == 7  # of 1.024 s
        for before, after in pairwise(timeline):
            assert before.end_s == pytest.approx(after.start_s)
            assert before.artist != after.artist
        for start, end, clip in zip(outputs.start_s, outputs.end_s, outputs.probability, strict=True):
            [stretch] = [each for each in timeline if each.start_s <= start and end <= each.end_s]
            assert stretch.artist == identifier.artists[clip.argmax()]

    def test_a_song_of_two_artists_changes_in_the_middle(self, identifier: Identifier) -> None:
        generator = np.random.default_rng(3)
        parts = [make_song(artist, generator, 16 * 1.024) for artist in (1, 3)]
        hearings = [identifier.hear(part, 22050).probability.argmax(1) for part in parts]
        both = identifier.hear(np.concatenate(parts), 22050).probability.argmax(1)
        assert np.mean(both == np.concatenate(hearings)) > 0.9

    def test_none_of_them_is_below_the_threshold(self, identifier: Identifier, song: Path) -> None:
        outputs, specification = identifier.hear(song), identifier.specification
        score = identifier.identify(outputs).score
        for threshold, nobody in ((score - 0.01, False), (min(1, score + 0.01), True)):
            strict = Identifier(
                type(specification)(
                    **{**specification.plain(), "open_set": {**specification.open_set, "threshold": threshold}}
                ),
                identifier._network,
            )
            answer = strict.predict(song)
            assert (answer.artist is None) == nobody
            assert answer.threshold == threshold

    def test_without_a_threshold_it_says_so(self, checkpoint: Path, song: Path, tmp_path: Path) -> None:
        old = torch.load(checkpoint, weights_only=True)
        del old["artistid"]["open_set"]  # as an older version wrote it
        torch.save(old, tmp_path / "old.ckpt")
        answer = artistid.load(tmp_path / "old.ckpt").predict(song)
        assert answer.artist == answer.top[0].artist
        assert answer.threshold is None
        assert any("no threshold" in warning for warning in answer.warnings)

    def test_a_recording_that_it_was_trained_on_is_known_again(self, identifier: Identifier, run: Path) -> None:
        catalog = pd.read_csv(run / "catalog.csv").merge(pd.read_csv(run / "split.csv"), on="track_id")
        for part, seen in (("train", True), ("test", False)):
            path = catalog[catalog["subset"] == part]["path"].iloc[0]
            assert any("trained on this" in warning for warning in identifier.predict(path).warnings) == seen


class TestSamples:
    def test_samples_are_heard_like_the_file(self, identifier: Identifier, song: Path) -> None:
        samples, rate = soundfile.read(song, dtype="float32")
        expected = identifier.hear(song)
        stereo = np.stack([samples, samples], axis=1)
        for given in (samples, samples.astype(float), stereo, stereo.T, torch.from_numpy(samples), samples.tolist()):
            outputs = identifier.hear(given, rate)
            np.testing.assert_allclose(outputs.probability, expected.probability, atol=1e-5)
            assert outputs.duration_s == expected.duration_s

    @pytest.mark.parametrize("subtype", ["int16", "int32"])
    def test_integers_are_of_full_scale(self, identifier: Identifier, song: Path, subtype: str) -> None:
        samples, rate = soundfile.read(song, dtype=subtype)
        np.testing.assert_allclose(
            identifier.hear(samples, rate).probability, identifier.hear(song).probability, atol=1e-3
        )

    def test_unsigned_bytes_are_centred(self, identifier: Identifier) -> None:
        assert identifier.predict(np.full(RATE, 128, np.uint8), RATE).artist is None

    @pytest.mark.parametrize(
        ("samples", "rate", "message"),
        [
            (np.zeros(RATE), None, "need their rate"),
            (np.zeros(RATE), 0, "rate=0"),
            (np.zeros(RATE), 44.1, r"rate=44\.1"),
            (np.zeros(0), RATE, r"found \(0,\)"),
            (np.zeros((2, 2, 100)), RATE, r"found \(2, 2, 100\)"),
            (np.zeros((100, 100)), RATE, "which axis is the channels"),
            (np.zeros(100, complex), RATE, "real numbers, found complex128"),
            (np.array([0, np.nan, np.inf]), RATE, "not finite.*2 of 3 samples"),
        ],
    )
    def test_samples_that_are_no_sound(
        self, identifier: Identifier, samples: np.ndarray, rate: int | None, message: str
    ) -> None:
        with pytest.raises(ArtistidError, match=message):
            identifier.predict(samples, rate)

    def test_a_rate_is_not_for_files(self, identifier: Identifier, song: Path) -> None:
        with pytest.raises(ArtistidError, match="expected none for a file"):
            identifier.predict(song, RATE)


class TestUnusualSound:
    def test_silence_is_by_nobody(self, identifier: Identifier, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "silence.wav", np.zeros(3 * RATE), RATE)
        answer = identifier.predict(tmp_path / "silence.wav")
        assert answer.artist is None
        assert any("silent" in warning for warning in answer.warnings)

    def test_a_fifth_of_a_second(self, identifier: Identifier) -> None:
        answer = identifier.predict(make_song(1, np.random.default_rng(0), 0.2), 22050)
        assert answer.duration_s == pytest.approx(0.2, abs=1e-3)
        assert any("0.2 s long: it was padded with silence to the 1.02 s" in warning for warning in answer.warnings)
        [stretch] = answer.timeline
        assert (stretch.start_s, stretch.end_s) == pytest.approx((0, 0.2), abs=1e-3)

    @pytest.mark.parametrize("rate", [8000, 44100])
    def test_the_telephone(self, identifier: Identifier, tmp_path: Path, rate: int) -> None:
        """Whether the file says so, or was made of one that did."""
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, 8000 * 3).astype(np.float32)
        if rate != 8000:
            from artistid.data.audio import resample

            noise = resample(noise, 8000, rate)
        soundfile.write(tmp_path / "call.wav", noise, rate)
        [warning] = [each for each in identifier.predict(tmp_path / "call.wav").warnings if "kHz" in each]
        assert warning.startswith(tuple(f"it has nothing above {kilohertz} kHz" for kilohertz in (3.9, 4.0, 4.1)))

    def test_wide_sound_is_not_warned_of(self, identifier: Identifier) -> None:
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, RATE * 3)
        assert identifier.predict(noise, RATE).warnings == ()

    @pytest.mark.slow
    @pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc to read a process's memory from")
    def test_three_hours_take_little_memory(self, checkpoint: Path, tmp_path: Path) -> None:
        minute = make_song(1, np.random.default_rng(0), 60)
        with soundfile.SoundFile(tmp_path / "mix.mp3", "w", 22050, 2) as file:
            for _ in range(180):
                file.write(np.stack([minute, minute], axis=1))
        code = (
            "import artistid, sys; answer = artistid.load(sys.argv[1]).predict(sys.argv[2]); "
            # VmHWM, for ru_maxrss of a child begins with what its parent held.
            "status = dict(line.split(':', 1) for line in open('/proc/self/status')); "
            "print(answer.duration_s, answer.timeline[-1].end_s, status['VmHWM'].split()[0])"
        )
        command = [sys.executable, "-c", code, str(checkpoint), str(tmp_path / "mix.mp3")]
        duration, end, kib = map(
            float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        )
        assert duration == pytest.approx(3 * 3600, abs=1)
        assert end == pytest.approx(3 * 3600, abs=2)
        assert kib < 1.5e6


class TestEmbedding:
    def test_a_song_s_vector_is_the_mean_of_its_clips_and_of_length_1(self, identifier: Identifier, song: Path) -> None:
        vector, clips = identifier.embed(song), identifier.hear(song).embedding
        assert vector.dtype == np.float32
        assert vector.shape == (32,)
        mean = clips.mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)

    def test_probabilities_follow_from_the_vectors(self, identifier: Identifier, song: Path) -> None:
        outputs = identifier.hear(song)
        logits = identifier._network.classify(torch.from_numpy(outputs.embedding))
        np.testing.assert_allclose(logits.softmax(1).detach(), outputs.probability, atol=1e-6)


class TestFolder:
    def test_what_was_saved_predicts_the_same(self, identifier: Identifier, song: Path, tmp_path: Path) -> None:
        identifier.save_pretrained(tmp_path / "mine")
        assert {path.name for path in (tmp_path / "mine").iterdir()} == {
            *("README.md", "config.json", "model.safetensors", "scores.json")
        }
        expected = identifier.hear(song)
        for again in (Identifier.from_pretrained(tmp_path / "mine"), artistid.load(tmp_path / "mine")):
            assert again.specification == identifier.specification
            assert np.array_equal(again.hear(song).probability, expected.probability)
            assert again.predict(song) == identifier.predict(song)

    def test_folders_that_hold_no_network(self, identifier: Identifier, tmp_path: Path) -> None:
        with pytest.raises(ArtistidError, match="is neither a folder here nor the name of a model"):
            Identifier.from_pretrained("some-model")
        with pytest.raises(ArtistidError, match=r"without config\.json and model\.safetensors"):
            artistid.load(tmp_path)
        identifier.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        for change, message in (
            ({"artistid_version": None}, "not written by artistid"),
            ({"colour": "blue"}, "another version of artistid than this one, .*: colour unknown"),
            ({"network": {"_target_": "os.system", "command": "true"}}, "not safe to use: it would call 'os.system'"),
        ):
            (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
            with pytest.raises(ArtistidError, match=message):
                artistid.load(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "model.safetensors").write_bytes(b"no weights")
        with pytest.raises(ArtistidError, match="cannot be read"):
            artistid.load(tmp_path)


def test_it_needs_nothing_that_only_training_does(checkpoint: Path, song: Path) -> None:
    heavy = ("lightning", "sklearn", "pandas", "torchmetrics", "scipy.stats", "wandb", "matplotlib")
    code = (
        "import artistid, sys; artistid.load(sys.argv[1]).predict(sys.argv[2]); "
        "import artistid.data.sources.synthetic; "  # which a checkpoint may name as its data
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(checkpoint), str(song)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_example_of_load_runs(
    checkpoint: Path, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(checkpoint, tmp_path / "best.ckpt")
    samples, rate = soundfile.read(song)
    write_audio(tmp_path / "song.mp3", samples, rate)
    monkeypatch.chdir(tmp_path)
    [example] = doctest.DocTestFinder(recurse=False).find(artistid.load, "load", globs={})
    with caplog.at_level("WARNING", logger="artistid"):  # an example shows what is printed, not what is logged
        results = doctest.DocTestRunner().run(example)
    assert results.attempted > 5
    assert results.failed == 0


def test_a_device_that_is_not_there(checkpoint: Path) -> None:
    with pytest.raises(ArtistidError, match="device='warp' cannot be used here"):
        artistid.load(checkpoint, device="warp")
