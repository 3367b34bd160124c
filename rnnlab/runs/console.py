"""What the programs have in common: an error is one line and exit status 2, and whoever reads along may go away."""

from __future__ import annotations

import errno
import functools
import os
import re
import sys
from collections.abc import Callable

from absl.flags import Error, FlagValues, UnrecognizedFlagError
from rich.console import Console

from rnnlab.settings.errors import SettingError, nearest
from rnnlab.settings.experiments import own_error


class Screen(Console):
    """A console whose reader may go away (`| head`): the program goes on without it."""

    def say(self, text: str) -> None:
        """Prints the text as it is written."""
        self.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(main: Callable[[list[str]], None], hint: str = "", usage: str = "") -> Callable[[list[str]], int]:
    """A program's `main` with its exit status: 0, or 2 after an error that is said in one line.

    `hint` stands behind what the system refused; `usage`, where there is one, is what --help says.
    """

    @functools.wraps(main)
    def program(argv: list[str]) -> int:
        if usage and {"--help", "-h"} & set(argv[1:]):
            Screen().say(usage)
            return 0
        try:
            main(argv)
        except Exception as error:
            said = own_error(error) or (_refused(error) + hint if isinstance(error, OSError) else None)
            if said is None:
                raise
        else:
            return 0
        print(f"rnnlab: {said}", file=sys.stderr)
        return 2

    return program


def parsed(known: FlagValues, argv: list[str], usage: str, count: int | None = 1) -> list[str]:
    """The `count` words (None: one or more) of a command line besides its flags, which are set. Raises SettingError."""
    try:
        words = known(argv)[1:]
    except UnrecognizedFlagError as error:
        flag = error.flagname
        near = nearest(f"--{flag}", [f"--{name}" for name in known if not name.startswith("?")])
        raise SettingError(f"--{flag}: no such flag{near}") from error
    except Error as error:
        told = str(error).splitlines()[0]
        raise SettingError(re.sub(r"invalid literal for int\(\).*", "must be a whole number", told)) from error
    if len(words) != count if count else not words:
        raise SettingError(usage)
    return words


def _refused(error: OSError) -> str:
    """What the system refused, and of which file."""
    where = f"{error.filename}: " if error.filename else ""
    own = " ".join(str(error).split()) if not error.errno else ""  # what a library says in words of its own
    return where + (error.strerror or own or os.strerror(error.errno or errno.EIO))
