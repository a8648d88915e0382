"""Hosts of their own for clients, in a network that drops what is sent to one that has vanished."""

import ctypes
import os
import shutil
import socket
import subprocess
import threading
from typing import Self

import pytest

_CLONE_NEWNET = 0x40000000


class Network:
    """A network namespace, with as many hosts as wanted, tied to the namespace of the tests. Needs root and ip."""

    def __init__(self, hosts: int) -> None:
        """Skips the test where namespaces cannot be made."""
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.skip(
                "NO NETWORK NAMESPACES: nothing was shown about hosts that vanish (root, apt-get install iproute2)"
            )
        number = os.getpid() % 250
        self._name = f"seqdev-test-{os.getpid()}"
        self._device = f"seqdev{number}"
        self.server = f"10.203.{number}.1"
        """The address on which a server is reached from the hosts."""
        self.hosts = [f"10.203.{number}.{host}" for host in range(2, 2 + hosts)]

    def __enter__(self) -> Self:
        device, name = self._device, self._name
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(
                f"NO NETWORK NAMESPACES: nothing was shown about hosts that vanish ({made.stderr.strip()})"
            )
        _ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("address", "add", f"{self.server}/24", "dev", device)
        _ip("link", "set", device, "up")
        # Each by itself: with the first address of a subnet all others would go.
        for host in self.hosts:
            _ip("-n", name, "address", "add", f"{host}/32", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "route", "add", self.server, "dev", "eth0")
        # Or whoever looks for a host that has vanished would be told that there is none.
        hardware = _ip("-n", name, "-o", "link", "show", "eth0").split("link/ether ")[1].split()[0]
        for host in self.hosts:
            _ip("neighbour", "replace", host, "lladdr", hardware, "dev", device, "nud", "permanent")
        return self

    def __exit__(self, *_: object) -> None:
        _ip("link", "delete", self._device)
        _ip("netns", "delete", self._name)

    def connect(self, host: str, port: int) -> socket.socket:
        """A connection from the host to a port of the server."""
        made: list[socket.socket] = []

        def make() -> None:
            # Of this thread alone; a socket stays in the namespace in which it was made.
            with open(f"/run/netns/{self._name}") as namespace:
                assert ctypes.CDLL(None).setns(namespace.fileno(), _CLONE_NEWNET) == 0
            made.append(socket.socket(socket.AF_INET))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        (connection,) = made
        connection.bind((host, 0))
        connection.connect((self.server, port))
        return connection

    def vanish(self, host: str) -> None:
        """From now on nothing comes from the host, and nobody hears that what is sent to it is dropped."""
        _ip("-n", self._name, "address", "delete", f"{host}/32", "dev", "eth0")


def _ip(*argv: str) -> str:
    return subprocess.run(["ip", *argv], check=True, capture_output=True, text=True).stdout
