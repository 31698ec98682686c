"""JSON Schemas of the files that other programs read and write; of a table's file, each describes one row."""
