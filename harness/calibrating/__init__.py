"""Calibrating judges: what they say of answers that people labelled, and of known bad ones.

The records are `harness.labels` and `harness.calibration`; what they entitle to is the verdict's
affair. Here the judge is asked, counted, and put to the test.
"""
