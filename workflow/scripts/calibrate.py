"""Calibrant frame to geometry, instrument profile, ring table and cake picture."""

import json
from pathlib import Path

from xrdct.calibration import calibrate, detector_from
from xrdct.config import Detector
from xrdct.io.calibration import write_calibration
from xrdct.io.frames import read_image
from xrdct.io.poni import read_poni
from xrdct.logbook import logbook


def main(frame_path, mask_path, poni_path, folder, *, dataset, detector, calibrant, **settings):
    frame = read_image(frame_path, dataset)
    mask = read_image(mask_path) if mask_path else None
    poni = read_poni(poni_path) if poni_path else None
    result = calibrate(
        frame, calibrant=calibrant, detector=detector_from(Detector(**detector)), mask=mask, poni=poni, **settings
    )
    write_calibration(folder, result)


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.frame,
            snakemake.input.mask,
            snakemake.input.poni,
            Path(snakemake.output.poni).parent,
            **json.loads(snakemake.params.cfg),
        )
