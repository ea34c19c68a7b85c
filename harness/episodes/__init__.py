"""Episodes: completions of several turns, in which a model calls the tools of an environment."""
