"""Judging: asking judge models, reading their replies strictly, juries, and calibration.

The contracts are `tunegate.harness.contracts.judge` (what is asked) and
`tunegate.harness.records.judgements` (what is recorded).

Calibrating judges: their verdicts on answers that people labelled, and on known bad ones. The
records are `tunegate.harness.records.calibration` and `tunegate.harness.records.labels`; what they
entitle to is the verdict's affair. Here the judge is asked, counted, and put to the test.
"""
