"""From run folders to a report: the paper's tables beside the published figures, comparisons and figures.

``results`` collects the runs, ``published`` holds the paper's figures, ``tables`` and ``figures`` make of them what
``sections`` puts in order, and ``page`` writes it as Markdown, CSV and one HTML page. ``spectrograms`` and ``maps``
show a network's inputs and the embeddings it makes of them (``projection``).
"""
