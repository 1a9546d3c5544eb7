import json

from edgecnn.cli import main


def test_times_every_stage(image_model, rows_model, capsys):
    assert main(["bench", str(image_model), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["stages"]) == {
        "decode 1920x1080 JPEG", "preprocess 1920x1080", "predict JPEG, all stages", "inference, batch 1",
        "inference, batch 8",
    }  # fmt: skip
    assert all(0 < t["median_ms"] <= t["p95_ms"] and t["runs"] >= 5 for t in report["stages"].values())
    whole, decode = (report["stages"][n]["median_ms"] for n in ("predict JPEG, all stages", "decode 1920x1080 JPEG"))
    assert whole > decode * 0.8
    assert main(["bench", str(rows_model)]) == 0
    assert "inference, batch 8" in capsys.readouterr().out
