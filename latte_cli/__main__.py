"""`python -m latte_cli` is `latte`, so that torchrun can start it."""

from latte_cli.cli import main

if __name__ == "__main__":
    main()
