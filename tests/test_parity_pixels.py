"""Every resize method against the library it is named after: not one value may differ."""

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL import __version__ as pillow_version

from edgecnn.preprocess import preprocess
from edgecnn.spec import RESIZES, PixelSpec

PILLOW = 13 if int(pillow_version.split(".")[0]) >= 13 else 12
"""The order of passes that the installed Pillow has."""

TF = {
    "tf_nearest": "nearest", "tf_bilinear": "bilinear", "tf_bilinear_antialias": "bilinear", "tf_area": "area",
    "tf_bicubic": "bicubic",
}  # fmt: skip
PIL = {
    "pil_nearest": Image.Resampling.NEAREST, "pil_box": Image.Resampling.BOX,
    "pil_bilinear": Image.Resampling.BILINEAR, "pil_hamming": Image.Resampling.HAMMING,
    "pil_bicubic": Image.Resampling.BICUBIC, "pil_lanczos": Image.Resampling.LANCZOS,
}  # fmt: skip
CV2 = {
    "cv2_nearest": "INTER_NEAREST", "cv2_linear": "INTER_LINEAR", "cv2_area": "INTER_AREA",
    "cv2_cubic": "INTER_CUBIC",
}  # fmt: skip

EDGES = [
    (1, 1, 1, 1), (1, 1, 7, 5), (1, 9, 4, 4), (9, 1, 4, 4), (5, 7, 1, 1), (64, 64, 64, 64), (64, 64, 64, 32),
    (128, 128, 64, 64), (90, 60, 30, 20), (31, 31, 17, 45), (3, 900, 40, 40), (900, 3, 40, 40), (2, 2, 99, 99),
    (375, 500, 64, 64), (500, 375, 224, 224), (720, 1280, 64, 64), (1080, 1920, 64, 64), (1920, 1080, 64, 64),
]  # fmt: skip
"""Source height, width, target height, width: single pixels, whole ratios, extreme aspects, photographs."""


def shapes(seed: int, count: int) -> list[tuple[int, int, int, int]]:
    rng = np.random.default_rng(seed)

    def side() -> int:
        return int(rng.integers(1, 12) if rng.random() < 0.2 else rng.integers(1, 400))

    found = []
    for _ in range(count):
        h, w, out_h, out_w = (side() for _ in range(4))
        if rng.random() < 0.15:
            h, w = out_h * int(rng.integers(1, 4)), out_w * int(rng.integers(1, 4))
        found.append((h, w, out_h, out_w))
    return found


