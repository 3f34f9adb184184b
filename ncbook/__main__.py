"""``python -m ncbook``: the book's machinery at the command line."""

from ncbook.cli import main

if __name__ == "__main__":
    main()
