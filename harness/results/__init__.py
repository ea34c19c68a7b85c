"""Readers of other tools' results, one format a file; contract:
`harness/contracts/result_reader.py`.
"""
