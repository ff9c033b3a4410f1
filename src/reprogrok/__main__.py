"""`python -m reprogrok` is the same program as the console script."""

from reprogrok.cli.main import main

main()
