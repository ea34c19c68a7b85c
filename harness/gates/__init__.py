"""Kinds of gates, one a file: a module holds an instance of `GateKind` under its own name."""
