"""The harness: contracts at the top, one noun a file; rooms below, each a folder.

Users import `tunegate`; `docs/contributing/architecture.md` is the map of the rooms.
"""
