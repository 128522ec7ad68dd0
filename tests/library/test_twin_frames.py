"""The twin's detector, phantom and frames, against pyFAI's geometry and closed forms; every artefact on its own."""

import fabio
import numpy as np
import pytest
import xarray as xr
from pyFAI.calibrant import get_calibrant
from pyFAI.detectors import Detector as PyfaiDetector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator
from scipy.stats import chi2
from small_beamtime import IDEAL, one_subset, small

from xrdct.geometry import lateral_position
from xrdct.twin.cell import material_maps, material_names
from xrdct.twin.detector import draw_defects, place_pixels, wavelength
from xrdct.twin.frames import record
from xrdct.twin.parameters import Beam, Detector, load_parameters
from xrdct.twin.simulate import simulate


def pyfai_geometry(detector, beam):
    """The same detector in pyFAI, whose geometry is its own."""
    pixel = detector.pixel_um * 1e-6
    geometry = AzimuthalIntegrator(
        detector=PyfaiDetector(pixel, pixel, max_shape=detector.shape, orientation=3),
        wavelength=12.398419843320026e-10 / beam.energy_kev,
    )
    row, column = detector.beam_centre
    geometry.setFit2D(
        detector.distance_mm, column, row, tilt=detector.tilt_deg, tiltPlanRotation=detector.tilt_plane_deg
    )
    return geometry


@pytest.mark.parametrize(("tilt", "plane"), [(0, 0), (0.15, 25), (8, 25), (8, 140), (8, -100)])
def test_pixels_stand_where_pyfai_has_them(tilt, plane):
    detector = Detector(
        shape=(60, 80), pixel_um=2000, distance_mm=300, beam_centre=(21.3, 47.8), tilt_deg=tilt, tilt_plane_deg=plane
    )
    beam = Beam(energy_kev=40, dose=1, polarization=0.9)
    pixels, geometry = place_pixels(detector, beam), pyfai_geometry(detector, beam)
    np.testing.assert_allclose(pixels.q, geometry.center_array(unit="q_A^-1"), atol=1e-6)
    # pyFAI measures solid angles against the foot of the perpendicular, as the twin does; single precision.
    solid_angle, polarisation = geometry.solidAngleArray(), geometry.polarization(factor=0.9)
    np.testing.assert_allclose(pixels.efficiency, solid_angle * polarisation, rtol=2e-5)
    assert np.ptp(polarisation) > 0.01
    assert np.ptp(solid_angle) > 0.01


@pytest.mark.parametrize(("factor", "weakest"), [(1, "row"), (-1, "column")])
def test_a_polarised_beam_scatters_less_along_its_electric_field(factor, weakest):
    detector = Detector(shape=(41, 41), pixel_um=2000, distance_mm=100, beam_centre=(20.5, 20.5))
    beam = Beam(energy_kev=40, dose=1, polarization=factor)
    efficiency = place_pixels(detector, beam).efficiency
    along_row, along_column = efficiency[20, 40], efficiency[40, 20]
    assert (along_row < along_column) == (weakest == "row")


def test_the_wavelength_of_95_kev():
    assert wavelength(95) == pytest.approx(0.130509, abs=1e-6)  # as printed in the NCA 18650 paper


