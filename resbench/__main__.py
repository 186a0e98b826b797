"""``python -m resbench``."""

from resbench.cli import main

if __name__ == "__main__":
    main()
