"""The harness: twenty rooms, each a folder.

Users import `tunegate`; `docs/contributing/architecture.md` is the map of the rooms.
"""
