"""From run folders to the paper's tables, comparisons and figures: ``python -m artistid.report runs=PATH``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("report")

from omegaconf import DictConfig

from artistid.errors import counted
from artistid.learning.dashboards import log_tables
from artistid.learning.loggers import check_loggers, open_loggers
from artistid.printing import say
from artistid.reporting.document import ReportContext, begin_folder, tables_in, write_report
from artistid.reporting.sections import report_sections
from artistid.runs.studies import collect
from artistid.trust import trusted


def report(config: DictConfig) -> None:
    """Read the runs, and write a page of their tables, comparisons and figures.

    Raises:
        ArtistidError: bad settings, or no finished run.
    """
    check_loggers(config)
    out = begin_folder(config.out)
    results = collect([config.runs] if isinstance(config.runs, str) else config.runs, trusted(config))
    sections = report_sections(ReportContext(results, out, config))
    page = write_report(sections, out)
    with open_loggers(config) as loggers:
        log_tables(loggers, {f"report/{table.name}": table.data for table in tables_in(sections)})
    say(f"{counted(len(results.runs), 'run')}, {counted(len(results.left_out), 'folder')} left out: {page}")
