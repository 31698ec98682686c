"""From run folders to a report: the paper's tables beside the published figures, comparisons and figures.

``published`` holds the paper's figures, ``tables`` and ``figures`` are made from studies of runs, ``sections`` arranges
them, ``findings`` summarises them in words, and ``document`` writes Markdown, CSV, ``latex`` and one HTML page.
``spectrograms`` and ``maps`` show a network's inputs and the embeddings of these (``projection``).
"""
