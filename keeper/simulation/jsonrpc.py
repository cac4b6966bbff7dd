"""A small synchronous JSON-RPC client for local chains: every answer is checked."""

import http.client
import itertools
import json
import threading
from typing import Any, Final
from urllib.parse import urlsplit

from keeper.errors import EndpointDownError, RpcError

TIMEOUT_SECONDS: Final = 120


class JsonRpc:
    """One keep-alive HTTP connection to a node; safe to share between threads."""

    def __init__(self, url: str, *, timeout: int = TIMEOUT_SECONDS) -> None:
        self.url = url
        parts = urlsplit(url)
        self._where = f"{parts.hostname}:{parts.port}"
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def __call__(self, method: str, *params: Any) -> Any:
        """Result of a request.

        Raises RpcError when the node answers with an error, EndpointDownError when it does not answer.
        """
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
        with self._lock:
            answer = self._post(json.dumps(request).encode())
        if answer.get("id") != request["id"] or ("result" not in answer and "error" not in answer):
            raise EndpointDownError("Not an answer to the request", seen=answer, where=self._where)
        if "error" in answer:
            error = answer["error"]
            raise RpcError(
                f"{method}: {error['message']}", code=error["code"], data=error.get("data"), where=self._where
            )
        return answer["result"]

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _post(self, body: bytes) -> dict[str, Any]:
        try:
            self._connection.request("POST", "/", body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise EndpointDownError(
                "No answer from the node", seen=type(error).__name__, where=self._where
            ) from error
        if response.status != http.client.OK:
            raise EndpointDownError("HTTP error", expected=200, seen=response.status, where=self._where)
        answer = json.loads(text)
        if not isinstance(answer, dict):
            raise EndpointDownError("Not a JSON-RPC answer", seen=type(answer).__name__, where=self._where)
        return answer
