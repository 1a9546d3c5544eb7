import json

import pytest

from edgecnn import doctor
from edgecnn.cli import main


def test_reports_what_is_there(capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["device"].endswith("ExecutionProvider")
    assert report["kernel"]["isa"] in report["kernel"]["available"]
    assert report["packages"]["numpy"]
    assert main(["doctor"]) == 0
    assert "providers" in capsys.readouterr().out


@pytest.mark.parametrize("pair", doctor._RIVALS)
def test_packages_that_overwrite_each_other_are_a_problem(pair, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0" if name in pair else None)
    assert any(f"{pair[0]} and {pair[1]} are both installed" in p for p in doctor.examine()["problems"])
