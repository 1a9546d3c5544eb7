"""edgecnn.export.backend: TensorFlow starts without what an export doesn't need, and nothing stays changed."""

from __future__ import annotations

import subprocess
import sys


def test_tensorflow_starts_without_plots_and_they_still_work_afterwards():
    code = (
        "import sys\n"
        "from edgecnn.export.backend import tensorflow\n"
        "tensorflow()\n"
        "print([m for m in ('sklearn', 'matplotlib') if m in sys.modules])\n"
        "import sklearn, matplotlib.pyplot, keras\n"
        "print(keras.Sequential.__name__, sklearn.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "Sequential sklearn"]
    assert done.stderr == ""
