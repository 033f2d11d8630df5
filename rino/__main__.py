"""`python -m rino`: the same as the `rino` script."""

from rino.cli import main

if __name__ == "__main__":
    main()
