"""What was said in recordings: `python -m rnnlab.transcribe RUN file.wav [more.wav ...] [--beam=8] [--arm=A]`.

The network is that of a run of the task SpokenDigits: of digits, or of a user's own recordings.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from absl import flags
from jaxtyping import Float

from rnnlab.data import log_mel
from rnnlab.data.speech import scaled_by
from rnnlab.data.wav_file import read_wav
from rnnlab.model import SequenceModel
from rnnlab.probes.speech.prefix_beam import WIDTH, prefix_beam
from rnnlab.runs.best_trial import best_trial
from rnnlab.runs.callable_module import callable_as
from rnnlab.runs.console import Screen, one_line, parsed
from rnnlab.runs.load_network import load
from rnnlab.runs.results_file import open_results
from rnnlab.settings.errors import SettingError
from rnnlab.specs.errors import UserError
from rnnlab.tasks import SpokenDigits
from rnnlab.tasks.transcription import best_path

FLAGS = flags.FlagValues()
flags.DEFINE_integer("beam", WIDTH, "prefixes that the search keeps; 1: the most likely path", 1, flag_values=FLAGS)
flags.DEFINE_string(
    "arm", None, "the arm, or a shell pattern; left out, that of the lowest held-out loss", flag_values=FLAGS
)
flags.DEFINE_integer("seed", None, "the trial's; left out, that of the lowest held-out loss", flag_values=FLAGS)
USAGE = "python -m rnnlab.transcribe RUN file.wav [more.wav ...] [--beam=8] [--arm=NAME] [--seed=0]"


class Listener(NamedTuple):
    """A trained network, and what its features and tokens are."""

    model: SequenceModel
    tokens: tuple[str, ...]
    between: str
    mean: Float[np.ndarray, " D"]
    deviation: Float[np.ndarray, " D"]

    def transcript(self, file: str | Path, beam: int = WIDTH) -> str:
        """What was said; nothing, where there is nothing but silence.

        Raises:
          UserError: the file cannot be read.
        """
        wave = read_wav(file)
        if np.ptp(wave) == 0:
            return ""
        features = log_mel.features(wave)
        scaled = scaled_by(features, self.mean, self.deviation).astype(np.float32)
        outputs, lengths = self.model(jnp.asarray(scaled)[:, None]), jnp.array([len(scaled)])
        found = best_path(outputs, lengths) if beam == 1 else prefix_beam(outputs, lengths, len(scaled), beam)
        labels = [int(label) for label in found[:, 0] if label]
        return self.between.join(self.tokens[label - 1] for label in labels)


def transcribe(
    run: str | Path, file: str | Path, *, beam: int = WIDTH, arm: str | None = None, seed: int | None = None
) -> str:
    """What was said in a recording: `rnnlab.transcribe("runs/speech-quick", "digits.wav")`.

    Args:
      run: its folder.
      file: a WAV file of 8 to 64 bit, 1 to 384 kHz, any number of channels, at most 10 minutes.
      beam: prefixes that the search keeps (Hannun et al. 2014); 1 is the most likely path.
      arm: its name, or a shell pattern; left out, any: of those that match, the trial of the lowest held-out loss.
      seed: the trial's; left out, that of the lowest held-out loss.

    Raises:
      SettingError: there is no such run, arm or seed.
      UserError: the file cannot be read.
    """
    if beam < 1:
        raise SettingError(f"beam={beam}: must be at least 1, which is the most likely path")
    return listener(run, arm, seed).transcript(file, beam)


def listener(run: str | Path, arm: str | None = None, seed: int | None = None) -> Listener:
    """The best network among a run's trials on recordings, or among those of some arms. Raises SettingError."""
    best = best_trial(run, SpokenDigits, "--exp=speech", arm, seed)
    trained = load(run, best.arm, best.seed, at="best")
    known = open_results(Path(run)).arms[best.arm].baselines
    return Listener(
        trained.model, tuple(known["tokens"]), known["between"], np.array(known["mean"]), np.array(known["deviation"])
    )


@functools.partial(one_line, usage=USAGE)
def main(argv: list[str]) -> None:
    folder, *files = parsed(FLAGS, argv, USAGE, count=None)
    if not files:
        raise SettingError(USAGE)
    chosen, screen = listener(folder, FLAGS.arm, FLAGS.seed), Screen()
    bad = []
    for file in files:
        try:
            said = chosen.transcript(file, FLAGS.beam)
        except UserError as error:
            bad.append(error)
            continue
        screen.say(said if len(files) == 1 else f"{file}: {said}")
    if bad:
        for error in bad[:-1]:
            print(f"rnnlab: {error}", file=sys.stderr)
        raise bad[-1]


def program() -> None:
    """The command line, with its exit status."""
    sys.exit(main(sys.argv))


callable_as(__name__, transcribe)

if __name__ == "__main__":
    program()
