"""A wire that can get slow, narrow, silent, or break: a proxy before a port or a PostgreSQL socket."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from psycopg2.extensions import make_dsn, parse_dsn

SLOW_S = 0.2
NARROW_BYTES_S = 20_000


class Faulty:
    """One wire. ``misbehave`` takes slow, narrow, silent or cut; what was silenced stays so for its connections."""

    def __init__(self) -> None:
        self.port = 0
        self.dsn = ""
        self._mode = "well"
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._silenced: set[asyncio.StreamWriter] = set()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    @classmethod
    @contextlib.contextmanager
    def before_port(cls, port: int) -> Iterator[Faulty]:
        """A wire to a TCP port of this machine, at ``port`` of its own."""
        wire = cls()

        async def listen() -> asyncio.Server:
            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await wire._join(reader, writer, await asyncio.open_connection("127.0.0.1", port))

            return await asyncio.start_server(handle, "127.0.0.1", 0)

        server = wire._call(listen())
        wire.port = server.sockets[0].getsockname()[1]
        try:
            yield wire
        finally:
            wire._close(server)

    @classmethod
    @contextlib.contextmanager
    def before_database(cls, dsn: str, path: Path) -> Iterator[Faulty]:
        """A wire to a PostgreSQL server on this machine, with a ``dsn`` of its own."""
        wire = cls()
        behind = f"{parse_dsn(dsn)['host']}/.s.PGSQL.5432"
        folder = path / "wire"
        folder.mkdir()

        async def listen() -> asyncio.Server:
            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await wire._join(reader, writer, await asyncio.open_unix_connection(behind))

            return await asyncio.start_unix_server(handle, str(folder / ".s.PGSQL.5432"))

        server = wire._call(listen())
        wire.dsn = make_dsn(dsn, host=str(folder))
        try:
            yield wire
        finally:
            wire._close(server)

    def misbehave(self, mode: str) -> None:
        """Begin to be slow, narrow, silent or cut."""
        self._mode = mode

        async def change() -> None:
            if mode == "cut":
                for writer in list(self._writers):
                    writer.transport.abort()
            elif mode == "silent":
                self._silenced |= self._writers

        self._call(change())

    def behave(self) -> None:
        """Be a good wire again for new connections."""
        self._mode = "well"

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        behind: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        if self._mode == "cut":
            writer.transport.abort()
            behind[1].transport.abort()
            return
        self._writers |= {writer, behind[1]}
        if self._mode == "silent":
            self._silenced |= {writer, behind[1]}
        try:
            await asyncio.gather(self._pass_on(reader, behind[1]), self._pass_on(behind[0], writer))
        finally:
            self._writers -= {writer, behind[1]}
            self._silenced -= {writer, behind[1]}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(1 << 16):
                if self._mode == "slow":
                    await asyncio.sleep(SLOW_S)
                elif self._mode == "narrow":
                    await asyncio.sleep(len(data) / NARROW_BYTES_S)
                if writer in self._silenced:
                    continue  # it was sent, and never arrives
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()

    def _call(self, work: object) -> object:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]

    def _close(self, server: object) -> None:
        async def close() -> None:
            server.close()  # type: ignore[attr-defined]
            for writer in list(self._writers):
                writer.transport.abort()

        self._call(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
