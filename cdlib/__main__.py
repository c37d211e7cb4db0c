"""`python -m cdlib` is `cdlib`."""

from cdlib.cli import main

if __name__ == "__main__":
    main()
