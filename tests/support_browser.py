"""A headless Chromium, driven over its own protocol (chromedevtools.github.io), for pages on localhost."""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import websocket_connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync", "--no-sandbox", "--hide-scrollbars"]


def find_browser() -> str | None:
    """Path of a Chromium, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """The one tab of a browser."""

    def __init__(self, socket):
        self.socket, self.count = socket, 0

    async def call(self, method, **params):
        """A command of the protocol; its result."""
        self.count += 1
        await self.socket.write_message(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            answer = json.loads(await self.socket.read_message())
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]

    async def run(self, expression):
        """Value of a JavaScript expression."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression, seconds=40):
        """Wait until an expression is true; its value."""
        for _ in range(int(seconds * 20)):
            value = await self.run(expression)
            if value:
                return value
            await asyncio.sleep(0.05)
        raise AssertionError(f"never true: {expression}")

    async def mouse(self, *points):
        """Press at the first point, move over the others, release at the last."""
        button = {"button": "left", "clickCount": 1}
        await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=points[0][0], y=points[0][1])
        await self.call(
            "Input.dispatchMouseEvent", type="mousePressed", x=points[0][0], y=points[0][1], buttons=1, **button
        )
        for x, y in points[1:]:
            await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1)
        await self.call("Input.dispatchMouseEvent", type="mouseReleased", x=points[-1][0], y=points[-1][1], **button)

    async def picture(self, path):
        """A screenshot."""
        shot = await self.call("Page.captureScreenshot", format="png")
        Path(path).write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def browser(url, folder, size=(1320, 1000)):
    """A tab that shows a page; the browser ends with the block."""
    profile = Path(folder) / "profile"
    command = [find_browser(), "--headless=new", *QUIET, f"--window-size={size[0]},{size[1]}"]
    command += [f"--user-data-dir={profile}", "--remote-debugging-port=0", "--remote-allow-origins=*", url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        port = await _port(profile / "DevToolsActivePort")
        listing = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json/list")
        page = next(one for one in json.loads(listing.body) if one["type"] == "page")
        socket = await websocket_connect(page["webSocketDebuggerUrl"], max_message_size=2**26)
        try:
            yield Tab(socket)
        finally:
            socket.close()
            while await socket.read_message() is not None:
                pass  # what was under way; None says that the other side has closed too
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


async def _port(file):
    for _ in range(600):
        if file.is_file() and file.read_text():
            return int(file.read_text().splitlines()[0])
        await asyncio.sleep(0.05)
    raise AssertionError("the browser does not start")
