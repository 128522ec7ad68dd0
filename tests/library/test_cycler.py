"""Logs of cyclers as their makers write them, and charge and voltage at the times of measurements."""

import struct
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from xrdct.cli import main
from xrdct.cycler import align, capacities, charge
from xrdct.errors import CyclerError
from xrdct.io.cycler import CyclerLog, read_cycler

HOUR = 3600.0
STARTED = datetime(2026, 3, 5, 10, 15, 30, 500000, tzinfo=UTC)


def cycled(currents=(1.0, 0.0, -0.5, 0.0), hours=(1.0, 0.5, 1.9, 0.1), cycles=2, step=10.0):
    """Constant currents one after the other; the voltage follows the charge."""
    time = np.arange(0, cycles * sum(hours) * HOUR, step)
    edges = np.cumsum(np.tile(hours, cycles)) * HOUR
    current = np.tile(currents, cycles)[np.minimum(np.searchsorted(edges, time, side="right"), len(edges) - 1)]
    voltage = 3.0 + np.r_[0, np.cumsum((current[1:] + current[:-1]) / 2 * step)] / HOUR
    return time, voltage, current


def write_mpt(path, time, voltage, current):
    head = [
        "EC-Lab ASCII FILE",
        "Nb header lines : 5                          ",
        "",
        f"Acquisition started on : {STARTED.strftime('%m/%d/%Y %H:%M:%S.%f')}",
        "\t".join(["mode", "time/s", "Ewe/V", "<I>/mA", "cycle number"]),
    ]
    rows = [f"1\t{t:.6E}\t{v:.7E}\t{1000 * i:.7E}\t0.0" for t, v, i in zip(time, voltage, current, strict=True)]
    path.write_bytes("\r\n".join(head + rows).encode("latin-1"))
    return path


def test_biologic_text_is_read_with_its_start(tmp_path):
    time, voltage, current = cycled()
    log = read_cycler(write_mpt(tmp_path / "cell.mpt", time, voltage, current))
    np.testing.assert_allclose(log.time_s, time, rtol=1e-5)
    np.testing.assert_allclose(log.current_A, current, atol=1e-9)
    assert log.started == pytest.approx(STARTED.timestamp())


MPR_COLUMNS = {4: ("time/s", "<f8"), 6: ("Ewe/V", "<f4"), 23: ("dQ/mA.h", "<f8"), 24: ("cycle number", "<f8")}
"""Numbers by which the binary form knows its columns."""


def write_mpr(path, time, voltage, charge_step):
    """As EC-Lab before 11.50: modules of settings, data (their columns by number) and log (when it began)."""
    records = np.zeros(time.size, dtype=list(MPR_COLUMNS.values()))
    records["time/s"], records["Ewe/V"], records["dQ/mA.h"] = time, voltage, charge_step
    head = struct.pack("<IB", time.size, len(MPR_COLUMNS)) + np.array([*MPR_COLUMNS], "<u2").tobytes()
    begun = STARTED.replace(tzinfo=None) - datetime(1899, 12, 30)
    log = bytes(465) + struct.pack("<d", begun / timedelta(days=1)) + bytes(200)
    modules = {b"VMP Set": (0, b""), b"VMP data": (2, head.ljust(405, b"\0") + records.tobytes()), b"VMP LOG": (0, log)}
    with open(path, "wb") as file:
        file.write(b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + bytes(4))
        for name, (version, body) in modules.items():
            date = STARTED.strftime("%m/%d/%y").encode()
            file.write(b"MODULE" + name.ljust(10) + bytes(25) + struct.pack("<II", len(body), version) + date + body)
    return path


def test_biologic_binary_is_read_as_its_text(tmp_path):
    time, voltage, current = cycled()
    step = np.diff(time, prepend=0)
    text = read_cycler(write_mpt(tmp_path / "cell.mpt", time, voltage, current))
    log = read_cycler(write_mpr(tmp_path / "cell.mpr", time, voltage, 1000 * current * step / HOUR))
    np.testing.assert_allclose(log.time_s, text.time_s, rtol=1e-6)
    np.testing.assert_allclose(log.voltage_V, text.voltage_V, rtol=1e-6)  # single precision
    np.testing.assert_allclose(log.current_A[1:], text.current_A[1:], atol=1e-9)  # nothing is known before the first
    assert log.started == pytest.approx(text.started, abs=1e-3)


def test_a_binary_log_that_cannot_be_read_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "a.mpr").write_bytes(b"something else")
    with pytest.raises(CyclerError, match=r"a\.mpr: galvani does not know this form \(Invalid magic.*as text"):
        read_cycler(tmp_path / "a.mpr")
    with pytest.raises(CyclerError, match=r"none\.mpr: cannot be read: No such file"):
        read_cycler(tmp_path / "none.mpr")
    monkeypatch.setitem(sys.modules, "galvani.BioLogic", None)
    with pytest.raises(CyclerError, match="needs galvani: `pip install galvani`; or export as text"):
        read_cycler(tmp_path / "a.mpr")