def picture(seed: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def library_resize(method: str, image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width, C) float32 or uint8 as the library itself computes it."""
    if method in TF:
        import tensorflow as tf

        antialias = method.endswith("antialias")
        return tf.image.resize(image, (height, width), TF[method], antialias=antialias).numpy()
    if method in PIL:
        source = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        return np.asarray(source.resize((width, height), PIL[method])).reshape(height, width, -1)
    import cv2

    # Intel's IPP, which OpenCV on x86 uses for cubic alone among our methods, is closed and its last bits
    # depend on the CPU; the reference is OpenCV's own code.
    cv2.ipp.setUseIPP(method != "cv2_cubic")
    try:
        return cv2.resize(image, (width, height), interpolation=getattr(cv2, CV2[method])).reshape(height, width, -1)
    finally:
        cv2.ipp.setUseIPP(True)


def library_fit(method: str, fit: str, image: np.ndarray, height: int, width: int, fill: int) -> np.ndarray:
    if method in PIL:
        source = Image.fromarray(image)
        if fit == "crop":
            return np.asarray(ImageOps.fit(source, (width, height), PIL[method]))
        return np.asarray(ImageOps.pad(source, (width, height), PIL[method], color=(fill, fill, fill)))
    from keras.src.backend.tensorflow.image import resize

    return resize(
        image,
        (height, width),
        interpolation=TF[method],
        antialias=method.endswith("antialias"),
        crop_to_aspect_ratio=fit == "crop",
        pad_to_aspect_ratio=fit == "pad",
        fill_value=fill,
    ).numpy()


@pytest.mark.parametrize("method", RESIZES)
def test_resize_equals_its_library(method):
    for i, (h, w, out_h, out_w) in enumerate(EDGES + shapes(1, 490)):
        color, channels = ("gray", 1) if i % 4 == 3 else ("rgb", 3)
        image = picture(i, h, w, channels)
        spec = PixelSpec(height=out_h, width=out_w, resize=method, color=color, pillow=PILLOW)
        got = preprocess(image, spec, color=color)
        expected = library_resize(method, image, out_h, out_w)
        assert np.array_equal(got, expected), f"{method} {color} {w}x{h} -> {out_w}x{out_h}"


def halves(kind: str, height: int, width: int) -> np.ndarray:
    """Pictures whose means lie on or near a half, where the order of OpenCV's sums decides how they round."""
    random = np.random.default_rng(3)
    if kind == "checks":
        flat = (np.arange(width) + np.arange(height)[:, None]) % 2 * 255
    elif kind == "ramp":
        flat = np.broadcast_to(np.arange(width) * 255 // (width - 1), (height, width))
    else:
        flat = 100 + random.integers(0, 2, (height, width))
    return np.repeat(flat.astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("kind", ["checks", "ramp", "steps"])
@pytest.mark.parametrize("size", [(480, 640, 64, 64), (375, 500, 64, 61), (1080, 1920, 64, 64)])
def test_cv2_area_rounds_halves_as_opencv(kind, size):
    image = halves(kind, *size[:2])
    expected = library_resize("cv2_area", image, *size[2:])
    assert np.array_equal(preprocess(image, PixelSpec(height=size[2], width=size[3], resize="cv2_area")), expected)


@pytest.mark.parametrize("method", ["tf_bilinear", "tf_area"])
@pytest.mark.parametrize("side", [8, 16, 32, 64, 96, 128])
def test_weights_of_few_bits_equal_tensorflow(method, side):
    for seed, (height, width) in enumerate([(1080, 1920), (479, 641), (480, 640), (200, 126), (50, 34)]):
        image = picture(seed, height, width)
        recipe = PixelSpec(height=side, width=side, resize=method)
        assert np.array_equal(preprocess(image, recipe), library_resize(method, image, side, side)), (height, width)


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("method", [*TF, *PIL])
def test_fit_equals_its_library(method, fit):
    for i, (h, w, out_h, out_w) in enumerate(EDGES[2:] + shapes(2, 80)):
        squeeze = max(w / h / (out_w / out_h), h / w / (out_h / out_w))
        if fit == "pad" and squeeze > min(50, out_h, out_w):
            continue  # Pillow leaves no pixel, TensorFlow a canvas of gigabytes
        image = picture(i, h, w)
        spec = PixelSpec(height=out_h, width=out_w, resize=method, fit=fit, pad_value=9, pillow=PILLOW)
        expected = library_fit(method, fit, image, out_h, out_w, 9)
        assert np.array_equal(preprocess(image, spec), expected), f"{method} {fit} {w}x{h} -> {out_w}x{out_h}"


def horizontal_first(method: str, fit: str, image: np.ndarray, height: int, width: int) -> np.ndarray:
    """What Pillow 12 and older compute: a resize of one axis is one pass, whichever Pillow does it."""
    source = Image.fromarray(image)
    left, top, right, bottom = 0.0, 0.0, float(source.width), float(source.height)
    inside = (width, height)
    if fit == "crop":
        ratio = width / height
        w, h = (ratio * source.height, bottom) if right / bottom >= ratio else (right, source.width / ratio)
        left, top = (source.width - w) * 0.5, (source.height - h) * 0.5
        right, bottom = left + w, top + h
    elif fit == "pad":
        inside = ImageOps.contain(source, inside, PIL[method]).size
    between = source.resize((inside[0], source.height), PIL[method], box=(left, 0, right, source.height))
    small = between.resize(inside, PIL[method], box=(0, top, inside[0], bottom))
    return np.asarray(ImageOps.pad(small, (width, height), PIL[method], color=(9, 9, 9)))


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("method", sorted(set(PIL) - {"pil_nearest"}))
def test_pillow_12_starts_with_the_horizontal_pass(method, fit):
    other_order = 0
    for i, (h, w, out_h, out_w) in enumerate(shapes(3, 60)):
        h, out_h = 3 * h + out_h, max(out_h // 3, 8)  # the height shrinks by far more
        if fit == "pad" and h / w / (out_h / out_w) > min(50, out_h, out_w):
            continue  # leaves no pixel
        image = picture(i, h, w)
        spec = PixelSpec(height=out_h, width=out_w, resize=method, fit=fit, pad_value=9, pillow=12)
        got = preprocess(image, spec)
        expected = horizontal_first(method, fit, image, out_h, out_w)
        assert np.array_equal(got, expected), f"{method} {fit} {w}x{h} -> {out_w}x{out_h}"
        other_order += not np.array_equal(got, preprocess(image, dataclasses.replace(spec, pillow=13)))
    assert other_order > 5


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_cv2_fits_like_keras(fit):
    import cv2

    image = picture(0, 90, 157)
    if fit == "crop":
        around = image[:, 33 : 33 + 90]  # (157 - 90) / 2, truncated
    else:
        around = cv2.copyMakeBorder(image, 33, 33, 0, 0, cv2.BORDER_CONSTANT, value=(5, 5, 5))
    spec = PixelSpec(height=40, width=40, resize="cv2_linear", fit=fit, pad_value=5)
    assert np.array_equal(preprocess(image, spec), cv2.resize(around, (40, 40)))


def test_gray_is_pillows_l():
    image = picture(3, 101, 67)
    expected = np.asarray(Image.fromarray(image).convert("L").resize((20, 30), Image.Resampling.BILINEAR))
    spec = PixelSpec(height=30, width=20, resize="pil_bilinear", color="gray")
    assert np.array_equal(preprocess(image, spec)[..., 0], expected)


def test_gray_of_every_color_is_pillows_l_and_opencvs_gray():
    import cv2

    cube = np.stack(np.meshgrid(*[np.arange(0, 256, 3, dtype=np.uint8)] * 3), axis=-1).reshape(86 * 86, 86, 3)
    for method, expected in (
        ("pil_nearest", np.asarray(Image.fromarray(cube).convert("L"))),
        ("tf_nearest", np.asarray(Image.fromarray(cube).convert("L"))),
        ("cv2_nearest", cv2.cvtColor(cube, cv2.COLOR_RGB2GRAY)),
    ):
        spec = PixelSpec(height=cube.shape[0], width=cube.shape[1], resize=method, color="gray", dtype="uint8")
        assert np.array_equal(preprocess(cube, spec)[..., 0], expected), method


@pytest.mark.parametrize("method", ["tf_bilinear", "tf_bilinear_antialias", "tf_area", "tf_bicubic", "tf_nearest"])
def test_uint8_output_is_keras_resize_of_integers(method):
    import keras

    image = picture(4, 83, 121)
    spec = PixelSpec(height=64, width=48, resize=method, dtype="uint8")
    expected = keras.ops.image.resize(image, (64, 48), interpolation=TF[method], antialias=method.endswith("antialias"))
    assert np.array_equal(preprocess(image, spec), np.asarray(expected))


def test_normalisation_equals_keras_preprocessing():
    """keras.applications' three modes, after load_img's resize, are the presets imagenet-*."""
    from keras.applications.imagenet_utils import preprocess_input

    from edgecnn.presets import from_preset

    image = picture(5, 300, 200)
    resized = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.NEAREST)).astype(np.float32)
    for name, mode in (("imagenet-tf", "tf"), ("imagenet-caffe", "caffe"), ("imagenet-torch", "torch")):
        got = preprocess(image, from_preset(name, height=64, width=64))
        assert np.array_equal(got, preprocess_input(resized.copy(), mode=mode)), name


def test_rescale_equals_image_data_generator():
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    image = picture(6, 64, 64)
    expected = ImageDataGenerator(rescale=1 / 255).standardize(image.astype(np.float32))
    spec = PixelSpec(height=64, width=64, resize="pil_nearest", scale=1 / 255)
    assert np.array_equal(preprocess(image, spec), expected)
