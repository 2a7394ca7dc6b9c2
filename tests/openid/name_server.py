"""A name server of ours on loopback, as the system's own: answers what it is told, and may be silent."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from services.identity.openid.resolver import Resolver


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """`known` by name; `failing` are answered SERVFAIL, `silent` never; any other name does not exist."""

    port: int = 0
    known: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    failing: set[str] = field(default_factory=set[str])
    silent: set[str] = field(default_factory=set[str])
    asked: list[str] = field(default_factory=list[str])
    """Names, in order, each time one is asked for; a question put again counts again."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    transport: asyncio.DatagramTransport = field(init=False)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        wanted = question.question[0]
        name = wanted.name.to_text(omit_final_dot=True)
        self.asked.append(name)
        self.arrived.set()
        if name in self.silent:
            return
        answer = dns.message.make_response(question)
        if name in self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self.known:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            of_six = wanted.rdtype == dns.rdatatype.AAAA
            found = [one for one in self.known[name] if (":" in one) == of_six]
            if found:
                answer.answer.append(dns.rrset.from_text_list(wanted.name, 60, "IN", wanted.rdtype, found))
        self.transport.sendto(answer.to_wire(), addr)

    def resolver(self) -> Resolver:
        def configured() -> dns.asyncresolver.Resolver:
            servers = dns.asyncresolver.Resolver(configure=False)
            servers.nameservers, servers.port = ["127.0.0.1"], self.port
            return servers

        return Resolver(configured)


@asynccontextmanager
async def naming() -> AsyncGenerator[NameServer, None]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        NameServer, local_addr=("127.0.0.1", 0)
    )
    server.transport, server.port = transport, transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
