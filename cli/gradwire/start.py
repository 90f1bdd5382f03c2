"""Where the program begins: Ctrl-C has its effect before the rest has been imported."""

from typing import NoReturn

from gradwire.ending import end_at_once


def main() -> NoReturn:
    """Run the command line and exit; as `gradwire.main.main`."""
    end_at_once()
    from gradwire.main import main as run

    run()
