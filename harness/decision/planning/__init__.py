"""Power analysis: what a suite can prove, before a token is spent."""
