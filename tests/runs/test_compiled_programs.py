"""Programs are compiled once a folder, and a cache of the user's own is left alone."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from rnnlab.runs.compiled_programs import forget_compiled, kept_compiled

NAMES = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture
def without_cache():
    before = {name: getattr(jax.config, name) for name in NAMES}
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def computed():
    """By a program that is made anew, as by another process."""
    jax.clear_caches()
    return float(jax.jit(lambda x: jnp.sum(jnp.sin(x) @ jnp.cos(x)))(jnp.ones((7, 7))))


@pytest.mark.slow
def test_programs_are_kept_in_the_folder_and_read_from_it(without_cache, tmp_path):
    with kept_compiled(tmp_path, "1-of-1"):
        first = computed()
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "compiled").rglob("*-cache")}
    assert kept and jax.config.jax_compilation_cache_dir is None
    assert jax.config.jax_persistent_cache_min_compile_time_secs > 0
    with kept_compiled(tmp_path, "1-of-1"):
        assert computed() == first
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "compiled").rglob("*-cache")} == kept
    forget_compiled(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_cache_of_the_users_own_is_left_alone(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    assert before is not None  # that of the tests
    with kept_compiled(tmp_path, "1-of-1"):
        assert jax.config.jax_compilation_cache_dir == before
    assert not (tmp_path / "compiled").exists()


def test_xlas_log_is_quiet_meanwhile_unless_a_level_was_chosen(without_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    with pytest.raises(KeyError), kept_compiled(tmp_path, "1-of-1"):
        assert jax.config.jax_logging_level == "CRITICAL"
        raise KeyError
    assert jax.config.jax_logging_level == "NOTSET"
    for level in ("0", "3"):
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
        with kept_compiled(tmp_path, "1-of-1"):
            assert jax.config.jax_logging_level == "NOTSET"
