"""Podman: a container a program, for machines without bubblewrap."""

from tunegate.harness.sandbox._container import Container

SANDBOX = Container("podman")
