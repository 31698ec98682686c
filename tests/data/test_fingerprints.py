from __future__ import annotations

import numpy as np
import pytest

from artistid.data import duplicates
from artistid.data.duplicates import THRESHOLD, Fingerprints, RecordingMatch, fingerprint
from artistid.data.features import LogMel, LogSpectrogram
from artistid.data.pitch import LogPitch
from artistid.synthesis.discography import Discography, record, recordings
from tests.data.versions import RATE, VERSIONS, Samples

FRAMES_PER_SECOND = RATE / LogMel().hop_length
SONGS = Discography(n_artists=2, n_albums=2, n_songs=2, seconds=15.0)


@pytest.fixture(scope="module")
def songs() -> list[Samples]:
    """Eight songs by two artists, each on two albums."""
    return [record(SONGS, song.artist, song.album, song.song) for song in recordings(SONGS)]


def matches(
    first: list[Samples], second: list[Samples], features: LogSpectrogram | None = None
) -> list[RecordingMatch]:
    """Those between a song of ``first`` and one of ``second``, counted on from those of ``first``."""
    log_mel = features or LogMel()
    found = Fingerprints((log_mel(samples) for samples in (*first, *second)), log_mel)
    return list(found.matches([0] * len(first) + [1] * len(second)))


@pytest.mark.parametrize("name", [name for name in VERSIONS if name != "MP3 at 8 kbps"])  # which takes longer songs
def test_a_version_is_its_songs(name: str, songs: list[Samples]) -> None:
    version, start_s = VERSIONS[name]
    found = [match for match in matches(songs, [version(songs[0]), version(songs[5])]) if match.score > THRESHOLD]
    assert [(match.first, match.second) for match in found] == [(0, 8), (5, 9)]
    for match in found:
        assert match.shift / FRAMES_PER_SECOND == pytest.approx(-start_s, abs=0.15)  # an encoder adds 0.07 s
        assert match.overlap > 0.8 * (15.0 - start_s - 4.0) * FRAMES_PER_SECOND


def test_songs_are_not_each_others_versions(songs: list[Samples]) -> None:
    log_mel = LogMel()
    found = Fingerprints(map(log_mel, songs), log_mel).matches(range(len(songs)))
    assert all(match.score < THRESHOLD - 0.05 for match in found)


@pytest.mark.parametrize(
    "features", [LogMel(n_mels=40), LogMel(hop_length=256), LogMel(mel_scale="htk", f_max=4000), LogPitch()]
)
def test_other_spectrograms(features: LogSpectrogram, songs: list[Samples]) -> None:
    found = matches(songs, [VERSIONS["remastered"][0](songs[3])], features)
    (match,) = [match for match in found if match.score > THRESHOLD]
    assert (match.first, match.second) == (3, 8)
    assert match.shift * features.hop_length / RATE == pytest.approx(-1.234, abs=0.15)


def test_gain_and_a_filter_of_the_log_mel_change_no_bit(songs: list[Samples]) -> None:
    log_mel = LogMel(top_db=None)(songs[0])
    changed = log_mel - 6.0 + np.linspace(-12, 12, log_mel.shape[1], dtype=np.float32)
    unequal = np.bitwise_count(fingerprint(log_mel, LogMel()) ^ fingerprint(changed, LogMel()))
    assert unequal.mean() < 0.05  # of 32, where a change is as small as the rounding


def test_silence_matches_nothing() -> None:
    silence = np.zeros(20 * RATE, np.float32)
    assert not fingerprint(LogMel()(silence), LogMel()).any()
    assert matches([silence], [silence]) == []


def test_what_is_shorter_than_a_change_has_no_bits(songs: list[Samples]) -> None:
    assert len(fingerprint(LogMel()(songs[0][: RATE // 2]), LogMel())) == 0
    assert matches([songs[0][: RATE // 2]], [songs[0][: RATE // 2]]) == []
    assert matches([], []) == []


def test_a_song_that_is_cut_is_aligned_where_most_of_it_lies(songs: list[Samples]) -> None:
    edit = np.concatenate([songs[0][: 3 * RATE], songs[0][6 * RATE :]])
    (match,) = matches([songs[0]], [edit])
    assert match.score > THRESHOLD
    assert match.shift / FRAMES_PER_SECOND == pytest.approx(-3.0, abs=0.1)


def test_sorting_in_shares_finds_the_same(songs: list[Samples], monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [version(songs[2]) for version, _ in VERSIONS.values()]
    at_once = matches(songs, versions)
    assert len(at_once) == len(versions)
    monkeypatch.setattr(duplicates, "CODES_AT_ONCE", 500)
    assert matches(songs, versions) == at_once
