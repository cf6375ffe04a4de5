"""`python -m shattering`, and the script `shattering`."""

import sys


def main() -> int:
    """Run the command line; see `shattering.cli.main`."""
    try:
        from shattering import cli

        return cli.main()
    except KeyboardInterrupt:  # before the command began to listen
        print("shattering: interrupted; the same command resumes", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
