"""Readers of other tools' results, one format a file; contract: `harness/result_reader.py`."""
