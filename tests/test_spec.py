import json

import pytest

from edgecnn import ColumnSpec, ModelSpec, PixelSpec, SpecError, TableSpec
from edgecnn.spec import MAX_SIDE, RESIZES

PIXELS = {"height": 64, "width": 48}


def test_survives_json():
    spec = ModelSpec(
        pixels=PixelSpec(
            **PIXELS,
            resize="pil_lanczos",
            pillow=12,
            fit="crop",
            color="bgr",
            divisor=127.5,
            offset=-1.0,
            layout="nchw",
        ),
        labels=("개", "cat"),
        provenance={"source": "model.h5"},
    )
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert json.loads(spec.to_json())["schema"] == 1
    table = ModelSpec(table=TableSpec(fields=("a", "b", "y"), target="y"), head="regression")
    assert ModelSpec.from_json(table.to_json()) == table
    assert table.table.columns == ("a", "b")


def test_keeps_every_bit_of_a_scale():
    spec = ModelSpec(pixels=PixelSpec(**PIXELS, scale=1 / 255))
    assert ModelSpec.from_json(spec.to_json()).pixels.scale == 1 / 255


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "height must be a whole number from 1"),
        ({"height": MAX_SIDE + 1}, "height must be a whole number"),
        ({"height": 8000, "width": 8000}, "has more than 16777216 pixels"),
        ({"width": 64.0}, "width must be a whole number"),
        ({"width": True}, "width must be a whole number"),
        ({"resize": "bilinear"}, "resize must be one of tf_nearest"),
        ({"resize": None}, "resize must be one of"),
        ({"pillow": 11}, "pillow must be a whole number from 12 to 13"),
        ({"pillow": 12.0}, "pillow must be a whole number"),
        ({"pillow": True}, "pillow must be a whole number"),
        ({"fit": "squash"}, "fit must be one of"),
        ({"color": "yuv"}, "color must be one of"),
        ({"decode": "png"}, "decode must be one of"),
        ({"dtype": "float16"}, "dtype must be one of"),
        ({"layout": "chw"}, "layout must be one of"),
        ({"exif": 1}, "exif must be true or false"),
        ({"scale": float("nan")}, "scale must be a finite number"),
        ({"scale": "1"}, "scale must be a finite number"),
        ({"offset": float("inf")}, "offset must be a finite number"),
        ({"divisor": 0}, "divisor must not be 0"),
        ({"scale": 10**400}, "scale must be a finite number, at most 3\\.4e"),
        ({"scale": 3.5e38}, "scale must be a finite number, at most 3\\.4e"),
        ({"divisor": -1e-46}, "divisor must not be 0, nor below 1.4e-45, which float32 rounds to 0"),
        ({"mean": (0, 0, 0), "std": (1, 1e-46, 1)}, "std must not be 0, nor below"),
        ({"divisor": 255, "scale": 0.5}, "give scale or divisor, not both"),
        ({"mean": (1, 2, 3)}, "mean and std belong together"),
        ({"mean": (1, 2), "std": (1, 1)}, "mean needs 3 numbers"),
        ({"mean": (1, 2, 3), "std": (1, 0, 1)}, "std must not be 0"),
        ({"mean": 1.0, "std": 1.0}, "mean needs 3 numbers"),
        ({"pad_value": 256}, "pad_value must be a whole number from 0 to 255"),
        ({"dtype": "uint8", "scale": 0.5}, "dtype uint8 takes the pixels as they are"),
    ],
)
def test_refuses_a_recipe_that_makes_no_sense(change, message):
    with pytest.raises(SpecError, match=message):
        PixelSpec(**{**PIXELS, **change})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[1]", "must be a JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ('{"schema": 2}', "schema 2, this edgecnn reads 1; upgrade"),
        ('{"schema": true}', "schema True"),
        ("{}", "schema None"),
        ('{"schema": 1, "color": "rgb"}', "unknown field 'color'"),
        ('{"schema": 1, "pixels": {"height": 8}}', "incomplete: .*width"),
        ('{"schema": 1, "pixels": {"height": 8, "width": 8, "sharpen": 1}}', "unknown field 'sharpen'"),
        ('{"schema": 1, "pixels": 5}', "must be a JSON object, got int"),
        ('{"schema": 1, "labels": "ab"}', "labels must be a list of strings"),
        ('{"schema": 1, "head": "argmax"}', "head must be one of"),
        ('{"schema": 1, "provenance": {"a": 1}}', "provenance must map strings"),
        ('{"schema": 1, "table": {"fields": []}}', "at least one input column"),
        ('{"schema": 1, "table": {"fields": ["a", "a"]}}', "different from each other"),
        ('{"schema": 1, "table": {"fields": ["a", "b"], "target": "c"}}', "not one of the fields"),
        (
            '{"schema": 1, "table": {"fields": ["a"]}, "pixels": {"height": 8, "width": 8}}',
            "for pixels or for a table, not for both",
        ),
    ],
)
def test_refuses_json_that_it_does_not_understand(text, message):
    with pytest.raises(SpecError, match=message):
        ModelSpec.from_json(text)


