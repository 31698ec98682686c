"""From audio files to clips: catalogs, sources, splits, features and their store."""
