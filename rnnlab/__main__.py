"""The command `rnnlab`: `rnnlab run --exp=long_memory` is `python -m rnnlab.run --exp=long_memory`."""

from __future__ import annotations

import difflib
import importlib
import os
import sys

COMMANDS = {
    "run": "runs an experiment: rnnlab run --exp=long_memory [--help]",
    "list": "lists the experiments with their questions",
    "cells": "lists the cells: equation's source, parameters, gates",
    "tasks": "lists the tasks: needed lag, chance, stop rule",
    "compare": "tells what differs between two runs: rnnlab compare RUN_A RUN_B",
    "forecast": "goes on from a series' end with a run's network: rnnlab forecast RUN --steps=48",
    "generate": 'writes text as a trained network does: rnnlab generate RUN --prompt="The gate"',
    "postmortem": "replays the update at which a trial diverged: rnnlab postmortem RUN",
    "publish": "keeps a run's result small enough for a repository: rnnlab publish RUN NAME",
    "transcribe": "says what was said in recordings: rnnlab transcribe RUN file.wav",
    "translate": 'translates a sentence by a trained network: rnnlab translate RUN "ninety-nine"',
}


def main() -> None:
    """The command that the first word names, with the rest of the words."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h", "help"):
        try:
            print("\n".join(f"rnnlab {command}: {says}" for command, says in COMMANDS.items()), flush=True)
        except BrokenPipeError:  # whoever read along went away
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
        hint = f"the nearest is {near[0]}" if near else f"there is {', '.join(COMMANDS)}"
        print(f"rnnlab: {name}: no such command; {hint}", file=sys.stderr)
        sys.exit(2)
    lists = name in ("list", "cells", "tasks")
    program = "run" if lists else name
    sys.argv = [f"rnnlab.{program}", *[f"--{name}"] * lists, *sys.argv[2:]]
    importlib.import_module(f"rnnlab.{program}").program()


if __name__ == "__main__":
    main()
