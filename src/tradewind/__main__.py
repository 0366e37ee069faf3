"""``python -m tradewind``: the command line."""

from tradewind.cli import main

if __name__ == "__main__":
    main()
