"""`xrdct calibrate`: a calibrant frame on the command line."""

import argparse


def add_parser(subparsers) -> None:
    """Register the command with the `argparse` subparsers of the program."""
    parser = subparsers.add_parser(
        "calibrate",
        help="find distance, beam centre and tilt from one calibrant frame",
        description="Find distance, beam centre and tilt from one calibrant frame, and measure the instrument profile.",
    )
    parser.add_argument("frame", help="image of the calibrant (CBF, EDF, TIFF, HDF5, NPY …)")
    parser.add_argument("--calibrant", default="CeO2", help="name in pyFAI's list (%(default)s)")
    parser.add_argument("--energy", type=float, required=True, metavar="KEV", help="photon energy in keV")
    parser.add_argument("--detector", metavar="NAME", help="name in pyFAI's list, for example 'Pilatus CdTe 2M'")
    parser.add_argument(
        "--shape", type=int, nargs=2, metavar=("ROWS", "COLUMNS"), help="of a detector that is not in the list"
    )
    parser.add_argument("--pixel-size", type=float, metavar="UM", help="edge of a pixel in µm, with --shape")
    parser.add_argument("--mask", help="image, non-zero where pixels are bad")
    parser.add_argument("--poni", help="geometry to be checked instead of found")
    parser.add_argument("--dataset", help="path of the frame in an HDF5 file")
    parser.add_argument("--max-rms", type=float, default=0.01, metavar="DEG", help="largest scatter (%(default)s°)")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder for the results")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Calibrate, write the files, print what was found; warnings go to the log."""
    from ..calibration import calibrate, detector_from
    from ..io.calibration import write_calibration
    from ..io.frames import read_image
    from ..io.poni import read_poni

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


def _detector_settings(args: argparse.Namespace):
    from pydantic import ValidationError

    from ..config import Detector
    from ..errors import ConfigError

    try:
        return Detector(name=args.detector, shape=args.shape, pixel_size_um=args.pixel_size)
    except ValidationError:
        raise ConfigError("give either --detector NAME, or both --shape ROWS COLUMNS and --pixel-size UM") from None
