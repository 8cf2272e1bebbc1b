"""`python -m headstart`: the same as the command `headstart`."""

from headstart.cli.app import main

main()
