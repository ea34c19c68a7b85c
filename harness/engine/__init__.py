"""The paired engine: one plan for all suites and arms, one store, nothing computed twice."""