def test_describes_itself_in_one_line():
    spec = PixelSpec(**PIXELS, resize="pil_lanczos", fit="crop", divisor=127.5, offset=-1.0)
    assert spec.describe() == ("pil decode, rgb, crop, pil_lanczos to 48x64, x / 127.5 - 1, float32 nhwc")
    older = PixelSpec(**PIXELS, resize="pil_lanczos", pillow=12)
    assert "pil_lanczos of Pillow 12 and older to 48x64" in older.describe()
    fast = PixelSpec(**PIXELS, decode="fast", exif=True)
    assert fast.describe().startswith("fast decode (not exact: JPEGs shrunk in the DCT) with EXIF rotation, rgb")
    assert "values 0..255" in PixelSpec(**PIXELS).describe()
    assert "(x - mean) / std" in PixelSpec(**PIXELS, mean=(1, 2, 3), std=(1, 1, 1)).describe()


@pytest.mark.parametrize(
    ("fields", "shape"),
    [({}, (64, 48, 3)), ({"color": "gray"}, (64, 48, 1)), ({"layout": "nchw"}, (3, 64, 48))],
)
def test_shape_follows_layout_and_colour(fields, shape):
    assert PixelSpec(**PIXELS, **fields).shape == shape


def test_the_kernel_knows_every_resize():
    import numpy as np

    from edgecnn import preprocess

    image = np.full((5, 5, 3), 77, np.uint8)
    for resize in RESIZES:
        small = preprocess(image, PixelSpec(height=3, width=3, resize=resize))
        np.testing.assert_allclose(small, 77, rtol=1e-6, err_msg=resize)


def test_columns_survive_json_and_describe_themselves():
    columns = (
        ColumnSpec(name="age", missing=("0",), fill=29, indicator=True),
        ColumnSpec(name="city", kind="category", categories=("", "Oslo", "Rome"), unseen="other"),
        ColumnSpec(name="size"),
    )
    table = TableSpec(fields=("age", "id", "city", "size", "y"), target="y", inputs=columns, missing=("", "na"))
    spec = ModelSpec(table=table, head="regression")
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert (table.columns, table.width) == (("age", "city", "size"), 7)
    assert table.describe() == "3 columns -> 7 inputs; missing: empty, na"
    assert [c.describe() for c in columns] == [
        "number; missing or 0 -> 29, and 1 in an input of its own",
        "category: (missing), Oslo, Rome; any other value is (other), as rare ones were",
        "number; must not be missing",
    ]


def test_a_model_from_before_the_column_recipes_still_reads():
    text = '{"schema": 1, "table": {"fields": ["a", "y"], "target": "y", "header": true, "delimiter": ";"}}'
    table = ModelSpec.from_json(text).table
    assert (table.inputs, table.missing, table.width) == (None, (), 1)
    assert table.recipes == (ColumnSpec(name="a"),)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"kind": "text"}, "kind must be one of number, category"),
        ({"kind": "category"}, "has no categories"),
        ({"kind": "category", "categories": ["a", "a"]}, "same category twice"),
        ({"kind": "category", "categories": ["a"], "fill": 1}, "can't have fill"),
        ({"kind": "category", "categories": ["a"], "unseen": "guess"}, "unseen must be one of"),
        ({"categories": ["a"]}, "holds numbers, so it can't have categories"),
        ({"indicator": True}, "has an indicator, so it needs a fill"),
        ({"indicator": 1, "fill": 1}, "indicator must be true or false"),
        ({"fill": float("nan")}, "fill must be a finite number"),
        ({"fill": 1e39}, "fill must be a finite number, at most 3\\.4e"),
        ({"missing": ["inf"]}, "missing must be a finite number"),
        ({"missing": ["zero"]}, "missing must be a finite number"),
        ({"missing": "0"}, "missing must be a list of strings"),
        ({"name": "b"}, "inputs must be fields in their order, without the target"),
        ({"name": "y"}, "inputs must be fields in their order, without the target"),
        ({"name": 1}, "name of a column must be a string"),
        ({"scale": 1}, "column recipe has the unknown field 'scale'"),
    ],
)
def test_refuses_a_column_that_makes_no_sense(column, message):
    with pytest.raises(SpecError, match=message):
        TableSpec(fields=("a", "y"), target="y", inputs=({"name": "a", **column},))


def test_refuses_columns_that_do_not_fit_together():
    with pytest.raises(SpecError, match="inputs must be a list of columns, got str"):
        TableSpec(fields=("a", "b"), inputs="ab")
    with pytest.raises(SpecError, match="fields in their order"):
        TableSpec(fields=("a", "b"), inputs=({"name": "b"}, {"name": "a"}))
    with pytest.raises(SpecError, match="at least one input column"):
        TableSpec(fields=("a", "b"), inputs=())
