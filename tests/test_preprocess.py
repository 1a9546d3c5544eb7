"""preprocess: channel orders, layouts, views, threads, and what it refuses."""

import os
import threading

import numpy as np
import pytest
from PIL import Image

from edgecnn.errors import ImageError
from edgecnn.preprocess import preprocess, preprocess_batch
from edgecnn.spec import RESIZES, PixelSpec


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def spec(**fields) -> PixelSpec:
    return PixelSpec(**{"height": 20, "width": 16, "resize": "pil_bilinear", **fields})


@pytest.mark.parametrize("method", RESIZES)
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_channel_orders_and_layouts_agree(method, fit):
    image = picture(45, 70)
    rgb = preprocess(image, spec(resize=method, fit=fit))
    assert rgb.shape == (20, 16, 3)
    assert rgb.dtype == np.float32
    alpha = picture(45, 70, 1, seed=1)
    sources = {
        "rgb": image,
        "bgr": np.ascontiguousarray(image[..., ::-1]),
        "rgba": np.concatenate([image, alpha], axis=2),
        "bgra": np.concatenate([image[..., ::-1], alpha], axis=2),
    }
    gray = preprocess(image, spec(resize=method, fit=fit, color="gray"))
    for color, source in sources.items():
        assert np.array_equal(preprocess(source, spec(resize=method, fit=fit), color=color), rgb), color
        bgr = preprocess(source, spec(resize=method, fit=fit, color="bgr"), color=color)
        assert np.array_equal(bgr, rgb[..., ::-1]), color
        planar = preprocess(source, spec(resize=method, fit=fit, layout="nchw"), color=color)
        assert np.array_equal(planar, rgb.transpose(2, 0, 1)), color
        as_gray = preprocess(source, spec(resize=method, fit=fit, color="gray"), color=color)
        assert np.array_equal(as_gray, gray), color


@pytest.mark.parametrize("method", RESIZES)
def test_gray_source_fills_every_channel(method):
    image = picture(33, 41, 1)
    one = preprocess(image, spec(resize=method, color="gray"), color="gray")
    assert one.shape == (20, 16, 1)
    assert np.array_equal(preprocess(image[..., 0], spec(resize=method, color="gray"), color="gray"), one)
    three = preprocess(image, spec(resize=method), color="gray")
    assert np.array_equal(three, np.repeat(one, 3, axis=2))


@pytest.mark.parametrize("method", RESIZES)
def test_views_equal_their_copies(method):
    frame = picture(90, 120)
    views = {
        "crop": frame[11:72, 20:101],
        "upside down": frame[::-1],
        "every other row": frame[::2],
        "one row for all": np.broadcast_to(frame[:1], (40, 120, 3)),
        "one column": frame[:, 5:6],
    }
    for name, view in views.items():
        expected = preprocess(np.ascontiguousarray(view), spec(resize=method))
        assert np.array_equal(preprocess(view, spec(resize=method)), expected), name


def test_normalisation_rounds_every_operation():
    image = picture(20, 16)
    x = image.astype(np.float32)
    f = np.float32
    same = {"resize": "tf_bilinear"}  # of the same size, so the values are those of the image
    assert np.array_equal(preprocess(image, spec(**same, scale=1 / 255)), x * f(1 / 255))
    assert np.array_equal(preprocess(image, spec(**same, divisor=255.0)), x / f(255))
    assert np.array_equal(preprocess(image, spec(**same, divisor=127.5, offset=-1.0)), x / f(127.5) + f(-1))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = (x * f(1 / 255) + f(0.1) - np.array(mean, f)) / np.array(std, f)
    for resize in ("tf_bilinear", "pil_bilinear"):  # the float path and the table of 256 values
        recipe = {"resize": resize, "scale": 1 / 255, "offset": 0.1, "mean": mean, "std": std}
        assert np.array_equal(preprocess(image, spec(**recipe)), expected)
        bgr = preprocess(image, spec(**recipe, color="bgr"))
        flipped = (x[..., ::-1] * f(1 / 255) + f(0.1) - np.array(mean, f)) / np.array(std, f)
        assert np.array_equal(bgr, flipped)