def test_the_calibrants_rings_have_the_radii_that_pyfai_gives_ceria(tmp_path):
    parameters = load_parameters("tiny")
    parameters = parameters.model_copy(update={"states": parameters.states[:1]})
    quick = {"n_positions": 2, "n_projections": 1, "n_subsets": 1, "step_mm": 1.5}
    parameters = parameters.model_copy(update={"scan": parameters.scan.model_copy(update=quick)})
    simulate(parameters, tmp_path, workers=1, quiet=True)
    frame, mask = (fabio.open(tmp_path / "raw" / name).data for name in ("CeO2.cbf", "mask.edf"))
    geometry = pyfai_geometry(parameters.detector, parameters.beam)
    two_theta = geometry.center_array(unit="2th_rad")
    ceria = get_calibrant("CeO2")
    ceria.wavelength = geometry.wavelength
    pixel = parameters.detector.pixel_um / 1000 / parameters.detector.distance_mm
    good = (mask == 0) & (frame < 50 * np.median(frame[frame >= 0]))  # without the brightest hot pixels
    rings = [ring for ring in ceria.get_2th() if ring < two_theta[good].max() - 6 * pixel]
    assert len(rings) == 3  # 111, 200 and 220
    for ring in rings:
        near = good & (np.abs(two_theta - ring) < 4 * pixel)
        level = np.median(frame[good & (np.abs(two_theta - ring) > 4 * pixel) & (np.abs(two_theta - ring) < 6 * pixel)])
        weight = np.clip(frame[near] - level, 0, 20 * np.median(frame[near]))
        # Centroid of a peak of 1.3 pixels over 200 pixels; hot pixels under the ring pull it by up to a tenth.
        assert np.average(two_theta[near], weights=weight) == pytest.approx(ring, abs=0.15 * pixel)


def test_an_ideal_frame_is_path_lengths_times_patterns_times_efficiency(tmp_path):
    parameters = small(IDEAL)
    frames, _ = one_subset(parameters, tmp_path)
    truth = xr.open_zarr(tmp_path / "truth" / "discharged_2p65V.zarr", consolidated=False, chunks=None)
    geometry = pyfai_geometry(parameters.detector, parameters.beam)
    efficiency = geometry.solidAngleArray() * geometry.polarization(factor=0.95)
    q = geometry.center_array(unit="q_A^-1")
    angles = truth.line_angle.values[0]
    for line in range(parameters.scan.n_projections):
        paths = truth.path_length.sel(angle=angles[line]).values
        for point in range(parameters.scan.n_positions):
            pattern = paths[:, point] @ truth.phase_pattern.values
            expected = np.interp(q, truth.q.values, pattern) * efficiency
            # Rounded to whole counts; the truth is single precision.
            np.testing.assert_allclose(frames[line, point], expected, atol=0.51, rtol=1e-4)
    assert frames.max() > 300


@pytest.fixture(scope="module")
def ideal(tmp_path_factory):
    """Frames and counters without any artefact."""
    return one_subset(small(IDEAL), tmp_path_factory.mktemp("ideal"))


def test_air_adds_its_level_to_every_pixel(ideal, tmp_path):
    with_air, _ = one_subset(small(IDEAL, {"artefacts": {"air": {"level": 12, "rise": 30, "q_decay": 0.9}}}), tmp_path)
    added = (with_air - ideal[0]).reshape(-1, 10, 110)
    assert (np.ptp(added, axis=0) <= 1).all()  # the same in every frame, up to rounding
    q = place_pixels(small(IDEAL).detector, small(IDEAL).beam).q
    np.testing.assert_allclose(added.mean(axis=0), 12 + 30 * np.exp(-q / 0.9), atol=1.1, rtol=0.01)


def test_the_monitor_follows_the_beam_and_so_do_the_counts(ideal, tmp_path):
    frames, counters = one_subset(small(IDEAL, {"beam": {"monitor_decay": 0.4, "topup_frames": 20}}), tmp_path)
    relative = counters["mon"] / 1e6
    assert relative[0] == relative[20] == 1
    assert relative[19] == pytest.approx(0.6 ** (19 / 20))
    assert (np.diff(relative[:20]) < 0).all()
    total, full = (f.reshape(36, -1).sum(axis=1) for f in (frames, ideal[0]))
    inside = full > 5000
    assert inside.sum() > 20
    np.testing.assert_allclose(total[inside] / full[inside], relative[inside], rtol=0.03)  # rounding of weak pixels
    np.testing.assert_array_equal(ideal[1]["mon"], 1e6)


def test_gaps_are_written_as_no_pixel(ideal, tmp_path):
    frames, _ = one_subset(small(IDEAL, {"detector": {"column_gaps": [[30, 2]], "row_gaps": [[8, 1]]}}), tmp_path)
    gap = np.zeros(frames.shape[2:], dtype=bool)
    gap[:, 30:32] = gap[8] = True
    assert (frames[..., gap] == -1).all()
    np.testing.assert_array_equal(frames[..., ~gap], ideal[0][..., ~gap])


