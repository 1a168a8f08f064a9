"""Real servers for tests, on loopback and free ports: a plain Redis, a master behind Sentinel, a Cluster.

Each is a context manager; its servers end by pid with it, and with the process that started them, even if that
dies of SIGKILL. Data, settings and logs lie in the folder that the caller gives.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
from redis.exceptions import RedisError

from softbounce import embedded
from softbounce.urls import split_hosts

PATIENCE = 90.0  # s; with a load of ten on two cores a worker takes 25 to start
# ms without an answer: Sentinel and Cluster take a master for dead, unless told otherwise. Sentinel asks once a second:
# with 1,000 a busy machine made it leave the new master a second after the first failover, and lose a tail twice.
DOWN_AFTER = 2000

# The kernel kills a server with us: SIGKILL, because a frozen one would never see SIGTERM.
LAUNCHER = embedded.LAUNCHER.replace("prctl(1, 15)", "prctl(1, 9)")
# The parent-death signal fires when the starting *thread* ends: this one lives as long as the process.
_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="servers")


def end(process: subprocess.Popen, *, patience: float = PATIENCE) -> int:
    """End a process in order, or by force if that takes too long; it is gone when this returns its exit code.

    Whoever starts a process calls this or waits: one that still runs is a ResourceWarning in another test.
    """
    process.terminate()
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


class ServerError(RuntimeError):
    """A server program is missing, or did not do in time what was asked."""


class Server:
    """One server process; ``url`` names its first database."""

    def __init__(
        self, folder: Path, conf: str, *, flags: tuple[str, ...] = (), binary: str | None = None
    ) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._flags, self._binary = flags, binary or program()
        folder.mkdir(parents=True, exist_ok=True)
        # In a file, because Sentinel and failovers write what they learn into it.
        self._conf = folder / "server.conf"
        always = f"bind 127.0.0.1\nport {self.port}\ndir {folder}\nlogfile {folder}/log\n"
        self._conf.write_text(always + conf + "\n", encoding="utf-8")
        self.start()

    @property
    def pid(self) -> int:
        """The server's process id; another one after a restart."""
        return self.process.pid

    def client(self, **options) -> redis.Redis:
        """Return a client of this server that neither waits long nor tries again."""
        options = {"socket_timeout": 5, "retry": None, "decode_responses": True} | options
        return redis.Redis(host="127.0.0.1", port=self.port, **options)

    def start(self) -> None:
        """Start the process; ``ready`` waits for it."""
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), self._binary]
        self.process = _STARTER.submit(
            subprocess.Popen,
            [*launcher, str(self._conf), *self._flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            process_group=0,
        ).result()

    def ready(self) -> None:
        """Wait until the server answers and has read its data."""

        def answers() -> bool:
            if self.process.poll() is not None:
                msg = f"port {self.port} ended at once:\n{self.log()[-2000:]}"
                raise ServerError(msg)
            with self.client(socket_timeout=1) as client:
                return bool(client.ping())

        until(answers, f"the server on port {self.port} answers")

    def kill(self) -> None:
        """End the process as ``kill -9`` does, frozen or not. Twice does no harm."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop the process without ending it: connections stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Kill the process and start it again on the same port and folder; wait until it answers."""
        self.kill()
        self.start()
        self.ready()

    def log(self) -> str:
        """Return what the server has logged."""
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


class Sentinels:
    """A master ``mymaster``, its replicas, and three sentinels that fail over after two seconds of silence."""

    def __init__(self, nodes: list[Server], watchers: list[Server]) -> None:
        self.nodes, self.watchers = nodes, watchers
        self.name = "mymaster"
        hosts = ",".join(f"127.0.0.1:{watcher.port}" for watcher in watchers)
        self.url = f"redis+sentinel://{hosts}/{self.name}/0"

    @property
    def master(self) -> Server:
        """The node that most sentinels call the master now."""
        votes = []
        for watcher in self.watchers:
            try:
                with watcher.client() as client:
                    votes.append(int(client.sentinel_get_master_addr_by_name(self.name)[1]))
            except RedisError:  # this one is dead or frozen: the others know
                continue
        port = max(set(votes), key=votes.count)
        return next(node for node in self.nodes if node.port == port)

    @property
    def replicas(self) -> list[Server]:
        """The nodes beside the master."""
        master = self.master
        return [node for node in self.nodes if node is not master]

    def cut(self) -> None:
        """Cut the replication: replicas keep what they have and hear no more. Sentinel mends it after 5 s."""
        for replica in self.replicas:
            with replica.client() as client:
                client.replicaof("127.0.0.1", 1)  # a port where nobody listens

    def mend(self) -> None:
        """Attach the replicas to the master again, and wait until they have caught up."""
        master = self.master
        for replica in self.replicas:
            with replica.client() as client:
                client.replicaof("127.0.0.1", master.port)
        self.attached(len(self.nodes) - 1)

    def attached(self, count: int) -> None:
        """Wait until the master has ``count`` replicas that follow it."""
        with self.master.client() as client:
            until(lambda: client.execute_command("WAIT", count, 100) >= count, f"{count} replicas follow")

    def failed_over(self, old: Server) -> Server:
        """Wait until another node than ``old`` is the master and takes writes; return it."""

        def another() -> bool:
            if (master := self.master) is old:
                return False
            with master.client() as client:
                return client.role()[0] == "master"

        until(another, "a replica has become the master")
        return self.master


class Cluster:
    """Three masters and one replica of each; ``url`` names them all, because a dead one leads nowhere."""

    def __init__(self, nodes: list[Server]) -> None:
        self.nodes = nodes
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)

    def owner(self, key: str) -> Server:
        """Return the node that holds ``key`` now."""
        client = self.client()
        try:
            return next(node for node in self.nodes if node.port == client.get_node_from_key(key).port)
        finally:
            client.close()

    def client(self, **options) -> redis.RedisCluster:
        """Return a client of the whole cluster."""
        alive = next(node for node in self.nodes if node.process.poll() is None)
        return redis.RedisCluster(host="127.0.0.1", port=alive.port, **options)

    def flush(self) -> None:
        """Empty every master that runs."""
        for node in self.nodes:
            if node.process.poll() is not None:
                continue
            with node.client() as client:
                if client.role()[0] == "master":
                    client.flushall()