def test_padding_is_normalised_like_pixels():
    image = picture(10, 40)
    padded = preprocess(image, spec(fit="pad", pad_value=255, scale=1 / 255, offset=-0.5))
    assert np.all(padded[0] == np.float32(255) * np.float32(1 / 255) + np.float32(-0.5))


def test_out_may_be_a_slice_of_a_batch():
    image = picture(30, 30)
    batch = np.full((3, 20, 16, 3), -1, np.float32)
    assert preprocess(image, spec(), out=batch[1]).base is batch
    assert np.array_equal(batch[1], preprocess(image, spec()))
    assert np.all(batch[[0, 2]] == -1)


def test_threads_share_one_plan():
    images = [picture(300, 200, seed=i) for i in range(8)]
    recipe = spec(resize="pil_lanczos", height=64, width=64)
    expected = [np.asarray(Image.fromarray(i).resize((64, 64), Image.Resampling.LANCZOS)) for i in images]
    wrong = []

    def work(start: int) -> None:
        for turn in range(40):
            i = (start + turn) % len(images)
            if not np.array_equal(preprocess(images[i], recipe), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("image", "color", "message"),
    [
        ([[1, 2, 3]], "rgb", "numpy array, got list"),
        (np.zeros((4, 4, 3), np.float32), "rgb", "must be uint8.*got float32"),
        (np.zeros((4, 4, 3), np.int8), "rgb", "must be uint8.*got int8"),
        (np.zeros((4, 4)), "gray", "must be uint8"),
        (np.zeros(4, np.uint8), "rgb", "got 1-D"),
        (np.zeros((1, 4, 4, 3), np.uint8), "rgb", "got 4-D"),
        (np.zeros((4, 4), np.uint8), "rgb", r"must be \(4, 4, 3\).*got \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), "rgb", r"\(4, 4, 3\) for color='rgb', got \(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.uint8), "rgba", r"\(4, 4, 4\) for color='rgba'"),
        (np.zeros((4, 4, 3), np.uint8), "hsv", "color must be one of"),
        (np.zeros((0, 4, 3), np.uint8), "rgb", "height must be 1 to"),
        (np.zeros((4, 0, 3), np.uint8), "rgb", "width must be 1 to"),
        (np.broadcast_to(np.uint8(0), (1, 40000, 3)), "rgb", "width must be 1 to 32768"),
        (np.broadcast_to(np.uint8(0), (40000, 1, 3)), "rgb", "height must be 1 to 32768 pixels, got 40000"),
        (np.broadcast_to(np.uint8(0), (2**40, 2, 3)), "rgb", f"height must be 1 to 32768 pixels, got {2**40}"),
        (np.broadcast_to(np.uint8(0), (2, 2**33, 3)), "rgb", f"width must be 1 to 32768 pixels, got {2**33}"),
        (np.zeros((4, 4, 3), bool), "rgb", "must be uint8.*got bool"),
        (np.zeros((4, 4, 3), object), "rgb", "must be uint8.*got object"),
        (np.zeros((4, 4, 0), np.uint8), "rgb", r"got \(4, 4, 0\)"),
        (np.zeros((4, 4, 6), np.uint8)[..., ::2], "rgb", "ascontiguousarray"),
        (np.lib.stride_tricks.as_strided(np.zeros(99, np.uint8), (4, 4, 3), (12, 0, 1)), "rgb", "ascontiguousarray"),
        (np.zeros((4, 4, 3), np.uint8), None, "color must be one of .*got None"),
        (np.zeros((4, 4, 3), np.uint8), ["rgb"], r"color must be one of .*got \['rgb'\]"),
        (np.zeros((4, 4, 3), np.uint8)[:, ::-1], "rgb", "ascontiguousarray"),
        (np.zeros((4, 4, 3), np.uint8)[..., ::-1], "rgb", "ascontiguousarray"),
        (np.zeros((3, 4, 4), np.uint8).transpose(1, 2, 0), "rgb", "ascontiguousarray"),
    ],
)
def test_bad_image(image, color, message):
    out = np.full((20, 16, 3), 7, np.float32)
    with pytest.raises(ImageError, match=message):
        preprocess(image, spec(), out=out, color=color)
    assert np.all(out == 7)


