"""What `xrdct calibrate` does; its arguments are declared in `cli`."""

import argparse

from pydantic import ValidationError

from ..config import Detector
from ..errors import ConfigError
from ..io.calibration import write_calibration
from ..io.frames import read_image
from ..io.poni import read_poni
from . import calibrate, detector_from


def run(args: argparse.Namespace) -> int:
    """Calibrate, write the files, print what was found; warnings go to the log."""
    result = calibrate(
        read_image(args.frame, args.dataset),
        calibrant=args.calibrant,
        energy_kev=args.energy,
        detector=detector_from(_detector_settings(args)),
        mask=read_image(args.mask) if args.mask else None,
        poni=read_poni(args.poni) if args.poni else None,
        max_rms_deg=args.max_rms,
    )
    write_calibration(args.output, result)
    print(result.summary())
    print(f"written to {args.output}: geometry.poni, profile.json, rings.tsv, cake.png")
    return 0


def _detector_settings(args: argparse.Namespace) -> Detector:
    try:
        return Detector(name=args.detector, shape=args.shape, pixel_size_um=args.pixel_size)
    except ValidationError:
        raise ConfigError("give either --detector NAME, or both --shape ROWS COLUMNS and --pixel-size UM") from None
