"""Gates: rules on a delta, each decided on its own, with error control over the run."""
