"""``python -m moorage``: the same as the command ``moorage``."""

from moorage.cli.main import main

if __name__ == "__main__":
    main()
