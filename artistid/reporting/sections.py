"""The report's sections, in order. A new section is a new function in ``SECTIONS``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from artistid.data.splits import PROTOCOLS
from artistid.errors import ArtistidError, counted
from artistid.evaluation.calibration import BINS
from artistid.evaluation.score_table import UNITS
from artistid.reporting import figures, published, tables
from artistid.reporting.document import Picture, ReportContext, Section
from artistid.reporting.findings import findings, pair_in_words
from artistid.reporting.maps import make_map, map_page, read_genres
from artistid.reporting.spectrograms import write_spectrograms
from artistid.reporting.strengths import strengths
from artistid.reporting.unseen import unseen_artists
from artistid.runs.studies import SPLITS, Run, Study, differing_settings
from artistid.runs.titles import data_title

CHOSEN_PAIRS = "chosen pairs"


def report_sections(context: ReportContext) -> list[Section]:
    """All sections of the report; their figures are drawn meanwhile.

    Raises:
        ArtistidError: an invalid setting.
    """
    check_settings(context)
    return [section for make in SECTIONS for section in make(context)]


def check_settings(context: ReportContext) -> None:
    """Raises ArtistidError for invalid settings, before any work."""
    for name, lowest in (("draws", 1), ("seed", 0)):
        value = context.config[name]
        if not isinstance(value, int) or value < lowest:
            raise ArtistidError(f"{name}={value}: expected a whole number from {lowest}")
    tables.chosen_pairs(context.results, context.config.compare or ())
    if context.config.maps:
        _mapped(context)
    if context.config.genres:
        read_genres(context.config.genres)


def found(context: ReportContext) -> Iterator[Section]:
    """A paragraph for each data set, summarising the numbers below."""
    draws, seed = context.config.draws, context.config.seed
    compared = _compared(context)
    paragraphs = [
        f"{title[0].upper()}{title[1:]}. {findings(group, compared.get(data), draws, seed)}"
        for data, group in _by_data(context)
        for title in (data_title(data),)
    ]
    if CHOSEN_PAIRS in compared:
        rows = [row for row in compared[CHOSEN_PAIRS].rows if not math.isnan(row["difference"])]
        paragraphs.append(" ".join(map(pair_in_words, rows)))
    yield Section("Findings", paragraphs)


def summary(context: ReportContext) -> Iterator[Section]:
    """What the report contains, and how much of the paper's study."""
    results = context.results
    n_left_out = len(results.left_out)
    n_cells = len(published.CLIPS) * len(SPLITS) * len(published.TABLES)
    others = f"; {counted(n_left_out, 'more run folder')} {'is' if n_left_out == 1 else 'are'} listed under “Left out”"
    blocks = [
        f"{counted(len(results.runs), 'finished run')}{others if n_left_out else ''}.",
        f"{published.PAPER} mention twenty conditions in the text; their Tables IV and V have {n_cells}: 2 levels × "
        f"{len(SPLITS)} splits × {len(published.CLIPS)} clip lengths, from 12 trainings × {len(published.SEEDS)} "
        f"trials = 36 runs. All {n_cells} are shown here; {tables.DASH} marks those without runs.",
        *(_coverage(study) for study in results.studies if not study.is_baseline),
    ]
    yield Section("Summary", blocks)


def _coverage(study: Study) -> str:
    """How many of the paper's trainings a study has."""
    wanted = [(split, seconds) for split in SPLITS for seconds in published.CLIPS]
    trials = [len(study.cell(*cell)) for cell in wanted]
    full = sum(n >= len(published.SEEDS) for n in trials)
    some = sum(0 < n < len(published.SEEDS) for n in trials)
    n_runs = sum(len(run.members) for run in study.runs)
    return (
        f"{study.title}: {counted(n_runs, 'run')}. Of the paper's {len(wanted)} trainings (split and clip length, with "
        f"two cells each), {full} have {len(published.SEEDS)} trials or more, {some} have fewer, "
        f"{len(wanted) - full - some} have none."
    )


def studies(context: ReportContext) -> Iterator[Section]:
    """For each network on each data set: the paper's tables, figures over clip lengths, and each condition."""
    draws, seed = context.config.draws, context.config.seed
    for study in context.results.studies:
        if study.is_baseline:
            continue
        folder = context.figures / tables.slug(study.name)
        blocks: list[str] = []
        if names := differing_settings(study.runs):
            blocks.append(f"These runs also differ in further settings: {', '.join(names)}.")
        scores = [
            Section(f"{name}: {level} level", [tables.score_table(study, level, draws, seed)])
            for level, name in published.TABLES.items()
        ]
        subsections = [*scores, _by_clip(study, folder), *_producer_effect(study, folder, draws, seed)]
        subsections += [*_per_artist(study, folder), *_conditions(study, folder)]
        yield Section(study.title, blocks, subsections)


