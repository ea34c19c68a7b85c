"""Server programs: how each shows its tokens, prompts and settings, one program a file.

Each has an `ORDER` and a `DIALECT` (`tunegate.harness.models.servers.dialect`).
"""
