"""Reports of a run for people and CI: one HTML page, a Markdown summary, JUnit XML.

Everything here works from a stored `tunegate.harness.records.run_folder.Run` alone: no model, no
clock, so the same run folder gives the same bytes each time. Every text in a run is untrusted (a
model wrote it) and reaches a reader only through `tunegate.reports.escaping`.

Example:
    from tunegate.reports.page import write_all
    write_all(Run.load(folder), folder)
"""
