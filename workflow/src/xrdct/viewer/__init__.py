"""A local web page to look at a beamtime: `sources` reads what is asked for, `page` shows it, `serve` opens a port."""
