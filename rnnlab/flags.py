"""The flags of `python -m rnnlab.run`, and its --help."""

from __future__ import annotations

import difflib
import functools
import sys

from absl import flags

from rnnlab.clusters import engines
from rnnlab.reports.arm_columns import COLUMNS
from rnnlab.runs.console import Screen, one_line
from rnnlab.settings import resolve
from rnnlab.settings.experiments import load_experiment
from rnnlab.training import layout

FLAGS = flags.FlagValues()  # its own: a program that calls `rnnlab.run` may have a flag of the same name
_string, _enum, _integer, _list, _bool = (
    functools.partial(define, flag_values=FLAGS)
    for define in (
        flags.DEFINE_string, flags.DEFINE_enum, flags.DEFINE_integer, flags.DEFINE_list, flags.DEFINE_bool
    )
)  # fmt: skip
_string("exp", None, "the experiment: a file experiments/NAME.py here or shipped (see --list)")
_string("tier", "quick", "smoke (a minute or two), quick (minutes) or paper (days or weeks, predicted first)")
_string("workdir", None, "the run's folder; left out, runs/EXP-TIER here (and -ARMS). The same command resumes it")
_string("arms", None, "only the arms whose name matches this shell pattern, as in '*/LSTM*'")
_string("sweep", None, "arms in place of the experiment's own, as in 'cell=LSTM,GRU task.length=100,500 seed=0:10'")
_string("shard", "1/1", "i/n: the i-th of n parts of the trials; all parts share one --workdir")
_enum("layout", "auto", layout.KINDS, "how trials that share a program lie on the devices")
_enum("engine", "local", engines.KINDS, "where trials run: in this process, or as shards on a cluster")
_integer("workers", 2, "how many shards a cluster runs", lower_bound=1)
_string("allot", "", "what each worker gets, in the engine's words: 'num_gpus=1', 'slurm_partition=long'")
_string("host", None, "i/n: this process is the i-th of n that train each trial together; or auto")
_string("coordinator", None, "address:port of the first of those hosts")
_list("columns", None, f"of the main table, in place of the report's own: {', '.join(COLUMNS)}")
_enum("tables", "main", ("main", "all"), "which tables the terminal shows")
_bool("redo", False, "run trials again that were run by code which has changed since")
_bool("dry_run", False, "say what would run, how long and on how much disk, and stop")
_bool("list", False, "list the experiments with their questions, and stop")
_bool("cells", False, "list the cells, with --exp that file's own too, else those of all of ./experiments, and stop")
_bool("tasks", False, "list the tasks likewise, and stop")
_bool("markdown", False, "--cells and --tasks as Markdown")
OURS = tuple(FLAGS)


def parse(argv: list[str]) -> list[str]:
    """absl's flags; an unknown one is an error of one line that names the nearest of ours."""
    try:
        if any(word in ("--help", "-h", "-help", "--helpfull") for word in argv[1:]):
            sys.exit(print_help(argv))
        return FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, OURS, n=1, cutoff=0.5)
        hint = f"the nearest is --{near[0]}" if near else f"there is {', '.join('--' + name for name in OURS)}"
        print(f"rnnlab: --{error.flagname}: no such flag; {hint}; settings are written path=value", file=sys.stderr)
    except flags.Error as error:
        print(f"rnnlab: {error}", file=sys.stderr)
    sys.exit(2)


@one_line
def print_help(argv: list[str]) -> None:
    words = [word for word in argv if word.lstrip("-") not in ("help", "h", "helpfull")]
    rest = FLAGS(words, known_only=True)
    lines = [
        "python -m rnnlab.run --exp=NAME [--tier=smoke|quick|paper] [--workdir=FOLDER] [--arms=PATTERN] [PATH=VALUE]"
    ]
    for name in OURS:
        default = FLAGS[name].default
        lines.append(f"  --{name}: {FLAGS[name].help}{f' (default {default})' if default else ''}")
    module = load_experiment(FLAGS.exp or "long_memory")
    overrides = resolve.parse_overrides(word for word in rest[1:] if not word.startswith("-"))
    lines += ["", resolve.help_text(module, FLAGS.tier, overrides, FLAGS.arms)]
    Screen().say("\n".join(lines))
