"""What people and CI read of a run: one HTML page, a Markdown summary, JUnit XML.

Everything here works from a stored `harness.run.Run` alone: no model, no clock, so the same run
folder gives the same bytes each time. Every text in a run is untrusted (a model wrote it) and
reaches a reader only through `reports.escapes`.

Example:
    from reports.bundle import write_all
    write_all(Run.load(folder), folder)
"""
