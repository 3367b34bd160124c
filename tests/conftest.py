"""Tests state facts of the field. float64 is on, so that an oracle and not rounding decides."""

import jax

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_enable_x64", True)
