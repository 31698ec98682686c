"""Each format of records, byte for byte; the verbs' own tests have their answers."""

from __future__ import annotations

import io
import json

import pytest

from artistid.errors import ArtistidError
from artistid.inference.identification import Candidate, Identification, Segment
from artistid.inference.layouts import identification_layout
from artistid.records import RecordWriter

SONG = Identification(
    name="a/Ö.mp3",
    duration_s=75.4,
    artist="Ö",
    score=0.75,
    threshold=None,
    vote="majority",
    top=(Candidate(1, "Ö", 0.75, 1.0), Candidate(2, "P", 0.25, 0.0)),
    timeline=(Segment(0.0, 75.4, "Ö", 0.75),),
    warnings=("odd",),
)


def written(format_: str, n_songs: int, *, single: bool = False, timeline: bool = True) -> str:
    stream = io.StringIO()
    writer = RecordWriter(format_, identification_layout(timeline), stream, single)
    for _ in range(n_songs):
        writer.write(SONG)
    writer.close()
    return stream.getvalue()


@pytest.mark.parametrize("n_songs", [0, 1, 2])
def test_json_is_one_array_and_in_ascii(n_songs: int) -> None:
    text = written("json", n_songs)
    assert [each["artist"] for each in json.loads(text)] == ["Ö"] * n_songs
    assert text.isascii()


def test_a_single_record_is_an_object() -> None:
    assert json.loads(written("json", 1, single=True))["duration_s"] == 75.4


def test_json_lines_are_complete_one_by_one() -> None:
    assert [json.loads(line)["name"] for line in written("jsonl", 2).splitlines()] == ["a/Ö.mp3"] * 2


def test_csv_has_a_row_per_artist() -> None:
    header, first, second = written("csv", 1).splitlines()
    assert header == (
        "name,duration_s,artist,score,threshold,vote,warnings,top.rank,top.artist,top.probability,top.share"
    )
    assert first == "a/Ö.mp3,75.4,Ö,0.75,,majority,odd,1,Ö,0.75,1.0"
    assert second == "a/Ö.mp3,75.4,Ö,0.75,,majority,odd,2,P,0.25,0.0"


def test_a_table_has_the_timeline_unless_it_is_not_wanted() -> None:
    with_timeline, without = written("table", 1), written("table", 1, timeline=False)
    assert "a/Ö.mp3  1:15" in with_timeline
    assert "0:00–1:15  Ö 0.75" in with_timeline
    assert "0:00–1:15" not in without
    assert "warning: odd" in without


def test_an_unknown_format() -> None:
    with pytest.raises(ArtistidError, match=r"format=xml: expected one of table, json"):
        written("xml", 0)
