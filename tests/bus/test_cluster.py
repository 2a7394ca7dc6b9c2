"""Three brokers: what one loses with its disk the two others hold, under the same date (docs/decisions/0008)."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

from libs.common.bus.connection import Bus
from libs.common.bus.streams import AUTHZ
from libs.common.database.pool import Database
from libs.common.runtime.child_process import Command, Process, free_port, start, stop
from libs.common.runtime.embedded_nats import (
    NatsServer,
    binary,
    configuration_text,
    is_healthy,
    new_passwords,
)
from tests.bus.conftest import a_floor, record, until
from tests.relays import identity_relays

STARTS_WITHIN = timedelta(seconds=60)


class Cluster:
    """Three nodes of one cluster, each with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.passwords = folder, new_passwords()
        self.nodes = [NatsServer(free_port(), free_port(), self.passwords) for _ in range(3)]
        self._routes = [free_port() for _ in self.nodes]
        self._processes: dict[int, Process] = {}

    @property
    def url(self) -> str:
        return ",".join(node.url for node in self.nodes)

    def disk_of(self, number: int) -> Path:
        return self.folder / f"node{number}"

    async def start(self, number: int) -> None:
        disk, node = self.disk_of(number), self.nodes[number]
        disk.mkdir(exist_ok=True)
        routes = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in self._routes)
        text = configuration_text(disk, node).replace("server_name: espace", f"server_name: node{number}")
        own = f'cluster {{ name: espace, listen: "127.0.0.1:{self._routes[number]}", routes: [{routes}] }}\n'
        written = self.folder / f"node{number}.conf"
        written.write_text(text + own, "utf-8")
        with (self.folder / f"node{number}.log").open("ab") as log:
            command = Command([binary(), "--config", str(written)], {"PATH": "/usr/bin:/bin"}, directory=disk)
            self._processes[number] = await start(command, log.fileno())

    async def stop(self, number: int) -> None:
        process = self._processes.pop(number)
        await stop(process, Command([]).stop_signal, patience=10)

    def at_work(self) -> list[int]:
        return list(self._processes)

    async def answers(self) -> None:
        async def all_do() -> bool:
            ports = [node.monitor_port for node in self.nodes]
            return all(await asyncio.gather(*(asyncio.to_thread(is_healthy, port) for port in ports)))

        await until(all_do, within=STARTS_WITHIN)

    @contextlib.asynccontextmanager
    async def linked(self) -> AsyncGenerator[Bus, None]:
        bus = Bus(self.url, user="identity", password=self.passwords["identity"], name="identity", replicas=3)
        bus.start()
        try:
            yield bus
        finally:
            await bus.close()


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncGenerator[Cluster, None]:
    cluster = Cluster(folder)
    try:
        for number in range(3):
            await cluster.start(number)
        await cluster.answers()
        yield cluster
    finally:
        for number in cluster.at_work():
            await cluster.stop(number)


async def test_a_node_that_lost_its_disk_takes_no_revocation_with_it(
    identity_db: Database, identity_relay: Database, tmp_path: Path
) -> None:
    floor, stop_relays = a_floor(), asyncio.Event()
    async with running(tmp_path) as cluster, cluster.linked() as bus:
        relaying = asyncio.create_task(identity_relays(bus, identity_relay, stop_relays))
        try:
            await record(identity_db, floor)

            async def is_there() -> bool:
                async with bus.following(AUTHZ, since=timedelta(minutes=10), patience=0.5) as told:
                    with contextlib.suppress(TimeoutError):
                        async for message in told:
                            if str(floor.event_id).encode() in message.body:
                                return True
                            if message.pending == 0:
                                return False
                return False

            async def is_kept() -> bool:
                with contextlib.suppress(Exception):
                    return (
                        await bus.jetstream.stream_info(AUTHZ)
                    ).config.num_replicas == 3 and await is_there()
                return False

            await until(is_kept, within=STARTS_WITHIN)
            before = await bus.jetstream.stream_info(AUTHZ)
            for number in range(3):
                await cluster.stop(number)
                shutil.rmtree(cluster.disk_of(number))
                await cluster.start(number)
                await cluster.answers()
                await until(is_kept, within=STARTS_WITHIN)
            assert (await bus.jetstream.stream_info(AUTHZ)).created == before.created
        finally:
            stop_relays.set()
            await relaying
