"""The command line as `python -m attnprof`."""

from attnprof.cli import app

if __name__ == "__main__":
    app(prog_name="attnprof")
