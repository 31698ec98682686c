"""What the page says of its network before it has heard anything."""

from __future__ import annotations

from typing import Any

from artistid import __version__
from artistid.evaluation.figures import PALETTE
from artistid.printing import printable
from artistid.reporting.maps import SHAPES
from artistid.web.service import SongService


def page_facts(service: SongService, max_upload_mb: float) -> dict[str, Any]:
    """What ``page.html.jinja`` shows; of where the music lies, nothing."""
    identifier, specification = service.identifier, service.identifier.specification
    open_set = specification.open_set_threshold()
    return {
        "artists": sorted(map(printable, identifier.artists), key=str.casefold),
        "network": str(specification.network["_target_"]).rsplit(".", 1)[-1],
        "data": printable(specification.data.get("name", "unnamed")),
        "n_recordings": len(specification.recordings),
        "split": specification.split["rule"],
        "clip_seconds": f"{identifier.clip_seconds:.3g}",
        "max_khz": f"{identifier.features.f_max / 1000:.3g}",
        "threshold": None if open_set is None else f"{open_set.threshold:.2f}",
        "max_upload_mb": f"{max_upload_mb:g}",
        "max_minutes": f"{service.max_minutes:g}",
        "n_compared": None if service.neighbourhood is None else len(service.neighbourhood.collection),
        "palette": PALETTE[:-1],  # its last, black, is that of the text
        "symbols": [symbol for _, symbol, _ in SHAPES],
        "version": __version__,
    }
