"""``python -m onset``: the commands, for a Python whose scripts are not on the PATH."""

from onset.cli import main

if __name__ == "__main__":
    main()