def read_only() -> np.ndarray:
    out = np.zeros((20, 16, 3), np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((16, 20, 3), np.float32), r"must be \(20, 16, 3\), got \(16, 20, 3\)"),
        (np.zeros((1, 20, 16, 3), np.float32), r"got \(1, 20, 16, 3\)"),
        (np.zeros((20, 16, 3), np.float64), "must be float32, got float64"),
        (np.zeros((20, 16, 3), np.uint8), "must be float32, got uint8"),
        (np.zeros((20, 16, 3), ">f4"), "must be float32, got >f4"),
        (np.zeros((20, 16, 3), np.float32)[::-1], "C-contiguous"),
        (np.zeros((20, 20, 3), np.float32)[:, :16], "C-contiguous"),
        (np.broadcast_to(np.float32(0), (20, 16, 3)), "read-only"),
        (np.zeros(0, np.float32), r"got \(0,\)"),
        (np.zeros((20, 16, 6), np.float32)[..., ::2], "C-contiguous"),
        (np.zeros((20, 16, 3), np.float32, order="F"), "C-contiguous"),
        (np.zeros(20 * 16 * 3 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(20, 16, 3), "aligned"),
        (read_only(), "read-only"),
        ([0.0], "numpy array"),
    ],
)
def test_bad_out(out, message):
    before = np.copy(out)
    with pytest.raises(ImageError, match=message):
        preprocess(picture(9, 9), spec(), out=out)
    assert np.array_equal(out, before)


def test_out_must_not_overlap_the_image():
    memory = np.zeros(20 * 16 * 3 * 4, np.uint8)
    image = memory[100 : 100 + 10 * 10 * 3].reshape(10, 10, 3)
    with pytest.raises(ImageError, match="overlap"):
        preprocess(image, spec(), out=memory.view(np.float32).reshape(20, 16, 3))


def test_pad_that_leaves_nothing():
    with pytest.raises(ImageError, match="leaves no pixel"):
        preprocess(picture(1, 400), spec(fit="pad"))
    with pytest.raises(ImageError, match="canvas"):
        preprocess(picture(1, 2000), PixelSpec(height=400, width=8, resize="tf_bilinear", fit="pad"))


@pytest.mark.parametrize("recipe", ["tf_bilinear", None, {"height": 4}])
def test_spec_must_be_a_spec(recipe):
    with pytest.raises(TypeError, match="PixelSpec"):
        preprocess(picture(4, 4), recipe)


YUV = ("yuyv", "uyvy", "nv12", "nv21", "i420")


