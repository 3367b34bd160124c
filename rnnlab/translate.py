"""Translations by a trained network: `python -m rnnlab.translate RUN "twenty-one thousand and four" [--beam=5]`.

In place of a sentence `-` reads one a line from the standard input.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from rnnlab.data.pairs import PADDING, Pairs
from rnnlab.data.tokens import counted
from rnnlab.model import EncoderDecoder
from rnnlab.probes.translation.search import beam as search
from rnnlab.runs.best_trial import best_trial
from rnnlab.runs.callable_module import callable_as
from rnnlab.runs.check_text import check_text
from rnnlab.runs.console import Screen, one_line, parsed
from rnnlab.runs.files import write_whole
from rnnlab.runs.load_network import load
from rnnlab.runs.trained import Trained
from rnnlab.settings.errors import SettingError
from rnnlab.tasks import Translation

WIDTH, WIDEST = 4, 1000  # hypotheses of the beam

FLAGS = flags.FlagValues()
flags.DEFINE_integer("beam", WIDTH, "hypotheses of the beam; 1 is greedy search", 1, WIDEST, flag_values=FLAGS)
flags.DEFINE_string("arm", None, "an arm's name or a shell pattern; left out, the lowest loss", flag_values=FLAGS)
flags.DEFINE_integer("seed", None, "the trial's; left out, that of the lowest held-out loss", flag_values=FLAGS)
flags.DEFINE_string("out", None, "a file for the translations, a line each; left out, the terminal", flag_values=FLAGS)
USAGE = (
    'python -m rnnlab.translate RUN "twenty-one thousand and four" [--beam=5] [--arm=A] [--seed=0] [--out=FILE], '
    "the folder of a run of --exp=translation and a sentence, or - for one a line from the standard input"
)


def translate(run: str | Path, text: str, beam: int = WIDTH, arm: str | None = None, seed: int | None = None) -> str:
    """A sentence in the target language: `rnnlab.translate("runs/translation-quick", "ninety-nine")`.

    Args:
      run: the folder of a run of the task Translation.
      text: a sentence in the source language; words that training does not have are read as one unknown word.
      beam: hypotheses of the search; 1 is greedy.
      arm: its name, or a shell pattern; left out, any arm.
      seed: the trial's; left out, that of the lowest held-out loss of those that match.

    Raises:
      SettingError: there is no such run, arm or seed, its sentences are others by now, or there is
        nothing to translate.
    """
    if not isinstance(text, str):
        raise SettingError(f"text={text!r:.40}: must be one sentence")
    trained = choose(Path(run), arm, seed)
    if not trained.task.data.encode(text)[0]:
        raise SettingError(f"text={text!r:.40}: holds no {trained.task.units.removesuffix('s')}: nothing to translate")
    return next(translations(trained, [text], beam))


def choose(run: Path, arm: str | None = None, seed: int | None = None) -> Trained:
    """The network of the lowest held-out loss among the run's trials on translation, or among those of some arms."""
    best = best_trial(run, Translation, "--exp=translation", arm, seed)
    check_text(run, best, best.spec.task.units)
    return load(run, best.arm, best.seed, at="best")


def translations(trained: Trained, texts: Iterable[str], beam: int = WIDTH) -> Iterator[str]:
    """One after the other; of a text without a token nothing.

    Raises:
      SettingError: a beam below 1 or too wide.
    """
    if isinstance(beam, bool) or not isinstance(beam, int) or not 1 <= beam <= WIDEST:
        raise SettingError(f"beam={beam!r:.40}: must be a whole number from 1 to {WIDEST:,}")
    data: Pairs = trained.task.data
    for text in texts:
        numbers, _ = data.encode(text)
        if not numbers:
            yield ""
            continue
        times = -(-len(numbers) // trained.task.source_steps)  # of a longer sentence than any in training
        padded = np.zeros((times * trained.task.source_steps, 1), np.int32)
        padded[: len(numbers), 0] = numbers
        found = _searched(trained.model, jnp.asarray(padded), times * trained.task.answers, beam)
        yield data.decode(np.asarray(found)[:, 0])


@functools.partial(jax.jit, static_argnums=(2, 3))
def _searched(model: EncoderDecoder, source: jax.Array, steps: int, width: int) -> jax.Array:
    return search(model, source, steps, width)[0]


@functools.partial(one_line, usage=USAGE)
def main(argv: list[str]) -> None:
    folder, text = parsed(FLAGS, argv, USAGE, 2)
    trained = choose(Path(folder), FLAGS.arm, FLAGS.seed)
    if text != "-" and not trained.task.data.encode(text)[0]:
        raise SettingError(f"{text!r:.40}: nothing to translate")
    lines = _input_lines() if text == "-" else [text]
    found = translations(trained, _told(trained, lines), FLAGS.beam)
    if FLAGS.out is not None:
        if Path(FLAGS.out).is_dir():
            raise SettingError(f"--out={FLAGS.out}: is a folder; name a file")
        write_whole(Path(FLAGS.out), "".join(f"{line}\n" for line in found).encode())
        return
    screen = Screen()
    try:
        for line in found:
            screen.out(line, highlight=False)
            screen.file.flush()
            if not line:
                print("rnnlab: the network writes nothing for it", file=sys.stderr)
    except BrokenPipeError:
        screen.on_broken_pipe()


def _input_lines() -> Iterator[str]:
    """Of the standard input. Raises SettingError for a line that is not UTF-8."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise SettingError(f"standard input, line {number}: not UTF-8 ({error.reason})") from error


def _told(trained: Trained, lines: Iterable[str]) -> Iterator[str]:
    """The lines; of each it is said on the standard error what the network does not know."""
    task = trained.task
    longest = int(np.max(np.sum(task.data.parts["training"].source != PADDING, axis=1)))
    for line in lines:
        numbers, others = task.data.encode(line)
        if others:
            shown = ", ".join(map(repr, others[:10]))
            print(f"rnnlab: {shown}: not in the training sentences, read as unknown", file=sys.stderr)
        if len(numbers) > longest:
            told = f"{len(numbers)} {counted(task.units)}: longer than any in training, of at most {longest}"
            print(f"rnnlab: {told}", file=sys.stderr)
        yield line


def program() -> None:
    """The command line, with its exit status."""
    sys.exit(main(sys.argv))


callable_as(__name__, translate)

if __name__ == "__main__":
    program()
