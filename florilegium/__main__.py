"""`python -m florilegium` and the installed command `florilegium`: the command line of cli.py."""

from cli import main

if __name__ == "__main__":
    main()
