"""Fixtures for all tests: real data where it is there, one S3 and one Ray for all, operators of a third party."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from by_file import ByFile
    from mypy_boto3_s3 import S3Client
    from s3_rig import Faults
    from xdist.remote import Producer

settings.register_profile("cupel", deadline=None)  # a deadline is a time asserted on a noisy machine
settings.load_profile("cupel")

PLUGIN = Path(__file__).parent / "plugin"
# Workers and subprocesses find the plugin the same way as this process does.
sys.path.insert(0, str(PLUGIN))
os.environ["PYTHONPATH"] = os.pathsep.join([str(PLUGIN), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    from by_file import ByFile

    return ByFile(config, log)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real input that is kept outside the repository; tests that need it skip in a plain clone."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data")
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Faults]:
    """One S3 server for the whole test run. The environment points there, and to nobody's own account."""
    from s3_rig import s3_running

    with s3_running() as (address, faults), pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        given = {"ENDPOINT_URL": address, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "REGION": "us-east-1"}
        for name, value in (given | {"EC2_METADATA_DISABLED": "true"}).items():
            patch.setenv(f"AWS_{name}", value)
        yield faults


@pytest.fixture
def s3(s3_server: Faults) -> Iterator[S3Client]:
    """A client of the server, with an empty bucket `corpus`."""
    import boto3

    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="corpus")
    s3_server.reset()
    yield client
    s3_server.reset()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="corpus"):
        for item in page.get("Contents", []):
            client.delete_object(Bucket="corpus", Key=item["Key"])
    client.delete_bucket(Bucket="corpus")
    client.close()


@pytest.fixture(scope="session")
def ray_session(s3_server: Faults) -> Iterator[None]:
    """One embedded Ray with two CPUs and one pretended GPU for the whole test run, in a temporary folder of its own.

    Its workers know the environment of the moment it starts: hence the S3 server before it.
    """
    import ray

    # A short path: the sockets below it may have 107 characters.
    folder = tempfile.mkdtemp(prefix="cupel", dir="/tmp")
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # else Ray leaves one in the home folder
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=200 << 20,
        _temp_dir=folder,
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory) -> Path:
    """The folder of a CLIP with random weights: 64 px, 32 tokens, 256 numbers an image."""
    from small_clip import make_clip

    return make_clip(tmp_path_factory.mktemp("clip") / "small")