def frame(color: str, height: int, width: int, seed: int = 0) -> np.ndarray:
    """A camera's frame of random bytes, shaped as OpenCV has it."""
    packed = color in ("yuyv", "uyvy")
    shape = (height, width, 2) if packed else (height // 2 * 3, width)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def opencvs_rgb(color: str, image: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.cvtColor(image, getattr(cv2, f"COLOR_YUV2RGB_{color.upper()}"))


@pytest.mark.parametrize("color", YUV)
def test_every_yuv_value_is_opencvs(color):
    """Every y with every v, and every fifth u (all of them were compared once)."""
    y, v = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    for u in range(0, 256, 5):
        image = np.zeros((256, 512, 2), np.uint8)
        image[..., 0] = np.repeat(y, 2, axis=1)
        image[:, 0::2, 1], image[:, 1::2, 1] = u, v
        if color == "uyvy":
            image = np.ascontiguousarray(image[..., ::-1])
        elif color != "yuyv":
            luma = np.repeat(y, 2, axis=1)
            uv = np.stack([np.full((256, 256), u), v][:: -1 if color == "nv21" else 1], axis=-1)
            chroma = (
                uv.reshape(256, 512) if color != "i420" else np.concatenate([uv[..., 0], uv[..., 1]]).reshape(256, 512)
            )
            image = np.concatenate([np.repeat(luma, 2, axis=0), chroma]).astype(np.uint8)
        rgb = opencvs_rgb(color, image)
        same = PixelSpec(height=rgb.shape[0], width=rgb.shape[1], resize="cv2_nearest", dtype="uint8")
        assert np.array_equal(preprocess(image, same, color=color), rgb), u


@pytest.mark.parametrize("color", YUV)
@pytest.mark.parametrize("method", RESIZES)
def test_camera_frames_equal_their_rgb(color, method):
    rng = np.random.default_rng(3)
    for turn in range(24):
        height, width = (2 * int(v) for v in rng.integers(1, [90, 160]))
        image = frame(color, height, width, turn)
        rgb = opencvs_rgb(color, image)
        fields = {
            "resize": method,
            "fit": ("stretch", "crop", "pad")[turn % 3],
            "color": ("rgb", "bgr", "gray")[turn % 4 % 3],
        }
        recipe = spec(**fields)
        try:
            expected = preprocess(rgb, recipe)
        except ImageError:
            continue  # the fit leaves no pixel
        assert np.array_equal(preprocess(image, recipe, color=color), expected), (height, width, fields)


@pytest.mark.parametrize("color", YUV)
def test_camera_frames_may_have_padded_rows(color):
    image = frame(color, 60, 80)
    wide = np.zeros((image.shape[0], 96, *image.shape[2:]), np.uint8)
    wide[:, :80] = image
    expected = preprocess(opencvs_rgb(color, image), spec())
    assert np.array_equal(preprocess(wide[:, :80], spec(), color=color), expected)


PLANAR = ("nv12", "nv21", "i420")


def planes_of(color: str, height: int, width: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """A camera's frame in planes, each a view with a row stride of its own."""
    rng = np.random.default_rng(seed)
    sides = [(height, width), (height // 2, width // 2, 2)]
    if color == "i420":
        sides = [(height, width), (height // 2, width // 2), (height // 2, width // 2)]
    found = []
    for side in sides:
        padded = (side[0], side[1] + int(rng.integers(0, 9)), *side[2:])
        found.append(rng.integers(0, 256, padded).astype(np.uint8)[:, : side[1]])
    return tuple(found)


def opencvs_rgb_of_planes(color: str, planes: tuple[np.ndarray, ...]) -> np.ndarray:
    import cv2

    if color == "i420":
        stacked = np.concatenate([np.ravel(p) for p in planes]).reshape(-1, planes[0].shape[1])
        return opencvs_rgb(color, stacked)
    y, uv = (np.ascontiguousarray(p) for p in planes)
    return cv2.cvtColorTwoPlane(y, uv, getattr(cv2, f"COLOR_YUV2RGB_{color.upper()}"))


@pytest.mark.parametrize("color", PLANAR)
@pytest.mark.parametrize("method", RESIZES)
def test_planes_equal_their_rgb(color, method):
    rng = np.random.default_rng(4)
    for turn in range(12):
        height, width = (2 * int(v) for v in rng.integers(3, [90, 160]))
        planes = planes_of(color, height, width, turn)
        fields = {"resize": method, "color": ("rgb", "bgr", "gray")[turn % 3], "fit": ("stretch", "crop")[turn % 2]}
        roi = (1, 2, width - 3, height - 4) if turn % 4 == 3 else None
        expected = preprocess(opencvs_rgb_of_planes(color, planes), spec(**fields), roi=roi)
        assert np.array_equal(preprocess(planes, spec(**fields), color=color, roi=roi), expected), (turn, fields)
        if color != "i420":
            flat = (planes[0], np.ascontiguousarray(planes[1]).reshape(height // 2, width))
            assert np.array_equal(preprocess(flat, spec(**fields), color=color, roi=roi), expected)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forking beside threads is the point
def test_threads_that_share_an_image_start_anew_after_a_fork():
    image, recipe = picture(1080, 1920), spec(height=64, width=64, resize="tf_bilinear_antialias")
    expected = preprocess(image, recipe)
    assert np.array_equal(preprocess(image, recipe, threads=2), expected)
    child = os.fork()
    if child == 0:
        same = np.array_equal(preprocess(image, recipe, threads=2), expected)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(preprocess(image, recipe, threads=3), expected)


def test_planes_may_run_backwards_and_share_threads_and_batches():
    y, uv = planes_of("nv12", 900, 1100)
    recipe = PixelSpec(height=61, width=83, resize="pil_lanczos", fit="pad")
    expected = preprocess(opencvs_rgb_of_planes("nv12", (y, uv))[::-1], recipe)
    assert np.array_equal(preprocess((y[::-1], uv[::-1]), recipe, color="nv12", threads=2), expected)
    batch = preprocess_batch([(y[::-1], uv[::-1]), frame("nv12", 6, 8)], recipe, color="nv12")
    assert np.array_equal(batch[0], expected)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)


@pytest.mark.parametrize(
    ("planes", "color", "message"),
    [
        ((), "nv12", "must be the planes of a frame"),
        ((zeros(4, 4, 3),), "rgb", "must be the planes of a frame"),
        (([[1]], zeros(2, 4)), "nv12", "must be the planes of a frame"),
        ((zeros(4, 4, 1), zeros(2, 4)), "nv12", "must be the planes of a frame"),
        ((zeros(4, 4),), "nv12", "2 planes for color='nv12', got 1"),
        ((zeros(4, 4), zeros(2, 2), zeros(2, 2)), "nv21", "2 planes for color='nv21', got 3"),
        ((zeros(4, 4), zeros(2, 4)), "i420", "3 planes for color='i420', got 2"),
        ((zeros(5, 4), zeros(2, 4)), "nv12", "even sides, got 4x5"),
        ((zeros(4, 5), zeros(2, 4)), "nv12", "even sides, got 5x4"),
        ((zeros(0, 4), zeros(0, 4)), "nv12", "height must be 1 to"),
        ((zeros(4, 4), zeros(2, 2)), "nv12", r"plane 1 must be \(2, 4\) or \(2, 2, 2\) .*got \(2, 2\)"),
        ((zeros(4, 4), zeros(3, 4)), "nv12", r"got \(3, 4\)"),
        ((zeros(4, 4), zeros(2, 2, 3)), "nv12", r"got \(2, 2, 3\)"),
        ((zeros(4, 4), zeros(2, 2), zeros(2, 4)), "i420", r"plane 2 must be \(2, 2\) .*of 4x4, got \(2, 4\)"),
        ((zeros(4, 4), zeros(2, 4).astype(np.int16)), "nv12", "plane 1 must be uint8.*got int16"),
        ((zeros(4, 4), [[0]]), "nv12", "plane 1 must be a uint8 numpy array, got list"),
        ((zeros(4, 8)[:, ::2], zeros(2, 4)), "nv12", "plane 0 rows must be contiguous"),
        ((zeros(4, 4), zeros(2, 2, 2)[..., ::-1]), "nv12", "plane 1 rows must be contiguous"),
        ((zeros(4, 4), zeros(2, 4, 2)[:, ::2]), "nv12", "plane 1 rows must be contiguous"),
    ],
)
def test_bad_planes(planes, color, message):
    out = np.full((20, 16, 3), 7, np.float32)
    with pytest.raises(ImageError, match=message):
        preprocess(planes, spec(), out, color=color)
    assert np.all(out == 7)


def test_out_must_not_overlap_any_plane():
    memory = np.full(20 * 16 * 3 * 4, 7, np.uint8)
    out = memory.view(np.float32).reshape(20, 16, 3)
    inside = memory[100:108].reshape(2, 4)
    for planes in ((memory[:16].reshape(4, 4), zeros(2, 4)), (zeros(4, 4), inside)):
        with pytest.raises(ImageError, match="overlap"):
            preprocess(planes, spec(), out, color="nv12")
    assert np.all(memory == 7)


@pytest.mark.parametrize("color", ["rgb", "bgra", "gray", *YUV])
@pytest.mark.parametrize("method", ["tf_bilinear", "tf_area", "pil_lanczos", "cv2_cubic"])
def test_roi_is_a_cut(color, method):
    yuv = color in YUV
    image = frame(color, 90, 120) if yuv else picture(90, 120, {"bgra": 4, "gray": 1}.get(color, 3))
    whole = opencvs_rgb(color, image) if yuv else image
    for x, y, w, h in ((0, 0, 120, 90), (7, 11, 61, 40), (119, 89, 1, 1), (3, 0, 117, 90)):
        for fit in ("stretch", "crop", "pad"):
            recipe = spec(resize=method, fit=fit)
            cut = np.ascontiguousarray(whole[y : y + h, x : x + w])
            expected = preprocess(cut, recipe, color="rgb" if yuv else color)
            got = preprocess(image, recipe, color=color, roi=(x, y, w, h))
            assert np.array_equal(got, expected), (x, y, w, h, fit)


@pytest.mark.parametrize(
    ("roi", "message"),
    [
        ((0, 0, 31, 5), "region 31x5 at 0, 0 is not inside the image of 30x40"),
        ((-1, 0, 5, 5), "not inside"),
        ((25, 0, 6, 5), "not inside"),
        ((0, 0, 0, 5), "at least one pixel"),
        ((0, 0, -5, 5), "at least one pixel"),
        ((2**31 - 1, 0, 5, 5), "not inside"),
        ((0, 0, 2**40, 5), "four whole numbers"),
        ((0, 0, 5, None), "four whole numbers"),
        ((0, 0, 5), "four whole numbers"),
        ((0, 0, 5.5, 5), "four whole numbers"),
        ([0, 0, 5, 5], "must be a tuple"),
    ],
)
def test_bad_roi(roi, message):
    with pytest.raises(ImageError, match=message):
        preprocess(picture(40, 30), spec(), roi=roi)


@pytest.mark.parametrize(
    ("image", "color", "message"),
    [
        (np.zeros((4, 5, 2), np.uint8), "yuyv", "even sides, got 5x4"),
        (np.zeros((6, 5), np.uint8), "nv12", "even sides, got 5x4"),
        (np.zeros((7, 4), np.uint8), "i420", r"height \* 3 / 2, width"),
        (np.zeros((6, 4, 3), np.uint8), "nv21", r"must be \(6, 4\) for color='nv21', got \(6, 4, 3\)"),
        (np.zeros((6, 4, 1), np.uint8), "nv12", r"must be \(6, 4\)"),
        (np.zeros((6, 4, 3), np.uint8), "uyvy", r"must be \(6, 4, 2\)"),
        (np.zeros((6, 8), np.uint8)[:, ::2], "nv12", "ascontiguousarray"),
    ],
)
def test_bad_frame(image, color, message):
    with pytest.raises(ImageError, match=message):
        preprocess(image, spec(), color=color)


@pytest.mark.parametrize("threads", [1, 3])
def test_batch_of_different_sizes(threads):
    images = [picture(*size, seed=i) for i, size in enumerate([(30, 20), (9, 200), (64, 64), (1, 1), (30, 20)])]
    expected = np.stack([preprocess(image, spec()) for image in images])
    assert np.array_equal(preprocess_batch(images, spec(), threads=threads), expected)
    out = np.zeros_like(expected)
    assert preprocess_batch(images, spec(), out, threads=threads) is out
    assert np.array_equal(out, expected)
    frames = [frame("nv12", 20, 30), frame("nv12", 40, 10)]
    got = preprocess_batch(frames, spec(), color="nv12", threads=threads)
    assert np.array_equal(got[1], preprocess(frames[1], spec(), color="nv12"))
    assert preprocess_batch([], spec(), threads=threads).shape == (0, 20, 16, 3)


@pytest.mark.parametrize("threads", [1, 2])
def test_batch_names_the_bad_image(threads):
    images = [picture(9, 9), picture(9, 9).astype(np.float32), picture(9, 9)]
    with pytest.raises(ImageError, match="image 1: image must be uint8"):
        preprocess_batch(images, spec(), threads=threads)
    with pytest.raises(ImageError, match=r"out must be a numpy array of \(3, 20, 16, 3\), got \(2, 20"):
        preprocess_batch(images, spec(), np.zeros((2, 20, 16, 3), np.float32))
    with pytest.raises(ImageError, match="threads must be"):
        preprocess_batch(images, spec(), threads=0)


@pytest.mark.parametrize("method", ["tf_bilinear_antialias", "tf_area", "pil_lanczos", "pil_box", "cv2_area"])
def test_threads_give_the_same_bits(method):
    image = picture(901, 1103)
    for fields in ({}, {"fit": "crop"}, {"fit": "pad"}, {"color": "gray", "layout": "nchw"}, {"dtype": "uint8"}):
        recipe = PixelSpec(height=61, width=83, resize=method, **fields)
        expected = preprocess(image, recipe)
        for threads in (2, 3, 7):
            assert np.array_equal(preprocess(image, recipe, threads=threads), expected), (fields, threads)
    camera = frame("nv12", 900, 1100)
    recipe = PixelSpec(height=61, width=83, resize=method)
    expected = preprocess(camera, recipe, color="nv12")
    assert np.array_equal(preprocess(camera, recipe, color="nv12", threads=2), expected)


@pytest.mark.parametrize("threads", [0, -1, 1.0, 1.5, None, "2", True, 2**31, 2**70])
def test_bad_threads(threads):
    for call in (preprocess, lambda image, *rest, **options: preprocess_batch([image], *rest, **options)):
        with pytest.raises(ImageError, match="threads must be a whole number from 1 to 1024, got"):
            call(picture(9, 9), spec(), threads=threads)


def test_batch_refuses_what_is_no_list_of_images():
    for images in (None, iter([picture(9, 9)]), {0: picture(9, 9)}, {1}):
        with pytest.raises(ImageError, match="images must be a list of arrays"):
            preprocess_batch(images, spec())
    with pytest.raises(TypeError, match="PixelSpec"):
        preprocess_batch([picture(9, 9)], None)


def test_batch_leaves_images_alone_that_lie_in_out():
    memory = np.full(2 * 20 * 16 * 3, 7, np.float32)
    out = memory.reshape(2, 20, 16, 3)
    inside = memory[:90].view(np.uint8)[: 10 * 12 * 3].reshape(10, 12, 3)  # of out[0]; its own row is out[1]
    for late in (inside, (inside[..., 0], zeros(5, 12))):
        color = "rgb" if isinstance(late, np.ndarray) else "nv12"
        first = picture(9, 9) if color == "rgb" else frame("nv12", 6, 8)
        with pytest.raises(ImageError, match="image 1: out must not overlap image"):
            preprocess_batch([first, late], spec(), out, color=color)
    assert np.all(memory == 7)
