"""The command line: parse, call, print. A file for each family of commands; `app` joins them.

Standard output is the result, standard error the talk. Exit status: 0, 1 (failed), 2 (wrong usage), or
130 after Ctrl-C.
"""

import os
import sys
from collections.abc import Sequence

from juanji import messages

messages.use(messages.choose(sys.argv[1:], os.environ))  # before any command is loaded: that fixes its help texts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    from juanji.cli import app

    return app.run(sys.argv[1:] if arguments is None else arguments)
