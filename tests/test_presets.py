import argparse

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgecnn import PRESETS, PixelSpec, SpecError, decode, preprocess
from edgecnn.presets import (
    add_recipe_options,
    assumed,
    from_preset,
    recipe_from_options,
    states_recipe,
    whole_recipe_from_options,
)


@pytest.fixture
def jpeg(tmp_path):
    """A JPEG of 50x37 with texture."""
    path = tmp_path / "texture.jpg"
    pixels = np.random.default_rng(1).integers(0, 256, (10, 13, 3), np.uint8)
    Image.fromarray(pixels).resize((50, 37), Image.Resampling.BICUBIC).save(path, quality=92)
    return path


def tensor_of(path, name, size=24):
    spec = from_preset(name, height=size, width=size)
    return preprocess(decode(path, spec.decode, exif=spec.exif), spec)


def keras_pixels(path, interpolation, size=24):
    import keras

    image = keras.utils.load_img(path, target_size=(size, size), interpolation=interpolation)
    return keras.utils.img_to_array(image, dtype="float32")


def test_names_what_the_interface_promises():
    assert set(PRESETS) >= {
        "keras-flow", "keras-dataset", "teachable-machine", "opencv", "imagenet-caffe", "imagenet-tf",
        "imagenet-torch", "edgecnn",
    }  # fmt: skip


def test_edgecnn_is_load_img_bilinear(jpeg):
    expected = keras_pixels(jpeg, "bilinear") * np.float32(1 / 255)
    np.testing.assert_array_equal(tensor_of(jpeg, "edgecnn"), expected)


def test_keras_flow_is_the_image_data_generator(tmp_path, jpeg):
    legacy = pytest.importorskip("keras.src.legacy.preprocessing.image")
    folder = tmp_path / "data" / "only"
    folder.mkdir(parents=True)
    jpeg.rename(folder / "a.jpg")
    flow = legacy.ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        tmp_path / "data", target_size=(24, 24), batch_size=1, shuffle=False, class_mode=None
    )
    np.testing.assert_array_equal(tensor_of(folder / "a.jpg", "keras-flow"), next(flow)[0])


def test_keras_dataset_is_image_dataset_from_directory(tmp_path, jpeg):
    import keras

    folder = tmp_path / "data" / "only"
    folder.mkdir(parents=True)
    jpeg.rename(folder / "a.jpg")
    dataset = keras.utils.image_dataset_from_directory(
        str(tmp_path / "data"), image_size=(24, 24), labels=None, shuffle=False, verbose=False
    )
    (batch,) = list(dataset)
    np.testing.assert_array_equal(tensor_of(folder / "a.jpg", "keras-dataset"), batch[0].numpy())


def test_teachable_machine_is_its_own_snippet(jpeg):
    image = ImageOps.fit(Image.open(jpeg).convert("RGB"), (24, 24), Image.Resampling.LANCZOS)
    expected = np.asarray(image).astype(np.float32) / 127.5 - 1
    np.testing.assert_array_equal(tensor_of(jpeg, "teachable-machine"), expected)


def test_opencv_is_imread_resize_divide(jpeg):
    import cv2

    image = cv2.resize(cv2.imread(str(jpeg)), (24, 24))
    np.testing.assert_array_equal(tensor_of(jpeg, "opencv"), image.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_imagenet_is_preprocess_input(jpeg, mode):
    from keras.applications.imagenet_utils import preprocess_input

    expected = preprocess_input(keras_pixels(jpeg, "nearest"), mode=mode)
    np.testing.assert_array_equal(tensor_of(jpeg, f"imagenet-{mode}"), expected)


def parse(*argv):
    parser = argparse.ArgumentParser()
    add_recipe_options(parser)
    return parser.parse_args(argv)


def test_options_change_single_fields_of_a_recipe():
    base = PixelSpec(height=8, width=9, divisor=255.0, layout="nchw")
    assert not states_recipe(parse())
    assert states_recipe(parse("--fit", "pad"))
    assert states_recipe(parse("--pillow", "12"))
    assert recipe_from_options(parse("--pillow", "12"), PixelSpec(height=8, width=8)).pillow == 12
    assert recipe_from_options(parse(), base) == base
    changed = recipe_from_options(parse("--scale", "1/4", "--resize", "pil_box"), base)
    assert changed == PixelSpec(height=8, width=9, scale=0.25, resize="pil_box", layout="nchw")
    preset = recipe_from_options(parse("--preset", "opencv", "--fit", "pad"), base)
    assert preset == from_preset("opencv", height=8, width=9, fit="pad", layout="nchw")
    gray = recipe_from_options(parse("--preset", "keras-flow"), PixelSpec(height=8, width=9, color="gray"))
    assert gray.color == "gray"


def test_a_part_of_a_recipe_is_no_recipe():
    graph = PixelSpec(height=8, width=9)
    for given in (["--exif"], ["--fit", "pad"], ["--pillow", "12"], ["--color", "bgr"]):
        with pytest.raises(SpecError, match=f"{given[0]} changes a part of a recipe, but the model carries none"):
            whole_recipe_from_options(parse(*given), graph)
    scaled = whole_recipe_from_options(parse("--scale", "1/255", "--fit", "pad"), graph)
    assert (scaled.scales, assumed(parse("--scale", "1/255"), scaled)) == (True, ["--resize tf_bilinear"])
    assert assumed(parse("--resize", "pil_box"), graph) == ["--scale 1"]
    assert assumed(parse("--preset", "opencv"), graph) == []


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(SpecError, match=r"unknown preset 'kears'; there are .*keras-flow"):
        from_preset("kears", height=8, width=8)