def test_the_beamstop_hides_a_disc_around_the_beam(tmp_path):
    # So much light that the sample too scatters some of it behind the beamstop.
    bright = {"artefacts": {"air": {"level": 12, "rise": 30}}, "beam": {"dose": 20000}}
    without, _ = one_subset(small(IDEAL, bright), tmp_path / "without")
    frames, _ = one_subset(small(IDEAL, bright, {"artefacts": {"beamstop_px": 3.5}}), tmp_path / "with")
    row, column = np.mgrid[:10, :110] + 0.5
    hidden = np.hypot(row - 4.7, column - 55.2) < 3.5
    assert (frames[..., hidden] == 0).all()
    assert (without[..., hidden] > 30).all()
    np.testing.assert_array_equal(frames[..., ~hidden], without[..., ~hidden])


@pytest.mark.parametrize("kind", ["hot", "flickering", "dead", "flagged"])
def test_bad_pixels_of_each_kind_read_as_they_should_and_leave_the_others_alone(kind, ideal, tmp_path):
    bad = {"n_hot": 0, "n_flickering": 0, "n_dead": 0, "n_flagged": 0, "flicker_share": 0.3, "hot_counts": 80000}
    frames, _ = one_subset(small(IDEAL, {"artefacts": {"bad_pixels": bad | {f"n_{kind}": 12}}}), tmp_path)
    truth = xr.open_zarr(tmp_path / "truth" / "discharged_2p65V.zarr", consolidated=False, chunks=None)
    place = truth[kind if kind in ("hot", "flickering") else "mask"].values
    assert place.sum() == 12
    np.testing.assert_array_equal(frames[..., ~place], ideal[0][..., ~place])
    values, normal = frames[..., place].reshape(36, 12), ideal[0][..., place].reshape(36, 12)
    if kind == "dead":
        assert (values == 0).all()
    elif kind == "flagged":
        assert (values == -2).all()
    elif kind == "hot":
        # From a hundredth of the largest reading up, with the noise of a constant rate.
        assert (values.mean(axis=0) > 750).all()
        assert (values.mean(axis=0) < 80300).all()
        assert (values.std(axis=0) < 2 * np.sqrt(values.mean(axis=0))).all()
    else:
        lit = values != normal
        assert 0.2 < lit.mean() < 0.4  # 432 draws of 0.3: 0.022 standard deviation
        assert (values[lit] > 700).all()
        assert lit.any(axis=0).all()
        assert not lit.all(axis=0).any()


