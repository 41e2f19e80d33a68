"""A ComfyUI in its own process, and a client that speaks to it the way a browser or a script does."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PACK = "backplate"
REPOSITORY = Path(__file__).resolve().parents[2]
START_DEADLINE = 180.0
PROMPT_DEADLINE = 120.0


class ServerFailed(RuntimeError):
    """The server process ended or did not answer; the message carries the end of its log."""


class Server:
    """``main.py`` of a ComfyUI checkout on a free port, with everything it writes under ``base``."""

    def __init__(self, home: Path, python: Path, base: Path) -> None:
        self.home = home
        self.base = base
        self.log = base / "server.log"
        self.port = free_port()
        (base / "custom_nodes").mkdir(parents=True, exist_ok=True)
        (base / "custom_nodes" / PACK).symlink_to(REPOSITORY, target_is_directory=True)
        command = [str(python), str(home / "main.py"), "--cpu", "--port", str(self.port)]
        command += ["--base-directory", str(base), "--database-url", "sqlite:///:memory:", "--disable-api-nodes"]
        command += ["--disable-all-custom-nodes", "--whitelist-custom-nodes", PACK]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=base, env=clean_environment()
            )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        """Raises ``ServerFailed`` when the process ends first, or nothing answers before the deadline."""
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                with urllib.request.urlopen(f"http://{self.address}/system_stats", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                self.wait_briefly()
        raise ServerFailed(f"ComfyUI did not answer within {START_DEADLINE:.0f} s\n{self.log_tail()}")

    def wait_briefly(self) -> None:
        """Until the process ends, at most a quarter of a second."""
        try:
            self.process.wait(timeout=0.25)
        except subprocess.TimeoutExpired:
            return

    def check_alive(self) -> None:
        if self.process.poll() is not None:
            raise ServerFailed(f"ComfyUI ended with code {self.process.returncode}\n{self.log_tail()}")

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-60:])

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def clean_environment() -> dict[str, str]:
    """Ours without what would put this repository or the test interpreter on the server's path."""
    dropped = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "BACKPLATE_MODELS", "BACKPLATE_TUNE"}
    return {name: value for name, value in os.environ.items() if name not in dropped}


class Graph:
    """An API-format prompt under construction."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}

    def add(self, class_type: str, **inputs: object) -> str:
        """The new node's id. A link is written ``[id, output number]``."""
        node = str(len(self.nodes) + 1)
        self.nodes[node] = {"class_type": class_type, "inputs": inputs}
        return node

    def save(self, image: list[object]) -> str:
        return self.add("SaveImage", images=image, filename_prefix="backplate/test")

    def save_mask(self, mask: list[object]) -> str:
        return self.save([self.add("MaskToImage", mask=mask), 0])

    def text(self, source: list[object]) -> str:
        return self.add("PreviewAny", source=source)


@dataclass
class Run:
    """What became of one prompt."""

    prompt_id: str
    events: list[dict[str, Any]] = field(default_factory=list)
    previews: int = 0
    texts: list[str] = field(default_factory=list)
    """Lines that nodes showed below themselves."""
    outputs: dict[str, Any] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def finished(self) -> bool:
        """True once ComfyUI has put the prompt aside: only then is it in /history."""
        return bool(self.events) and self.kinds[-1] == "executing" and self.events[-1]["data"]["node"] is None

    @property
    def ending(self) -> dict[str, Any]:
        """The event that says how it ended."""
        endings = {"execution_success", "execution_error", "execution_interrupted"}
        (event,) = [event for event in self.events if event["type"] in endings]
        return event

    @property
    def error(self) -> str:
        """The sentence of ``execution_error``."""
        assert self.ending["type"] == "execution_error", f"the prompt ended with {self.ending['type']}"
        return self.ending["data"]["exception_message"]