def _by_clip(study: Study, folder: Path) -> Section:
    path = folder / "f1_by_clip.png"
    figures.f1_by_clip(study, path)
    caption = (
        f"Weighted F1 against clip length for {study.title}, test: mean over trials, bars one standard deviation. "
        f"Dashed, with hollow markers: published averages on {published.DATA}."
    )
    return Section("F1 against clip length", [Picture(path, caption, study.runs)])


def _producer_effect(study: Study, folder: Path, draws: int, seed: int) -> Iterator[Section]:
    effect = tables.producer_effect(study, draws, seed)
    if effect.empty:
        return
    table = tables.producer_table(study, effect)
    path = folder / "producer_effect.png"
    figures.producer_effect(study, effect, path)
    caption = (
        f"The producer effect for {study.title}: how much higher scores are on the song split, where other songs of "
        "the tested albums were trained on. Means over trials; bars are 95 % intervals over songs. Dashed, with hollow "
        f"markers: published averages on {published.DATA}."
    )
    yield Section("The producer effect", [Picture(path, caption, table.runs), table])


def _per_artist(study: Study, folder: Path) -> Iterator[Section]:
    pictures = []
    for split in study.splits:
        runs = [run for (of_split, _), cell in study.cells.items() if of_split == split for run in cell]
        for number, group in enumerate(_of_same_artists(runs)):
            path = folder / f"f1_per_artist-{split}{_suffix(number)}.png"
            cells = {seconds: list(cell) for seconds, cell in groupby(group, key=lambda run: run.clip_seconds)}
            figures.f1_per_artist(cells, group[0].votes.artists, path)
            caption = (
                f"F1 of each artist for {study.title}, {split} split, test: clips or songs of all trials pooled, in "
                "order of the F1 at song level."
            )
            pictures.append(Picture(path, caption, group))
    yield Section("Artists", pictures)


def _conditions(study: Study, folder: Path) -> Iterator[Section]:
    """Learning curves and confusion matrices of each split and clip length."""
    for (split, seconds), runs in study.cells.items():
        name = f"{split} split, {seconds:g} s"
        blocks: list[str | Picture] = []
        curves = folder / f"learning_curves-{split}-{seconds:g}s.png"
        members = [member for run in runs for member in run.members]
        drawn = figures.learning_curves(members, curves)
        if drawn:
            caption = (
                f"Learning curves of {study.title}, {name}; large hollow markers: each run's lowest validation loss."
            )
            blocks.append(Picture(curves, caption, drawn))
        if bare := [str(run.number) for run in members if run not in drawn]:
            blocks.append(f"No learning curves of {_run_numbers(bare)}: no validation loss by epoch was logged.")
        for level in published.TABLES:
            for number, group in enumerate(_of_same_artists(runs)):
                path = folder / f"confusion_{level}-{split}-{seconds:g}s{_suffix(number)}.png"
                n = sum(run.test(level)["n"] for run in group)
                title = f"{name}, {level} level: {counted(len(group), 'trial')}, n = {n:,}"
                figures.confusion_over_trials(group, level, title, path)
                caption = f"Confusion matrix: {study.title}, {name}, {level} level, test, summed over trials."
                blocks.append(Picture(path, caption, group))
        yield Section(name[0].upper() + name[1:], blocks)


