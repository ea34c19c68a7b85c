"""`python -m tunegate.harness.cli` is `tunegate`, for machines where the script is not on the
PATH.
"""

from tunegate.harness.cli import main

main()
