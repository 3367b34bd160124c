"""What is read of the processor, and what it decides."""

import jax
import pytest

from rnnlab.scan import processor


@pytest.fixture
def told(monkeypatch):
    """Another processor, as Linux would tell of it."""

    def tell(**lines):
        monkeypatch.setattr(processor, "_told", lambda: {name.replace("_", " "): line for name, line in lines.items()})

    return tell


def test_wide_vectors_are_for_processors_that_keep_their_speed_with_them(monkeypatch, told):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    told(flags="fpu avx2 avx512f avx512_vbmi2")
    assert processor.compiler_options() == {"xla_cpu_prefer_vector_width": 512}
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_prefer_vector_width=128")
    assert processor.compiler_options() is None
    monkeypatch.delenv("XLA_FLAGS")
    told(flags="fpu avx2 avx512f")
    assert processor.compiler_options() is None
    told(Features="fp asimd")
    assert processor.instructions() == "fp asimd" and processor.compiler_options() is None
    told(flags="avx512_vbmi2")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert processor.compiler_options() is None


def test_a_program_compiled_with_them_is_right():
    assert jax.jit(lambda x: x + 1, compiler_options={processor.WIDTH: 512})(1) == 2


def test_this_processor_has_a_name(told):
    assert processor.processor_name()
    told(model_name="One of a kind")
    assert processor.processor_name() == "One of a kind"


@pytest.mark.parametrize(
    ("told", "cache"),
    [("512K\n", 2**19), ("1024K\n", 2**20), ("0K\n", 2**19), ("4096K\n", 2**21), ("", 2**19), (None, 2**19)],
)
def test_the_cache_of_a_core(monkeypatch, tmp_path, told, cache):
    if told is not None:
        (tmp_path / "size").write_text(told)
    monkeypatch.setattr(processor, "CACHE", tmp_path / "size")
    assert processor.core_cache() == cache
