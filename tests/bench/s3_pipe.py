"""``python -m tests.bench.s3_pipe put|get BUCKET KEY``: standard input to an object, or an object to standard output, in
parts and several at once: what a script beside our engine would use. Server and credentials are in AWS's own variables."""

from __future__ import annotations

import sys

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

_PARTS = TransferConfig(multipart_chunksize=16 << 20, max_concurrency=4)


def main(verb: str, bucket: str, key: str) -> None:
    """One object."""
    s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
    if verb == "put":
        s3.upload_fileobj(sys.stdin.buffer, bucket, key, Config=_PARTS)
        return
    for piece in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
        sys.stdout.buffer.write(piece)


if __name__ == "__main__":
    main(*sys.argv[1:])