def _of_same_artists(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs grouped by their artists, within which they may be summed."""
    groups: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.votes.artists].append(run)
    return list(groups.values())


def _suffix(number: int) -> str:
    return f"-{number + 1}" if number else ""


def _by_data(context: ReportContext) -> Iterator[tuple[str, list[Study]]]:
    for data, of_data in groupby(context.results.studies, key=lambda study: study.data):
        yield data, list(of_data)


def systems(context: ReportContext) -> Iterator[Section]:
    """Table III as published, and as measured on each data set."""
    blocks: list[str | tables.Table | Picture] = [tables.published_systems_table()]
    for data, group in _by_data(context):
        scores = tables.system_scores(group)
        table = tables.system_table(data, group, scores)
        blocks.append(table)
        if len(group) > 1:
            path = context.figures / tables.slug(data) / "systems.png"
            figures.systems(scores, path)
            caption = (
                f"Comparison of systems on {data_title(data)}: weighted F1, test; mean over trials, bars one standard "
                "deviation. The confusion matrices of each run are in its folder."
            )
            blocks.append(Picture(path, caption, table.runs))
    yield Section("Table III: systems", blocks)


def calibration(context: ReportContext) -> Iterator[Section]:
    """Calibration of the systems' probabilities."""
    blocks: list[str | tables.Table | Picture] = [
        "Calibration error: the mean absolute difference between confidence, the probability of the predicted artist, "
        f"and accuracy, in {BINS} bins of confidence weighted by samples. With few samples it is above 0 by chance. "
        "Baselines and back ends have a temperature set by validation; networks have one with temperature=validation."
    ]
    for data, group in _by_data(context):
        systems = tables.calibration_of(group)
        table = tables.calibration_table(data, systems)
        path = context.figures / tables.slug(data) / "reliability.png"
        figures.reliability(systems, path)
        caption = (
            f"Reliability on {data_title(data)}: accuracy against confidence, test, all trials pooled; below the "
            "diagonal a system is overconfident. Large markers stand for many clips or songs."
        )
        blocks += [table, Picture(path, caption, table.runs)]
    yield Section("Calibration", blocks)


def comparisons(context: ReportContext) -> Iterator[Section]:
    """Systems tested on the same songs."""
    how = (
        "Difference of weighted F1 at song level, mean over trials, with a 95 % bootstrap interval, redrawing songs "
        "within each trial, the same for both systems; and McNemar's exact test on the songs of all trials that only "
        "one system classifies correctly. A song in several trials counts in each, so p is somewhat too small where "
        "test songs overlap. Holm's p is adjusted for all comparisons of a table."
    )
    if not context.config.compare:
        how += (
            " Every condition is compared with that of the highest mean F1 on its split, in the trials that both "
            "have. The latter was selected by these same scores, which favours it."
        )
    if compared := _compared(context):
        yield Section("Paired comparisons", [how, *compared.values()])


@lru_cache(maxsize=1)
def _compared(context: ReportContext) -> dict[str, tables.Table]:
    """Paired comparisons by data set, or under ``chosen pairs``; cached, since the findings use them as well."""
    draws, seed = context.config.draws, context.config.seed
    if context.config.compare:
        by_title = {CHOSEN_PAIRS: tables.chosen_pairs(context.results, context.config.compare)}
    else:
        by_title = {data: tables.pairs_with_the_best(group) for data, group in _by_data(context)}
    return {title: tables.comparison_table(title, pairs, draws, seed) for title, pairs in by_title.items() if pairs}


def method(context: ReportContext) -> Iterator[Section]:
    """What the numbers mean."""
    yield Section(
        "How to read this",
        [
            "Weighted F1: the artists' F1, weighted by how many samples each has. Frame level: every clip is a sample. "
            "Song level: the clips of a song vote. Song split: other songs of the tested albums were trained on. Album "
            "split: the tested albums are new.",
            *_protocols(context),
            "Average, best and sample standard deviation are over trials, which differ in the seed of the split and of "
            "the initialisation. The best of several trials increases with their number.",
            f"The 95 % intervals are of the mean over trials ({counted(context.config.draws, 'bootstrap draw')}, seed "
            f"{context.config.seed}): songs are redrawn within each trial, with all their clips, and the interval is "
            "Wilson's for the effective number of independent songs. They cover the choice of test songs, not the "
            "spread between trainings.",
            f"The published figures are computed from the single trials that the paper's authors released; "
            f"{tables.MISPRINT_MARK.strip()} marks where the printed tables differ from them.",
        ],
    )


def _protocols(context: ReportContext) -> Iterator[str]:
    """The protocols of the splits, if there are others than the paper's."""
    names = sorted({run.condition["split"] for run in context.results.runs})
    if set(names) - set(SPLITS):
        words = "; ".join(f"{name}: {PROTOCOLS[name].words}" for name in names if name in PROTOCOLS)
        yield f"Scores of different protocols are not comparable. {words}."


def left_out(context: ReportContext) -> Iterator[Section]:
    """Run folders that are not in the tables."""
    if folders := context.results.left_out:
        yield Section("Left out", [tables.left_out_table(folders)])


def runs(context: ReportContext) -> Iterator[Section]:
    """The list of runs that everything else refers to."""
    yield Section("Runs", [*_threads(context), tables.run_table(context.results.runs)])


def _threads(context: ReportContext) -> Iterator[str]:
    """A note on each condition whose runs were trained on different numbers of threads."""
    for study in context.results.studies:
        for (split, seconds), trials in study.cells.items():
            by_threads: dict[int, list[str]] = defaultdict(list)
            for member in (member for run in trials for member in run.members):
                if member.threads:
                    by_threads[member.threads].append(str(member.number))
            if len(by_threads) > 1:
                by_count = "; ".join(f"{n}: {_run_numbers(numbers)}" for n, numbers in sorted(by_threads.items()))
                yield (
                    f"{study.title}, {split} split, {tables.clip_length(seconds)}: trained on different numbers of "
                    f"threads ({by_count}), so that rounding differs, and with it the result of a seed."
                )


def _run_numbers(numbers: Sequence[str]) -> str:
    return f"{'run' if len(numbers) == 1 else 'runs'} {', '.join(numbers)}"


def spectrograms(context: ReportContext) -> Iterator[Section]:
    """Fig. 1 of each data set."""
    blocks: list[str | Picture] = []
    for data, of_data in _by_data(context):
        run = next((study.runs[0] for study in of_data if not study.is_baseline), None)
        if run is None:
            blocks.append(f"No spectrograms of {data_title(data)}: no network was trained on it.")
            continue
        path = context.figures / tables.slug(data) / "spectrograms.png"
        try:
            write_spectrograms(run.folder.path, path, context.config.seed, **context.opening)
        except ArtistidError as error:
            blocks.append(f"No spectrograms of {data_title(data)}: {error}")
        else:
            caption = (
                f"Three seconds by each artist of {data_title(data)}, log-mel; songs and places drawn at random "
                "(paper, Fig. 1)."
            )
            blocks.append(Picture(path, caption, [run]))
    yield Section("What the artists sound like to a network", blocks)


def maps(context: ReportContext) -> Iterator[Section]:
    """Fig. 3 of the runs that ``maps`` names."""
    if not context.config.maps:
        return
    genres = read_genres(context.config.genres) if context.config.genres else None
    blocks: list[str | Picture] = []
    systems = {run: study.system for study in context.results.studies for each in study.runs for run in each.members}
    albums: list[tables.AlbumsRead] = []
    for run in _mapped(context):
        try:
            drawn = make_map(run.folder.path, context.config.seed, genres=genres, **context.opening)
        except ArtistidError as error:
            blocks.append(f"No map of run {run.number}: {error}")
            continue
        clusters = "; ".join(f"{UNITS[level]}: {scores['artist']}" for level, scores in drawn.scores.items())
        caption = (
            f"Map by {run.condition['model']} of the test clips of {data_title(run.condition['data'])}, "
            f"{run.condition['split']} split, {tables.clip_length(run.clip_seconds)}, and of their averages per song: "
            f"t-SNE of its bottleneck (paper, Fig. 3). Clustering of the vectors themselves by artist: {clusters}."
        )
        png = drawn.write(context.figures / f"map-run{run.number}")
        blocks.append(Picture(png, caption, [run], interactive=map_page(drawn, context.page)))
        if drawn.albums:
            albums.append(tables.AlbumsRead(systems[run], run, drawn.albums))
    yield Section("Maps", blocks)
    if albums:
        yield Section("Albums in the embedding", list(_albums(context, albums)))


def _albums(context: ReportContext, found: Sequence[tables.AlbumsRead]) -> Iterator[str | tables.Table | Picture]:
    """For mapped runs, how well artists are classified, and the albums of one artist."""
    yield (
        "A linear probe (LDA) classifies the album of a clip, among its artist's albums, from the network's vector: on "
        "songs of validation and test, fitted to other songs of these. It can use whatever an album's songs share and "
        "the artist's other albums lack, such as the production. For a network that represents artists rather than "
        "productions, its score is low."
    )
    for data, of_data in groupby(found, key=lambda each: each.run.condition["data"]):
        group = list(of_data)
        table = tables.album_table(data, group)
        path = context.figures / tables.slug(data) / "albums.png"
        figures.albums(group, path)
        yield Picture(path, table.caption, table.runs)
        yield table


def _mapped(context: ReportContext) -> list[Run]:
    """The runs that ``maps`` names; ``best``: for each study and split, the best in validation at song level."""
    chosen = context.config.maps
    if chosen != "best":
        return [context.results.find(path, "maps") for path in ([chosen] if isinstance(chosen, str) else chosen)]
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for study in context.results.studies:
        for run in () if study.is_baseline else study.runs:
            groups[study.title, run.condition["split"]] += run.members
    return [max(group, key=lambda run: run.scores["val"]["song"]["f1_weighted"]) for group in groups.values()]


SECTIONS: Sequence[Callable[[ReportContext], Iterable[Section]]] = (
    found,
    summary,
    studies,
    systems,
    strengths,
    comparisons,
    calibration,
    unseen_artists,
    spectrograms,
    maps,
    method,
    left_out,
    runs,
)
