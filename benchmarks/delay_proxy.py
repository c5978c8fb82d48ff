"""Stands between the dashboard and PostgreSQL and holds back each request for some milliseconds.

What PostgreSQL answers passes at once, so each round trip takes that much longer. Order is kept.
"""

from __future__ import annotations

import asyncio
import sys


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Pass on what arrives, each piece ``delay_s`` seconds after it came."""
    loop = asyncio.get_running_loop()
    while data := await reader.read(1 << 20):
        if delay_s:
            loop.call_later(delay_s, writer.write, data)
        else:
            writer.write(data)
    loop.call_later(delay_s, writer.close)


async def serve(listen_at: str, forward_to: str, delay_s: float) -> None:
    """Accept connections on one Unix socket and connect each to the other."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_unix_connection(forward_to)
        await asyncio.gather(
            forward(reader, behind_writer, delay_s), forward(behind_reader, writer, 0.0), return_exceptions=True
        )

    server = await asyncio.start_unix_server(handle, listen_at)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], float(sys.argv[3])))
