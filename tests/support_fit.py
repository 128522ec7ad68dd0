"""An instrument for fits: a 172 µm detector at 1 m and 95 keV."""

from xrdct.calibration.profile import InstrumentProfile

PIXEL = 0.00828  # 1/Å: 172 µm at 1 m and 95 keV
PROFILE = InstrumentProfile(
    u=0.105, v=0.0, w=0.0002, eta0=0.1, eta1=0.0, two_theta_range=(1.0, 5.0), wavelength=0.1305, q_step=PIXEL / 2,
    trim=0.2, lines=(),
)  # fmt: skip