@contextmanager
def plain(folder: Path, *options: str, binary: str | None = None) -> Iterator[Server]:
    """Start a durable Redis, or ``binary``; ``options`` are more lines of its configuration, and win.

    Where redis-server is not installed it is the packaged Valkey.
    """
    with ExitStack() as stack:
        binary = binary or shutil.which("redis-server") or embedded.binary()
        server = Server(folder, "\n".join([_DURABLE, *options]), binary=binary)
        stack.callback(server.kill)
        server.ready()
        yield server


@contextmanager
def sentinels(
    folder: Path, *options: str, replicas: int = 1, down_after: int = DOWN_AFTER
) -> Iterator[Sentinels]:
    """Start a master, ``replicas`` that follow it, and three sentinels that all know them.

    They take the master for dead ``down_after`` ms after its last answer.
    """
    with ExitStack() as stack:
        nodes: list[Server] = []
        for place in range(1 + replicas):
            follow = [f"replicaof 127.0.0.1 {nodes[0].port}"] if nodes else []
            conf = "\n".join([_DURABLE, "repl-diskless-sync-delay 0", *follow, *options])
            nodes.append(Server(folder / f"node{place}", conf))
            stack.callback(nodes[-1].kill)
        for node in nodes:
            node.ready()
        watch = f"sentinel monitor mymaster 127.0.0.1 {nodes[0].port} 2\n"
        watch += f"sentinel down-after-milliseconds mymaster {down_after}\n"
        watch += "sentinel failover-timeout mymaster 5000\n"
        watchers: list[Server] = []
        for place in range(3):
            watchers.append(Server(folder / f"sentinel{place}", watch, flags=("--sentinel",)))
            stack.callback(watchers[-1].kill)
        for watcher in watchers:
            watcher.ready()
        found = Sentinels(nodes, watchers)
        found.attached(replicas)
        until(lambda: all(_knows(each, replicas) for each in watchers), "the sentinels know each other")
        yield found


