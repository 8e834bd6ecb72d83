"""`python -m trunkline_server` is the `trunkline` command."""

from trunkline_server.cli.main import main

if __name__ == "__main__":
    main()