def test_the_same_pixels_are_bad_in_all_scans_and_others_with_another_seed():
    detector = small().detector
    bad = small().artefacts.bad_pixels
    here, again, other = (draw_defects(detector, bad, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(here.hot, again.hot)
    assert set(here.hot) != set(other.hot)
    every = np.concatenate([here.hot, here.flickering, here.dead, here.flagged])
    assert len(set(every)) == len(every)
    assert not set(every) & set(here.missing)


def test_counts_of_repeated_frames_are_poisson_distributed():
    expected = np.geomspace(0.1, 500, 20)
    n = 4000
    defects = draw_defects(small(IDEAL).detector, None, seed=1)
    counts = record(np.tile(expected, (n, 1)), defects, seed=5, scan="s", subset=1, first_frame=0, poisson=True)
    # Five standard deviations of the mean; the index of dispersion follows a χ² law, 1e-5 off either end.
    assert (np.abs(counts.mean(axis=0) - expected) < 5 * np.sqrt(expected / n)).all()
    dispersion = (n - 1) * counts.var(axis=0, ddof=1) / counts.mean(axis=0)
    assert (dispersion > chi2.ppf(1e-5, n - 1)).all()
    assert (dispersion < chi2.ppf(1 - 1e-5, n - 1)).all()


def test_every_frame_of_every_subset_scan_and_seed_has_noise_of_its_own():
    defects = draw_defects(small(IDEAL).detector, None, seed=1)
    usual = {"seed": 1, "scan": "a", "subset": 1, "first_frame": 0}
    others = [{}, {"seed": 2}, {"scan": "b"}, {"subset": 2}, {"first_frame": 2}]
    frames = [record(np.full((2, 50), 20.0), defects, poisson=True, **usual | other) for other in others]
    assert len(np.unique(np.concatenate(frames), axis=0)) == 2 * len(others)


def test_photon_noise_is_noise_about_the_ideal_frames(ideal, tmp_path):
    frames, _ = one_subset(small(IDEAL, {"artefacts": {"poisson": True}}), tmp_path)
    bright = ideal[0] > 50
    residual = (frames - ideal[0])[bright] / np.sqrt(ideal[0][bright])
    n = residual.size
    assert abs(residual.mean()) < 5 / np.sqrt(n)
    assert residual.var() == pytest.approx(1, abs=5 * np.sqrt(2.1 / n))


def test_a_zigzag_scan_records_every_second_line_backwards(ideal, tmp_path):
    frames, counters = one_subset(small(IDEAL, {"scan": {"zigzag": True}}), tmp_path)
    np.testing.assert_array_equal(frames[0::2], ideal[0][0::2])
    np.testing.assert_array_equal(frames[1], ideal[0][1, ::-1])
    along = -1.7 + 0.3 * np.arange(12)
    np.testing.assert_allclose(counters["ty"].reshape(3, 12), [along, along[::-1], along], atol=1e-12)
    np.testing.assert_allclose(ideal[1]["ty"].reshape(3, 12), [along] * 3, atol=1e-12)
    np.testing.assert_allclose(counters["rot"].reshape(3, 12), np.repeat([[0], [60], [120]], 12, axis=1))


def test_moving_the_axis_by_one_position_moves_the_frames_by_one_position(ideal, tmp_path):
    frames, _ = one_subset(small(IDEAL, {"scan": {"cor_offset_px": 1}}), tmp_path)
    # Path lengths differ in the last digits: a count may round the other way.
    np.testing.assert_allclose(frames[:, 1:], ideal[0][:, :-1], atol=1)
    assert np.abs(frames - ideal[0]).max() > 100
    truth = xr.open_zarr(tmp_path / "truth" / "discharged_2p65V.zarr", consolidated=False, chunks=None)
    assert truth.cor.item() == 11 / 2 + 1


GRAIN = {"cell": {"grains": [{"phase": "alpha-FeSi2", "x_mm": 0.9, "y_mm": 0.4, "radius_mm": 0.15}]}}


def test_a_grain_lies_at_its_row_and_column_and_its_sinogram_follows_its_place(tmp_path):
    parameters = small(GRAIN, {"scan": {"n_positions": 48, "step_mm": 0.075, "n_projections": 7, "cor_offset_px": 1.3}})
    simulate(parameters, tmp_path, workers=2, quiet=True)
    truth = xr.open_zarr(tmp_path / "truth" / "charged_4p2V.zarr", consolidated=False, chunks=None)
    image = truth.volume_fraction.sel(phase="alpha-FeSi2").values
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert abs(column - (0.9 / 0.075 + 23.5)) <= 2  # inside a grain two voxels in radius
    assert abs(row - (23.5 - 0.4 / 0.075)) <= 2
    centre = [float((image * axis).sum() / image.sum()) for axis in (truth.x.values[None, :], truth.y.values[:, None])]
    assert centre == pytest.approx([0.9, 0.4], abs=0.005)  # 0.019 mm between sample points, 200 of them
    sinogram = truth.path_length.sel(phase="alpha-FeSi2").values
    centroid = sinogram @ np.arange(48) / sinogram.sum(axis=1)
    expected = truth.cor.item() + lateral_position(0.9, 0.4, truth.angle.values) / 0.075
    np.testing.assert_allclose(centroid, expected, atol=0.05)
    assert truth.cor.item() == 47 / 2 + 1.3
    assert (np.diff(truth.angle.values) > 0).all()


def maps_of(parameters, state=0):
    names = material_names(parameters.cell, parameters.states)
    scan = parameters.scan
    maps = material_maps(parameters.cell, parameters.states[state], names, n=scan.n_positions, step=scan.step_mm)
    along = ((np.arange(maps.shape[0]) + 0.5) / maps.shape[0] - 0.5) * scan.n_positions * scan.step_mm
    x, y = along[None, :] - parameters.cell.axis_x_mm, along[::-1][:, None] - parameters.cell.axis_y_mm
    return {name: maps[:, :, k] for k, name in enumerate(names)}, x, y


FINE = {"scan": {"n_positions": 60, "step_mm": 0.06}}


def test_a_voxel_is_never_more_than_full():
    maps, _, _ = maps_of(small(FINE))
    total = sum(maps.values())
    assert total.max() <= 1 + 1e-9
    assert min(image.min() for image in maps.values()) >= 0


def test_the_casing_is_a_ring_about_the_cells_own_axis():
    parameters = small(FINE)
    maps, x, y = maps_of(parameters)
    voxel = 0.06 / 4
    area = maps["Fe"].sum() * voxel**2
    assert area == pytest.approx(np.pi * (1.4**2 - 1.3**2), rel=0.01)
    centre = (maps["Fe"] * (x + 0.020)).sum() / maps["Fe"].sum(), (maps["Fe"] * (y - 0.015)).sum() / maps["Fe"].sum()
    assert centre == pytest.approx((0.020, -0.015), abs=0.002)
    radius = np.hypot(x, y)
    assert maps["Fe"][(radius > 1.32) & (radius < 1.38)].min() == 1


def test_foils_fill_as_much_as_their_length_times_thickness():
    parameters = small(FINE, {"cell": {"anode_tab": None, "bare_cathode": None, "aluminium_tab": None}})
    maps, _, _ = maps_of(parameters)
    cell = parameters.cell
    depth = (cell.separator_um + cell.anode_um + cell.copper_um / 2) / 1000
    angle = np.linspace(0, 2 * np.pi * cell.turns, 2001)
    length = np.trapezoid(cell.hole_radius_mm + depth + cell.pitch_mm * angle / (2 * np.pi), angle)
    # Foils of 8 µm are sampled by points 4 µm apart.
    assert maps["Cu"].sum() * 0.015**2 == pytest.approx(length * cell.copper_um / 1000, rel=0.03)


def test_a_sector_of_the_anode_lies_counter_clockwise_from_x():
    sector = {"azimuth_deg": [30, 80], "phases": {"LiC18": 1.0}}
    parameters = small(FINE)
    state = parameters.states[0].model_dump() | {"anode": [{"phases": {"graphite": 1.0}}, sector]}
    maps, x, y = maps_of(small(FINE, {"states": [state | {"lattice": {}}]}))
    azimuth = np.degrees(np.arctan2(y, x)) % 360
    strong = maps["LiC18"] > 0.6
    assert strong.any()
    assert azimuth[strong].min() > 28
    assert azimuth[strong].max() < 82
    assert (maps["graphite"] > 0.6)[(azimuth > 90) & (azimuth < 360)].any()


def test_the_roll_winds_outwards_counter_clockwise():
    parameters = small(FINE, {"cell": {"anode_tab": None, "bare_cathode": None, "aluminium_tab": None}})
    maps, x, y = maps_of(parameters)
    radius, azimuth = np.hypot(x, y), np.degrees(np.arctan2(y, x)) % 360
    pitch = parameters.cell.pitch_mm
    inner = [
        radius[(maps["separator"] > 0.1) & (np.abs(azimuth - at) < 3) & (radius < 0.22 + 1.2 * pitch)].min()
        for at in (20, 110, 200, 290)
    ]
    # A quarter of a turn is a quarter of a pitch.
    np.testing.assert_allclose(np.diff(inner), pitch / 4, atol=0.02)