@contextmanager
def cluster(folder: Path, *options: str, down_after: int = DOWN_AFTER) -> Iterator[Cluster]:
    """Start six nodes in one Redis Cluster: every slot is served, every master has its replica.

    They take a node for dead ``down_after`` ms after its last answer.
    """
    with ExitStack() as stack:
        nodes: list[Server] = []
        for place in range(6):
            conf = [_DURABLE, "repl-diskless-sync-delay 0", "cluster-enabled yes"]
            conf += [f"cluster-port {free_port()}", f"cluster-node-timeout {down_after}", *options]
            nodes.append(Server(folder / f"node{place}", "\n".join(conf)))
            stack.callback(nodes[-1].kill)
        for node in nodes:
            node.ready()
        _join(nodes)
        yield Cluster(nodes)


_DURABLE = 'appendonly yes\nappendfsync everysec\nsave ""\nmaxmemory-policy noeviction'


def _join(nodes: list[Server]) -> None:
    clients = [node.client() for node in nodes]
    edges = [0, 5461, 10923, 16384]
    for place, client in enumerate(clients):
        client.execute_command("CLUSTER SET-CONFIG-EPOCH", place + 1)
        bus = next(line.split()[1] for line in _conf_lines(nodes[place]) if line.startswith("cluster-port"))
        clients[0].execute_command("CLUSTER MEET", "127.0.0.1", nodes[place].port, bus)
        if place < 3:
            client.execute_command("CLUSTER ADDSLOTSRANGE", edges[place], edges[place + 1] - 1)
    until(lambda: all(len(client.cluster("nodes")) == 6 for client in clients), "the nodes know each other")
    for place in range(3):
        master = clients[place].execute_command("CLUSTER MYID")
        clients[place + 3].execute_command("CLUSTER REPLICATE", master)

    def whole() -> bool:
        links = [client.info("replication").get("master_link_status", "up") for client in clients]
        states = [client.cluster("info")["cluster_state"] for client in clients]
        roles = [sum("slave" in n["flags"] for n in client.cluster("nodes").values()) for client in clients]
        return set(links) == {"up"} and set(states) == {"ok"} and set(roles) == {3}

    until(whole, "the cluster serves every slot and its replicas follow")
    for client in clients:
        client.close()


def _conf_lines(node: Server) -> list[str]:
    return (node.folder / "server.conf").read_text(encoding="utf-8").splitlines()


def _knows(watcher: Server, replicas: int) -> bool:
    with watcher.client() as client:
        state = client.sentinel_master("mymaster")
    return int(state["num-other-sentinels"]) == 2 and int(state["num-slaves"]) == replicas


def client_of(url: str, **options) -> redis.Redis:
    """Return redis-py's own client for a URL of a server, or of Sentinel's master."""
    kind, hosts, path, _ = split_hosts(url)
    if kind != "sentinel":
        return redis.Redis.from_url(url, **options)
    return redis.Sentinel(hosts, sentinel_kwargs={"socket_timeout": 1}).master_for(path[0], **options)


def until(holds: Callable[[], object], what: str, *, seconds: float = PATIENCE) -> None:
    """Wait until ``holds()`` is true; an error of the server means not yet. Raises ``ServerError``."""
    end, last = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        try:
            if holds():
                return
        except (RedisError, OSError) as error:
            last = f" (last error: {error})"
        time.sleep(0.02)
    msg = f"not within {seconds:.0f} s: {what}{last}"
    raise ServerError(msg)


def program() -> str:
    """Return the path of ``redis-server``, which is a sentinel and a cluster's node too."""
    if not (found := shutil.which("redis-server")):
        msg = "redis-server is not on PATH (Debian: apt install redis-server)"
        raise ServerError(msg)
    return found


_GIVEN: set[int] = set()


def free_port() -> int:
    """Return a port nobody listens on, below those the kernel gives to outgoing connections; never one twice."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        if port in _GIVEN:  # its server may not listen yet
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # taken
                continue
            _GIVEN.add(port)
            return port
