"""`python -m harness.cli` is `tunegate`, for machines where the script is not on the PATH."""

from harness.cli import main

main()
