"""Kinds of gates, one per file: a module holds an instance of `GateKind` under its own name."""