class Client:
    """HTTP and websocket calls to one server."""

    def __init__(self, server: Server) -> None:
        import websocket

        self.server = server
        self.client_id = uuid.uuid4().hex
        address = f"ws://{server.address}/ws?clientId={self.client_id}"
        self.socket = websocket.create_connection(address, timeout=PROMPT_DEADLINE)

    def close(self) -> None:
        self.socket.close()

    def get(self, path: str, **query: str) -> bytes:
        address = f"http://{self.server.address}{path}"
        address += "?" + urllib.parse.urlencode(query) if query else ""
        with urllib.request.urlopen(address, timeout=60) as answer:
            return answer.read()

    def get_json(self, path: str, **query: str) -> Any:
        return json.loads(self.get(path, **query))

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> Any:
        """The answer's JSON (None if empty). An HTTP error is raised as ``urllib.error.HTTPError``."""
        address = f"http://{self.server.address}{path}"
        request = urllib.request.Request(address, data=body, headers={"Content-Type": content_type})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def upload(self, picture: np.ndarray, name: str) -> str:
        """Uploads uint8 (H, W), (H, W, 3) or (H, W, 4) as PNG; the name for LoadImage."""
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "PNG")
        return self.upload_file(stream.getvalue(), name)

    def upload_file(self, content: bytes, name: str) -> str:
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        head += "Content-Type: application/octet-stream\r\n\r\n"
        overwrite = f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue'
        body = head.encode() + content + overwrite.encode() + f"\r\n--{boundary}--\r\n".encode()
        answer = self.post("/upload/image", body, f"multipart/form-data; boundary={boundary}")
        return answer["name"]

    def queue(self, graph: Graph) -> str:
        """The prompt id; a refused prompt raises ``urllib.error.HTTPError`` with the reasons as its body."""
        body = json.dumps({"prompt": graph.nodes, "client_id": self.client_id}).encode()
        answer = self.post("/prompt", body)
        assert not answer["node_errors"], answer["node_errors"]
        return answer["prompt_id"]

    def refusal(self, graph: Graph) -> str:
        """What /prompt answers to a prompt that it must refuse, as text."""
        try:
            prompt_id = self.queue(graph)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.read().decode()
        self.follow(prompt_id)
        raise AssertionError("the prompt was accepted")

    def follow(self, prompt_id: str, until: str = "") -> Run:
        """Listens until the prompt ends, or until its first event of the kind ``until``."""
        import websocket

        run = Run(prompt_id)
        while not run.finished and not (run.events and run.kinds[-1] == until):
            try:
                message = self.socket.recv()
            except (websocket.WebSocketException, OSError) as broken:
                self.server.check_alive()
                tail = self.server.log_tail()
                raise ServerFailed(f"no end of prompt {prompt_id}: {broken}\n{tail}") from broken
            self.record(message, run)
        return run

    @staticmethod
    def record(message: str | bytes, run: Run) -> None:
        if isinstance(message, bytes):
            kind = int.from_bytes(message[:4], "big")
            run.previews += kind in (1, 4)
            if kind == 3:
                run.texts.append(message[8 + int.from_bytes(message[4:8], "big") :].decode())
            return
        event = json.loads(message)
        if event.get("data", {}).get("prompt_id") == run.prompt_id:
            run.events.append(event)

    def run(self, graph: Graph) -> Run:
        """Queues, follows to the end and fetches the outputs from /history."""
        run = self.follow(self.queue(graph))
        run.outputs = self.get_json(f"/history/{run.prompt_id}")[run.prompt_id]["outputs"]
        return run

    def succeed(self, graph: Graph) -> Run:
        run = self.run(graph)
        details = run.ending["data"].get("exception_message", "")
        assert run.ending["type"] == "execution_success", f"{run.ending['type']}: {details}"
        return run

    def pictures(self, run: Run, node: str) -> list[np.ndarray]:
        """uint8 pictures that a SaveImage node wrote, through /view."""
        references = run.outputs[node]["images"]
        return [np.asarray(Image.open(io.BytesIO(self.get("/view", **each)))) for each in references]

    def picture(self, run: Run, node: str) -> np.ndarray:
        (only,) = self.pictures(run, node)
        return only

    def result(self, graph: Graph, image: list[object]) -> np.ndarray:
        """What that output becomes, as SaveImage writes it."""
        saved = graph.save(image)
        return self.picture(self.succeed(graph), saved)

    def string(self, run: Run, node: str) -> str:
        (text,) = run.outputs[node]["text"]
        return text
