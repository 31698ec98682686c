"""From run folders to the paper's tables, comparisons and figures: ``python -m artistid.report runs=PATH``."""

from __future__ import annotations

from omegaconf import DictConfig

from artistid.config import verb


@verb("report", kept="the runs are as they were, and the report is unfinished")
def main(config: DictConfig) -> None:
    from artistid.printing import say
    from artistid.reporting.document import ReportContext  # here, so that --help need not wait
    from artistid.reporting.page import begin_folder, write_report
    from artistid.reporting.results import collect
    from artistid.reporting.sections import report_sections

    out = begin_folder(config.out)
    results = collect([config.runs] if isinstance(config.runs, str) else config.runs)
    sections = report_sections(ReportContext(results, out, config))
    page = write_report(sections, out)
    say(f"{len(results.runs)} runs, {len(results.left_out)} folders left out: {page}")


if __name__ == "__main__":
    main()
