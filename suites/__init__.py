"""The bundled suites: data beside this file, read by path."""
