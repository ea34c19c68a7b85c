"""The bundled suites: data next to this file, read by path."""
