"""moto as an S3 server in a process of its own, on loopback, with one user whose signatures it checks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUCKET = "study"
_EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@contextmanager
def serve(log: Path) -> Iterator[dict[str, str]]:
    """Start the server, make a user and a bucket; the AWS_* environment of that user."""
    import boto3

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    unsigned = {"INITIAL_NO_AUTH_ACTION_COUNT": "4"}  # the four requests below come before there is anyone to sign
    with open(log, "w") as said:
        server = subprocess.Popen(command, env=os.environ | unsigned, stdout=said, stderr=subprocess.STDOUT)
    try:
        _wait(server, port, log)
        shared = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": "us-east-1"}
        nobody = shared | {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        iam = boto3.client("iam", **nobody)
        iam.create_user(UserName="user")
        iam.put_user_policy(UserName="user", PolicyName="all", PolicyDocument=json.dumps(_EVERYTHING))
        key = iam.create_access_key(UserName="user")["AccessKey"]
        boto3.client("s3", **nobody).create_bucket(Bucket=BUCKET)
        yield {
            "AWS_ENDPOINT_URL": shared["endpoint_url"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
    finally:
        server.kill()
        server.wait()


def _wait(server: subprocess.Popen, port: int, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"moto did not start: {log.read_text()}")
