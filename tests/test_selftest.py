"""The digests that `edgecnn selftest` carries must be those of the libraries themselves."""

import io

import numpy as np
import pytest
from PIL import Image

from edgecnn import selftest
from edgecnn.cli import main
from edgecnn.golden import digest
from edgecnn.spec import RESIZES

TF = {"nearest": {}, "bilinear": {}, "bilinear_antialias": {"antialias": True}, "area": {}, "bicubic": {}}


def library_resize(image, resize, height, width):
    """What the library itself makes of an image, as float32."""
    library, _, method = resize.partition("_")
    if library == "pil":
        resized = Image.fromarray(image).resize((width, height), getattr(Image.Resampling, method.upper()))
        return np.asarray(resized).astype(np.float32)
    if library == "cv2":
        import cv2

        # The reference is OpenCV's own cubic, the same on every processor; on x86 its wheel has Intel's IPP as well.
        cv2.ipp.setUseIPP(method != "cubic")
        try:
            resized = cv2.resize(image, (width, height), interpolation=getattr(cv2, f"INTER_{method.upper()}"))
        finally:
            cv2.ipp.setUseIPP(True)
        return resized.astype(np.float32)
    import tensorflow as tf

    resized = tf.image.resize(image, (height, width), method.removesuffix("_antialias"), **TF[method])
    return resized.numpy().astype(np.float32)


@pytest.mark.parametrize("resize", RESIZES)
def test_kernel_digests_are_those_of_the_library(resize):
    results = [library_resize(selftest.synthetic_image(*source), resize, *target) for source, target in selftest.SHAPES]
    assert digest(results) == selftest.KERNEL_DIGESTS[resize]


def test_decode_digests_are_those_of_the_library():
    import tensorflow as tf

    path = selftest.Path(selftest.__file__).with_name("selftest.jpg")
    assert digest([np.asarray(Image.open(path).convert("RGB"))]) == selftest.DECODE_DIGESTS["pil"]
    assert digest([tf.io.decode_image(path.read_bytes()).numpy()]) == selftest.DECODE_DIGESTS["tf"]
    assert selftest.DECODE_DIGESTS["pil"] != selftest.DECODE_DIGESTS["tf"]
    with Image.open(path) as image:
        image.draft("RGB", (image.width // 2, image.height // 2))
        assert digest([np.asarray(image)]) == selftest.DECODE_DIGESTS["fast"]


def test_passes_here(capsys):
    assert main(["selftest"]) == 0
    out = capsys.readouterr().out
    assert "FAILED" not in out
    for resize in RESIZES:
        assert f"ok      kernel {resize}: exact" in out
    assert "reads 0123456789" in out


def test_takes_any_model(image_model, rows_model, capsys):
    assert main(["selftest", str(image_model)]) == 0
    assert "model colors.onnx: 3 inputs on CPUExecutionProvider" in capsys.readouterr().out
    assert main(["selftest", str(rows_model)]) == 0


def test_a_model_without_golden_samples_says_that_nothing_was_compared(image_model, capsys):
    assert main(["selftest", str(image_model)]) == 0
    assert "note: the file holds no golden samples" in capsys.readouterr().err
    assert main(["selftest"]) == 0
    assert "golden samples" not in capsys.readouterr().err


def test_one_wrong_bit_fails(monkeypatch, capsys):
    wrong = dict.fromkeys(selftest.KERNEL_DIGESTS, "0" * 16)
    monkeypatch.setattr(selftest, "KERNEL_DIGESTS", wrong)
    assert main(["selftest"]) == 1
    assert capsys.readouterr().out.count("FAILED  kernel") == len(wrong)


def test_a_model_that_gives_no_numbers_fails(tmp_path, make_model, capsys):
    from edgecnn import ModelSpec, PixelSpec

    path = make_model(
        tmp_path / "nan.onnx",
        [("ReduceMean", ["image", "axes"], ["mean"], {"keepdims": 0}), ("Mul", ["mean", "nan"], ["out"], {})],
        [("image", "float32", ["batch", 4, 4, 3])],
        [("out", ["batch", 3])],
        [("axes", np.array([1, 2], np.int64)), ("nan", np.float32(np.nan))],
        ModelSpec(pixels=PixelSpec(height=4, width=4)),
    )
    assert main(["selftest", str(path)]) == 1
    assert "not all finite" in capsys.readouterr().out


def test_the_jpeg_is_worth_decoding():
    content = selftest.Path(selftest.__file__).with_name("selftest.jpg").read_bytes()
    image = Image.open(io.BytesIO(content))
    assert image.size[0] % 8
    assert image.size[1] % 8
    assert len(content) < 4000
