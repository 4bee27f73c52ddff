"""A corpus folder on S3, or on anything that speaks its protocol.

A file is one conditional PUT with its SHA-256, through boto3, because pyarrow's S3 stream publishes a truncated object
when an exception leaves its `with` block. Where the connection breaks, so that nobody knows whether the object was
written, HEAD decides. Reading goes through Arrow.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pyarrow as pa
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from ..operators.source.files import s3_filesystem
from .store import TEMPORARY, Store, sha256

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef, PutObjectRequestTypeDef

ATTEMPTS = 10  # S3 answers SLOW_DOWN when many workers begin at once


class S3Store(Store):
    """A prefix of a bucket."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.bucket, _, prefix = self.uri.removeprefix("s3://").partition("/")
        self.prefix = f"{prefix}/" if prefix else ""
        self.scratch = Path(tempfile.gettempdir())
        self.temporary = f"{TEMPORARY}{hashlib.sha256(self.uri.encode()).hexdigest()[:8]}-"  # others work there too

    def publish(self, file: Path, path: str, *, replace: bool = False, durable: bool = True) -> None:
        key, digest = self.prefix + path, base64.b64encode(bytes.fromhex(sha256(file))).decode()
        with _telling_s3(f"{self.uri}/{path}"):
            try:
                self._put(file, key, digest, replace)
            except ClientError as error:
                # Another writer was first; or this one was, and its second attempt comes after a lost answer.
                if error.response["Error"]["Code"] != "PreconditionFailed":
                    raise
            except HTTPClientError:
                if not self._arrived(key, digest, replace):
                    raise

    def _put(self, file: Path, key: str, digest: str, replace: bool) -> None:
        """One PUT; it is sent again where S3 says that another writer's is under way, which may fail yet."""
        request: PutObjectRequestTypeDef = {"Bucket": self.bucket, "Key": key}
        request |= {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": digest}
        if not replace:
            request["IfNoneMatch"] = "*"
        for attempt in range(ATTEMPTS):
            try:
                with file.open("rb") as body:
                    request["Body"] = body
                    s3_client().put_object(**request)
                return
            except ClientError as error:
                if attempt == ATTEMPTS - 1 or error.response["Error"]["Code"] != "ConditionalRequestConflict":
                    raise
                time.sleep(random.uniform(0, min(2.0**attempt, 20)))

    def _arrived(self, key: str, digest: str, replace: bool) -> bool:
        """After a broken connection: does the object stand there (this very one, if it was to be replaced)?"""
        try:
            head = s3_client().head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError:
            return False
        return not replace or head.get("ChecksumSHA256") == digest

    def read(self, path: str) -> bytes:
        with self.open(path) as file:
            return bytes(file.read())

    def files(self, folder: str) -> list[str]:
        below = self.prefix + (f"{folder}/" if folder else "")
        with _telling_s3(f"{self.uri}/{folder}"):
            pages = s3_client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=below)
            keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return sorted(key.removeprefix(self.prefix) for key in keys if not key.endswith("/"))

    def folders(self, folder: str) -> list[str]:
        with _telling_s3(f"{self.uri}/{folder}"):
            pages = s3_client().get_paginator("list_objects_v2")
            listed = pages.paginate(Bucket=self.bucket, Prefix=f"{self.prefix}{folder}/", Delimiter="/")
            below = [item["Prefix"] for page in listed for item in page.get("CommonPrefixes", [])]
        return sorted(path.removeprefix(self.prefix).rstrip("/") for path in below)

    def delete(self, folder: str) -> None:
        names = self.files(folder)
        for start in range(0, len(names), 1000):
            keys: list[ObjectIdentifierTypeDef] = [{"Key": self.prefix + name} for name in names[start : start + 1000]]
            with _telling_s3(f"{self.uri}/{folder}"):
                answer = s3_client().delete_objects(Bucket=self.bucket, Delete={"Objects": keys, "Quiet": True})
            if errors := answer.get("Errors"):
                raise OSError(f"{self.uri}/{folder}: {len(errors)} objects stay: {errors[0].get('Message')}")

    def delete_file(self, path: str) -> None:
        with _telling_s3(f"{self.uri}/{path}"):
            s3_client().delete_object(Bucket=self.bucket, Key=self.prefix + path)

    def open(self, path: str) -> pa.NativeFile:
        return s3_filesystem().open_input_file(f"{self.bucket}/{self.prefix}{path}")


@functools.lru_cache(maxsize=1)
def s3_client() -> S3Client:
    """boto3's client as the environment describes it; one per process, as making one takes 70 ms."""
    config = Config(retries={"mode": "standard", "total_max_attempts": ATTEMPTS})
    return boto3.session.Session(region_name=os.environ.get("AWS_REGION")).client("s3", config=config)


@contextmanager
def _telling_s3(uri: str) -> Iterator[None]:
    """What boto3 raises as an OSError that names the object: the engine tries again what may pass."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise OSError(f"{uri}: {error}") from error
