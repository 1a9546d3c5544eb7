"""Memory stays flat over the epochs; `make memory` shows the same with thousands of images."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("keras")


def load(name):
    path = Path(__file__).parents[1] / "bench" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"bench_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_over_the_epochs_without_a_cache(tmp_path):
    memory = load("memory")
    sizes = list(memory.train(memory.generate(tmp_path / "photos", 60), epochs=24, cache="none", steps=4))
    assert len(sizes) == 24
    assert memory.growth(sizes) < memory.GROWTH, sizes
