"""A training's schedule."""

import jax.numpy as jnp
import numpy as np

from rnnlab.training.spec import TrainSpec


def test_a_schedule_warms_up_and_decays():
    train = TrainSpec(steps=100, warmup=10, schedule="cosine", optimizer="sgd", learning_rate=1.0, clip_norm=None)
    rule = train.optimiser(1.0)
    state, rates = rule.init(jnp.zeros(())), []
    for _ in range(100):
        update, state = rule.update(jnp.ones(()), state)
        rates.append(-float(update))
    np.testing.assert_allclose(rates[:11], np.linspace(0, 1, 11), atol=1e-6)
    assert rates[-1] < 1e-3 and np.all(np.diff(rates[10:]) <= 1e-9)