def test_decimal_commas_and_a_latin_head_are_read(tmp_path):
    path = write_mpt(tmp_path / "cell.mpt", *cycled())
    text = path.read_text(encoding="latin-1").replace("EC-Lab ASCII FILE", "EC-Lab ASCII FILE 25 °C 3 µA")
    head, rows = text.split("cycle number")
    path.write_bytes((head + "cycle number" + rows.replace(".", ",")).encode("latin-1"))
    assert read_cycler(path).voltage_V[0] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("maker", "header", "scale"),
    [
        ("arbin", "Data_Point,Test_Time(s),Cycle_Index,Current(A),Voltage(V)", (1, 1)),
        ("neware", "Record,Total Time(s),Cycle Index,Current(A),Voltage(V)", (1, 1)),
    ],
)
def test_makers_tables_are_read(tmp_path, maker, header, scale):
    time, voltage, current = cycled(cycles=1)
    rows = [f"{k},{t},1,{i},{v}" for k, (t, v, i) in enumerate(zip(time, voltage, current, strict=True))]
    (tmp_path / "log.csv").write_text("\n".join([header, *rows]))
    log = read_cycler(tmp_path / "log.csv", maker=maker)
    np.testing.assert_allclose(log.voltage_V, voltage)
    assert set(log.cycle) == {1}
    assert log.started is None


def test_a_mapping_of_columns_reads_any_table_with_its_units_and_dates(tmp_path):
    lines = ["Date;E(mV);I_mA"] + [f"2026-03-05 10:15:{30 + k}.500;{3000 + k};{10 * k}" for k in range(5)]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    log = read_cycler(tmp_path / "log.csv", columns={"time": "Date", "voltage": "E(mV)", "current": "I_mA"})
    assert log.started == pytest.approx(STARTED.timestamp())
    np.testing.assert_allclose(log.time_s, np.arange(5))
    np.testing.assert_allclose(log.voltage_V, 3 + 0.001 * np.arange(5))
    np.testing.assert_allclose(log.current_A, 0.01 * np.arange(5))


def test_a_log_is_put_into_its_zone_and_one_without_date_starts_when_it_is_said(tmp_path):
    path = write_mpt(tmp_path / "cell.mpt", *cycled())
    # Paris is an hour ahead of UTC in winter: the same clock there showed this time an hour earlier.
    assert read_cycler(path, zone="Europe/Paris").started == pytest.approx(STARTED.timestamp() - HOUR)
    (tmp_path / "log.csv").write_text("time_s,voltage_V,current_A\n5,3,1\n6,3,1\n")
    log = read_cycler(tmp_path / "log.csv", zone="Asia/Tokyo", log_start="2026-03-05T10:15:25.5")
    assert log.started == pytest.approx(STARTED.timestamp() - 9 * HOUR)
    assert read_cycler(path, log_start="2020-01-01").started == pytest.approx(STARTED.timestamp())  # it says when


def test_capacity_per_cycle_is_current_times_time():
    time, voltage, current = cycled()
    log = CyclerLog(time, voltage, current, np.zeros(time.size, int), None)
    first, second = capacities(log)
    # A step of 10 s at every change of current: 1 A × 10 s = 0.003 Ah at most.
    assert first.charge_Ah == pytest.approx(1.0, abs=0.003)
    assert first.discharge_Ah == pytest.approx(0.95, abs=0.003)
    assert second.efficiency == pytest.approx(0.95, abs=0.005)
    total = charge(log)[-1]
    assert total == pytest.approx(sum(one.charge_Ah - one.discharge_Ah for one in (first, second)), abs=1e-9)


def test_measurements_get_the_state_of_the_cell_by_the_clock_with_its_offset():
    time, voltage, current = cycled()
    log = CyclerLog(time, voltage, current, np.zeros(time.size, int), 1000.0)
    found = align(log, 1000.0 + np.array([0.5, 1.2, 99.0]) * HOUR - 120.0, offset_s=120.0)
    assert found.charge_Ah[:2] == pytest.approx([0.5, 1.0], abs=0.003)
    assert found.voltage_V[0] == pytest.approx(3.5, abs=0.003)
    assert found.current_A[1] == pytest.approx(0.0)
    assert np.isnan(found.voltage_V[2])
    assert found.cycle[2] == -1
    with pytest.raises(CyclerError, match=r"\+1\.\d\d h away"):
        align(log, np.array([1000.0 + time[-1] + 1.5 * HOUR]))


def test_logs_that_cannot_be_read_say_why(tmp_path):
    (tmp_path / "a.csv").write_text("time_s,voltage_V\n0,3\n")
    with pytest.raises(CyclerError, match="no column current_A; found time_s, voltage_V"):
        read_cycler(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("time_s,voltage_V,current_A\n0,3,1\n1,x,1\n")
    with pytest.raises(CyclerError, match="record 2: 'x' in column voltage_V"):
        read_cycler(tmp_path / "b.csv")
    (tmp_path / "c.mpt").write_text("something else")
    with pytest.raises(CyclerError, match="Nb header lines"):
        read_cycler(tmp_path / "c.mpt")
    with pytest.raises(CyclerError, match="cannot be read"):
        read_cycler(tmp_path / "none.csv")


def test_the_command_prints_the_capacity_of_every_cycle(tmp_path, capsys):
    path = write_mpt(tmp_path / "cell.mpt", *cycled())
    assert main(["cycler", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert float(lines[1].split("\t")[1]) == pytest.approx(1.0, abs=0.003)
    assert main(["cycler", str(path), "--column", "voltage"]) == 2
    assert "QUANTITY=NAME" in capsys.readouterr().err
