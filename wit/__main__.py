"""`python -m wit`: the same as `wit`."""

from wit.cli import main

if __name__ == "__main__":
    main()
