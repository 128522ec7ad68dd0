"""Fits of laboratory patterns: a second wavelength, and real data whose answer others have refined."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from support_fit import PIXEL, PROFILE
from xrdct.calibration.profile import InstrumentProfile
from xrdct.config import PhaseSetSettings
from xrdct.errors import FitError
from xrdct.fit.laboratory import laboratory_pattern
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.fit.solve import fit_patterns
from xrdct.units import q_from_two_theta, two_theta_from_q

KA1, KA2 = 1.5405, 1.5443
"""Cu, Å, as the refinement of the fluorapatite took them."""
BOTH = {"ratio": KA2 / KA1, "share": 0.5}
CAGLIOTI = 8 * np.log(2) * 1e-4  # a variance in hundredths of a degree squared, as FWHM² in degrees²
LABORATORY = InstrumentProfile(
    u=2 * CAGLIOTI, v=-2 * CAGLIOTI, w=5 * CAGLIOTI, eta0=0.1, eta1=0.0, two_theta_range=(15.0, 130.0),
    wavelength=KA1, q_step=0.0014, trim=0.0, lines=(),
)  # fmt: skip


def apatite(q, *, second):
    phase = {"name": "FAP", "cell": {"a": 9.38, "c": 6.88}, "free": {"a": [9.32, 9.43], "c": [6.84, 6.93]}}
    settings = {
        "name": "fluorapatite",
        "q_min": q[0] * (1 - 1e-9),
        "q_max": q[-1] * (1 + 1e-9),
        "background_degree": 8,
        "phases": [{**phase, "size_nm": 150, "size_limits_nm": [20, 2000]}],
        "second_wavelength": second,
    }
    return PatternModel(load_phase_set(PhaseSetSettings.model_validate(settings)), q, LABORATORY)


def nca(second=None):
    settings = {"name": "one", "q_min": 1.2, "q_max": 2.8, "phases": [{"name": "NCA"}], "second_wavelength": second}
    phases = load_phase_set(PhaseSetSettings.model_validate(settings))
    return PatternModel(phases, np.arange(1.2, 2.8, PIXEL), PROFILE)


def test_a_second_wavelength_shows_every_line_again_where_bragg_puts_it():
    model = nca({"ratio": 1.02, "share": 0.5})
    first, both = (m.units(m.start)[0] for m in (nca(), model))
    added = both - first
    window = np.abs(model.q - 1.34) < 0.05  # 003, alone: its second line is at 1.02 q
    centre, again = (np.sum(p[window] * model.q[window]) / p[window].sum() for p in (first, added))
    # Centres of mass within a window that the lines do not fill alike: half a per mille.
    assert again / centre == pytest.approx(1.02, rel=1.5e-3)
    assert added[window].sum() / first[window].sum() == pytest.approx(0.5, rel=0.02)


def test_bins_even_in_q_belong_to_the_angles_without_the_displacement():
    two_theta = np.linspace(20, 90, 7001)
    counts = 1 + 1e4 * np.exp(-((two_theta - 50.03) ** 2) / 0.02)
    q, intensity, variance = laboratory_pattern(two_theta, counts, wavelength=KA1, displacement=0.05)
    at = np.degrees(two_theta_from_q(q[intensity.argmax()], wavelength=KA1))
    true = 50.03 - 0.05 * np.cos(np.radians(50.03 / 2))
    assert at == pytest.approx(true, abs=0.01)  # a bin
    np.testing.assert_allclose(np.diff(q), q[1] - q[0])
    polarization = (1 + np.cos(np.radians(true)) ** 2) / 2
    assert intensity.max() == pytest.approx(1e4 / polarization, rel=2e-3)
    assert variance.max() == pytest.approx(1e4 / polarization**2, rel=2e-3)


@pytest.mark.parametrize(
    ("angles", "counts", "wavelength", "message"),
    [
        ([20, 21, 22], [1, -3, 2], KA1, r"1 of 3 counts are negative or no number \(first: -3 at 21°\)"),
        ([20, 21, 22], [1, np.nan, np.nan], KA1, "2 of 3 counts are negative or no number"),
        ([20, 22, 21], [1, 2, 3], KA1, "increasing"),
        ([20, 21], [1, 2, 3], KA1, "3 counts need as many angles, increasing; there are 2"),
        ([20, 21, 22], [1, 2, 3], 0.0, "a wavelength in Å is needed"),
    ],
)
def test_what_is_no_pattern_is_refused(angles, counts, wavelength, message):
    with pytest.raises(FitError, match=message):
        laboratory_pattern(np.array(angles), np.array(counts), wavelength=wavelength)


@pytest.mark.real_data
def test_fluorapatite_has_the_refined_cell(real_data):
    """GSAS refined a 9.371724(36), c 6.885867(37) Å, and a displacement of 0.0490° (`shft` in FAP.EXP)."""
    rows = (real_data / "fap_lab" / "FAP.XRA").read_text().splitlines()[2:]
    counts = np.array([float(row[k : k + 8]) for row in rows for k in range(0, 80, 8) if row[k : k + 8].strip()])
    two_theta = 15 + 0.02 * np.arange(counts.size)
    used = (two_theta > 24) & (two_theta < 100)  # below, lines are skewed by axial divergence

    def fitted(displacement, second=BOTH):
        q, intensity, variance = laboratory_pattern(
            two_theta[used], counts[used], wavelength=KA1, displacement=displacement
        )
        model = apatite(q, second=second)
        return model, fit_patterns(model, intensity[model.inside], variance=variance[model.inside], absolute=False)

    best = minimize_scalar(
        lambda value: fitted(value)[1].chi2[0], bounds=(-0.1, 0.1), method="bounded", options={"xatol": 2e-3}
    ).x
    model, found = fitted(best)
    cell = [found.parameters[0, model.place("FAP", name)] for name in ("a", "c")]
    assert cell == pytest.approx([9.371724, 6.885867], abs=5e-4)
    assert abs(best) == pytest.approx(0.049, abs=0.004)
    assert found.rwp[0] < 0.12
    # With one wavelength the same lines cannot be described.
    assert fitted(best, second=None)[1].rwp[0] > 2 * found.rwp[0]


AG = 0.55941
"""Kα1 of silver, Å."""
OLIVINE = {"LFP": (10.33, 6.009, 4.698), "FP": (9.81, 5.804, 4.788)}
"""a, b, c in Å of sequential refinements of another run on the same compounds (SeqRR_results_NE.txt)."""


def operando(folder, zero):
    """The 13 patterns with `zero` (degrees) taken off every angle, four bins made one: q, counts, empty cell."""
    columns = [np.loadtxt(path) for path in sorted(folder.glob("20230126*.xy.gz"))]
    empty = np.loadtxt(folder / "AMPIX2_background_0-5min.xy.gz")
    two_theta = two_theta_from_q(columns[0][:, 0], wavelength=AG) - np.radians(zero)
    own = q_from_two_theta(two_theta, wavelength=AG)
    n = own.size // 4 * 4
    four = own[:n].reshape(-1, 4).mean(axis=1)
    q = np.linspace(four[0], four[-1], four.size)
    counts = [np.interp(q, four, pattern[:n, 1].reshape(-1, 4).sum(axis=1)) for pattern in columns]
    background = np.interp(columns[0][:, 0], *empty.T)[:n].reshape(-1, 4).sum(axis=1)
    return q, np.array(counts), np.interp(q, four, background)


def olivine(q):
    phases = [
        {
            "name": name,
            "cell": dict(zip("abc", cell, strict=True)),
            "free": {edge: [0.985 * value, 1.015 * value] for edge, value in zip("abc", cell, strict=True)},
            "size_nm": 100,
            "size_limits_nm": [15, 1000],
        }
        for name, cell in OLIVINE.items()
    ]
    settings = {"name": "olivine", "q_min": 1.35, "q_max": 3.6, "background_degree": 8, "phases": phases}
    profile = InstrumentProfile(
        u=0.0, v=0.0, w=0.006, eta0=0.2, eta1=0.0, two_theta_range=(4.0, 36.0), wavelength=AG, q_step=0.00392,
        trim=0.0, lines=(),
    )  # fmt: skip
    return PatternModel(load_phase_set(PhaseSetSettings.model_validate(settings)), q, profile)


@pytest.mark.real_data
def test_the_two_phases_of_a_working_cathode_mirror_each_other(real_data):
    """An operando LiFePO4 cell over more than a cycle. Nobody calibrated its zero, and what it changes most is c, whose
    lines (101, 111) are the first: with the angles as they are c of both phases comes out 0.4 % long."""

    def mean_of(zero):
        q, counts, empty = operando(real_data / "lfp_operando_lab", zero)
        model = olivine(q)
        net, variance = (counts - empty)[:, model.inside], (counts + empty)[:, model.inside]
        mean = fit_patterns(model, net.mean(axis=0), variance=variance.mean(axis=0), absolute=False, most=200)
        return model, net, variance, mean

    best = minimize_scalar(
        lambda zero: mean_of(zero)[-1].chi2[0], bounds=(-0.1, 0.05), method="bounded", options={"xatol": 5e-3}
    ).x
    model, net, variance, mean = mean_of(best)
    for name, known in OLIVINE.items():
        cell = [mean.parameters[0, model.place(name, edge)] for edge in "abc"]
        # Another cell, another instrument, and a zero that nobody measured: half a per cent.
        assert cell == pytest.approx(known, rel=5e-3), name
    each = fit_patterns(
        model, net, variance=variance, start=mean.parameters[0], level="linear", search=False, absolute=False
    )
    scales = each.parameters[:, model.scale_places]
    assert np.corrcoef(scales.T)[0, 1] < -0.9
    assert scales.max(axis=0).min() > 5 * scales.min(axis=0).max()  # each comes and goes
