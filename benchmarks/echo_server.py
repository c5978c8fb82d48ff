"""The ceiling: an empty Flask application on the product's own server machinery, echoing what is posted."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from mission_dashboard import concurrency


def main(mode: str, port: int) -> None:
    """Serve until killed."""
    concurrency.prepare(mode)
    from flask import Flask, jsonify, request
    from flask_socketio import SocketIO

    app = Flask("echo")

    @app.post("/echo")
    def echo() -> object:
        return jsonify(request.get_json())

    @app.get("/api/health/ready")
    def ready() -> str:
        return "ready"

    socketio = SocketIO(app, async_mode=mode)
    concurrency.Server(app, socketio, concurrency.listen("127.0.0.1", port)).run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
