"""``python -m benchmarks``: the headline figures."""

from benchmarks.run import main

if __name__ == "__main__":
    main()
