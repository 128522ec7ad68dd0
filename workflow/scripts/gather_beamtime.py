"""The maps of all scans, by the fit or by networks, to beamtime.zarr, and its evolution as a table of text."""

import json
import logging
from pathlib import Path

from xrdct.beamtime import gather
from xrdct.config.beamtime import Beamtime
from xrdct.evolution import to_table
from xrdct.io.masks import read_mask
from xrdct.io.store import manifest_digest, read_store, replaced_when_whole
from xrdct.io.tree import write_tree
from xrdct.logbook import logbook
from xrdct.pqnet.answers import answers_as_fit

log = logging.getLogger("xrdct.beamtime")


def main(stores, manifests, store, manifest, table, *, scans, settings, answers=()):
    chosen = Beamtime.model_validate({**settings, "apply": True})
    maps = {row["scan"]: read_store(path, "fit").load() for row, path in zip(scans, stores, strict=True)}
    for name, path in zip(maps, answers, strict=bool(answers)):
        maps[name] = answers_as_fit(read_store(path, "pqnet").load(), maps[name])
    tree = gather(maps, {row["scan"]: row for row in scans}, chosen, read_mask=read_mask)
    for name, residual, turn in zip(maps, tree.residual_px.values, tree.rotation_deg.values, strict=True):
        log.info("%s: turned by %.2f°, residual %.2f px", name, turn, residual)
    inputs = {str(path): manifest_digest(path) for path in manifests}
    write_tree(tree, store, manifest, settings={"scans": scans, **settings}, inputs=inputs)
    with replaced_when_whole(table) as partial:
        Path(partial).write_text(to_table(tree["evolution"].to_dataset()), encoding="utf-8")


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.maps,
            [*snakemake.input.manifests, *snakemake.input.answers_manifests],
            snakemake.output.store,
            snakemake.output.manifest,
            snakemake.output.table,
            **json.loads(snakemake.params.cfg),
            answers=list(snakemake.input.answers),
        )
