"""Text from a trained network: `python -m rnnlab.generate RUN --prompt="The gate" --characters=400 --temperature=0.8`.

The characters appear as they are drawn; the same seed draws the same text.
"""

from __future__ import annotations

import functools
import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
from absl import flags
from jaxtyping import Array

from rnnlab.data.texts import Text as Characters
from rnnlab.model import SequenceModel
from rnnlab.runs.best_trial import best_trial
from rnnlab.runs.callable_module import callable_as
from rnnlab.runs.check_text import check_text
from rnnlab.runs.console import Screen, one_line, parsed
from rnnlab.runs.load_network import load
from rnnlab.runs.trained import Trained
from rnnlab.settings.errors import SettingError
from rnnlab.tasks.text import Text

FLAGS = flags.FlagValues()
flags.DEFINE_string("prompt", "", "text that the network reads first", flag_values=FLAGS)
flags.DEFINE_integer("characters", 400, "how many are generated", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_float("temperature", 0.8, "1: as the network predicts; 0: always the most likely", flag_values=FLAGS)
flags.DEFINE_integer("seed", 1, "the same seed draws the same text", flag_values=FLAGS)
flags.DEFINE_string("arm", None, "an arm's name or a shell pattern; left out, the lowest loss", flag_values=FLAGS)
USAGE = (
    'python -m rnnlab.generate RUN [--prompt="The gate"] [--characters=400] [--temperature=0.8] [--seed=1] [--arm=A], '
    "the folder of a run of --exp=text: text from its best network, or from the best of an arm"
)


def generate(
    run: str | Path,
    prompt: str = "",
    characters: int = 400,
    temperature: float | int = 0.8,
    seed: int = 1,
    arm: str | None = None,
) -> str:
    """Text from a run's network: `rnnlab.generate("runs/text-quick", "The gate")`.

    Args:
      run: its folder.
      prompt: text that the network reads first, which is not repeated; characters that its training text does not have
        are left out.
      characters: how many are generated.
      temperature: the logits are divided by it; 1 as the network predicts, 0 always the most likely character.
      seed: of the draws.
      arm: its name, or a shell pattern; of those that match, the trial of the lowest held-out loss.

    Raises:
      SettingError: there is no such run or arm, it was not trained on text, or its text is another by now.
    """
    trained = choose(Path(run), arm)
    return "".join(stream(trained.model, trained.task.text, prompt, characters, temperature, seed))


def choose(run: Path, arm: str | None = None) -> Trained:
    """The network of the lowest held-out loss among the run's trials on text, or among those of some arms."""
    best = best_trial(run, Text, "--exp=text", arm)
    check_text(run, best, "characters")
    return load(run, best.arm, best.seed, at="best")


def readable(text: Characters, prompt: str) -> tuple[str, str]:
    """Of a prompt the characters that the training text has, and the different others."""
    return (
        "".join(c for c in prompt if c in text.alphabet),
        "".join(dict.fromkeys(c for c in prompt if c not in text.alphabet)),
    )


def stream(
    model: SequenceModel, text: Characters, prompt: str, characters: int, temperature: float | int, seed: int
) -> Iterator[str]:
    """One character after the other. A prompt of nothing begins after a line's end, or the text's first character.

    Raises:
      SettingError: a temperature below 0, or none.
    """
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise SettingError(f"temperature={temperature}: must be a number of at least 0; 0 is the most likely text")
    read, _ = readable(text, prompt)
    tokens = text.encode(read or ("\n" if "\n" in text.alphabet else text.alphabet[:1]))
    key, carry = jax.random.key(seed), model.initial_carry(1)
    for token in tokens:
        carry, logits = _step(model, carry, jnp.asarray([token], jnp.int32))
    for number in range(characters):
        token = _draw(logits, jax.random.fold_in(key, number), jnp.float32(temperature))
        yield text.decode([int(token)])
        carry, logits = _step(model, carry, token[None])


@jax.jit
def _step(model: SequenceModel, carry, token: Array):
    carry, y = model.step(carry, token)
    return carry, model.outputs(y)[0]


@jax.jit
def _draw(logits: Array, key: Array, temperature: Array) -> Array:
    """Never the last number, which stands for characters that training does not have."""
    logits = logits.astype(jnp.float32)[:-1]
    drawn = jax.random.categorical(key, logits / jnp.where(temperature > 0, temperature, 1))
    return jnp.where(temperature > 0, drawn, jnp.argmax(logits)).astype(jnp.int32)


@functools.partial(one_line, usage=USAGE)
def main(argv: list[str]) -> None:
    [folder] = parsed(FLAGS, argv, USAGE)
    trained = choose(Path(folder), FLAGS.arm)
    text = trained.task.text
    read, others = readable(text, FLAGS.prompt)
    if others:
        print(f"rnnlab: --prompt: {others!r} not in the training text, left out", file=sys.stderr)
    found = stream(trained.model, text, FLAGS.prompt, FLAGS.characters, FLAGS.temperature, FLAGS.seed)
    screen = Screen()
    try:
        for piece in itertools.chain([read], found):
            screen.out(piece, end="", highlight=False)
            screen.file.flush()
        screen.out("")
    except BrokenPipeError:
        screen.on_broken_pipe()


def program() -> None:
    """The command line, with its exit status."""
    try:
        sys.exit(main(sys.argv))
    except KeyboardInterrupt:  # what was drawn so far stands
        print()
        sys.exit(130)


callable_as(__name__, generate)

if __name__ == "__main__":
    program()
