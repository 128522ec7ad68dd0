"""The viewer's port, on this machine only."""

import asyncio
from pathlib import Path

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.server.server import Server

from ..errors import StoreError
from .page import make_page
from .sources import Beamtime


def open_server(store: str | Path, *, port: int) -> Server:
    """A started server of one beamtime on localhost; `server.io_loop.start()` makes it serve.

    Parameters
    ----------
    store
        beamtime.zarr.
    port
        0: any free one (`server.port`).

    Raises
    ------
    StoreError
        If the store is none, or the port is taken.
    """
    pages = {"/": Application(FunctionHandler(make_page(Beamtime(store))))}
    # A loop of its own: the thread's current one may have been closed by whoever used it before.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        # Nobody else on the network is let in; pages of other origins than http://localhost cannot talk to it (Bokeh's
        # own default).
        server = Server(pages, port=port, address="127.0.0.1")
    except OSError as error:
        loop.close()
        raise StoreError(
            f"port {port} on localhost cannot be opened ({error.strerror}): choose another with --port"
        ) from None
    server.start()
    return server
