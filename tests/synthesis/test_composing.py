from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from artistid.synthesis.composing import ComposedSong, Drum, Note, compose
from artistid.synthesis.style import draw_artist


def songs(n: int, seconds: float = 30.0, strength: float = 1.0) -> list[ComposedSong]:
    return [
        compose(draw_artist(np.random.default_rng([1, i]), strength), np.random.default_rng([2, i]), seconds)
        for i in range(n)
    ]


def test_the_same_seed_writes_the_same_song_and_another_another() -> None:
    artist = draw_artist(np.random.default_rng(0), 1.0)
    first, again, other = (compose(artist, np.random.default_rng(seed), 10.0) for seed in (1, 1, 2))
    assert first == again
    assert first.parts != other.parts


@pytest.mark.parametrize("seconds", [5.0, 30.0, 200.0])
def test_every_song_is_played_from_beginning_to_end(seconds: float) -> None:
    for song in songs(20, seconds):
        notes = [note for part in song.parts.values() for note in part]
        bar = 240.0 / song.tempo
        assert min(note.start for note in notes) < bar
        assert max(note.start for note in notes) < seconds
        assert max(note.start + note.duration for note in notes) > seconds - bar
        assert all(0.0 < note.velocity <= 1.0 and note.duration > 0.0 for note in notes)


@pytest.mark.parametrize("seconds", [5.0, 30.0, 200.0])
def test_sections_follow_each_other_without_gap_to_the_end(seconds: float) -> None:
    for song in songs(20, seconds):
        ends = [section.bar + section.bars for section in song.sections]
        assert [0, *ends[:-1]] == [section.bar for section in song.sections]
        assert (ends[-1] - 1) * 240.0 / song.tempo < seconds <= ends[-1] * 240.0 / song.tempo


def test_half_a_minute_has_sections_that_differ() -> None:
    for song in songs(20):
        assert len({section.letter for section in song.sections}) >= 2
    fullness = {letter: np.mean([_notes_per_bar(song, letter) for song in songs(40)]) for letter in "IC"}
    assert fullness["C"] > 1.5 * fullness["I"]


def _notes_per_bar(song: ComposedSong, letter: str) -> float:
    bar = 240.0 / song.tempo
    inside = [s for s in song.sections if s.letter == letter]
    notes = [n.start for part in song.parts.values() for n in part]
    count = sum(s.bar * bar <= start < (s.bar + s.bars) * bar for s in inside for start in notes)
    return count / max(sum(s.bars for s in inside), 1)


def test_harmony_stays_within_one_scale_of_seven_notes() -> None:
    for song in songs(20):
        notes = [note.pitch % 12 for part in ("comping", "arpeggio", "pad", "voice") for note in song.parts[part]]
        assert len(set(notes)) <= 7


def test_keys_are_no_habit_of_an_artist() -> None:
    """The bass's commonest note of songs by one artist, who always opens on the same degrees, goes round the octave."""
    artist = draw_artist(np.random.default_rng(5), 3.0)
    lowest = set()
    for seed in range(40):
        pitches = [note.pitch % 12 for note in compose(artist, np.random.default_rng(seed), 10.0).parts["bass"]]
        lowest |= {max(set(pitches), key=pitches.count)} if pitches else set()
    assert len(lowest) >= 10


def test_no_two_songs_share_a_bar() -> None:
    seen: dict[tuple[Note, ...], int] = {}
    artist = draw_artist(np.random.default_rng(0), 1.0)
    for i in range(10):
        song = compose(artist, np.random.default_rng(i), 30.0)
        bar = 240.0 / song.tempo
        for number in range(int(30.0 / bar)):
            notes = tuple(
                note._replace(start=round(note.start - number * bar, 2), velocity=0.0)
                for part in song.parts.values()
                for note in part
                if number * bar <= note.start < (number + 1) * bar
            )
            assert seen.setdefault(notes, i) == i


def test_verses_share_their_chords() -> None:
    """Two verses of a song, 4 bars each: the same pitches in the same order."""
    compared = 0
    for song in songs(40, 60.0):
        bar = 240.0 / song.tempo
        verses = [s for s in song.sections if s.letter == "V" and s.bars == song.sections[1].bars]
        chords = [
            [n.pitch for n in song.parts["comping"] if s.bar * bar - 0.05 <= n.start < (s.bar + s.bars) * bar - 0.05]
            for s in verses
        ]
        if len(chords) > 1 and all(chords):
            compared += 1
            shortest = min(map(len, chords[:2]))
            assert len(set(map(tuple, ({*c[:shortest]} for c in chords[:2])))) == 1
    assert compared > 10


def test_swing_delays_the_off_beat() -> None:
    artist = draw_artist(np.random.default_rng(0), 0.0)
    song = compose(replace(artist, centre=_swung(artist.centre)), np.random.default_rng(3), 30.0)
    beats = np.array([n.start * song.tempo / 60.0 % 1.0 for n in song.parts["drums"] if n.pitch == Drum.HAT])
    assert np.sum(np.abs(beats - 0.64) < 0.005) > 10
    assert not np.any(np.abs(beats - 0.5) < 0.1)


def _swung(centre: np.ndarray) -> np.ndarray:
    """Full swing (second trait), no looseness (third)."""
    return np.concatenate((centre[:1], (9.0, -9.0), centre[3:]))
