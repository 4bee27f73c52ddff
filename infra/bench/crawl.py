"""Fetching: images/s of `crawl.images` against img2dataset, from the same nginx on loopback, in one run.

    python -m venv FOLDER && FOLDER/bin/pip install img2dataset==1.47.0        (its pins want an environment of its own)
    python infra/bench/crawl.py --img2dataset FOLDER/bin/python                             two cores: about 15 minutes
    python infra/bench/crawl.py --img2dataset FOLDER/bin/python --hosts 1000 --stalling 0.01
    python infra/bench/crawl.py --img2dataset FOLDER/bin/python --command                      whole commands

6,000 JPEGs of 640 to 1,200 px and about 100 KB, over HTTP and HTTPS, resized to 256 px (`keep_ratio`, quality 95) or as
they are. img2dataset has 2 processes of 16 threads and writes Parquet. `crawl.images` does so in 2 processes.
A rate is all images by the time from the first process that begins to fetch to the last that ends, without
start-up; `--command` has that in it, for both. Contenders take turns, --repeat times; printed are medians, and in
brackets the least and the most. Over HTTPS img2dataset gets every --every-th URL alone, because it needs minutes for
all (of which its rate does not depend). Retries are off on both sides. Processor time an image, without that
of the start and without nginx's, stands beside it: it changes less when other programs run on the machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
from _rig import Web, web

PROCESSES = 2
FEW = 24  # images, by which the processor time of a start is known
TARGETS = {("https", True): 6.0, ("https", False): 25.0, ("http", True): 1.2, ("http", False): 1.8}
COMMAND_TARGET = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--img2dataset", type=Path, help="a Python that has img2dataset 1.47")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--different", type=int, default=600, help="drawn; the other files are links to these")
    parser.add_argument("--hosts", type=int, default=1, help="host names that the URLs are spread over")
    parser.add_argument("--stalling", type=float, default=0.0, help="share of URLs at hosts that never answer")
    parser.add_argument("--every", type=int, default=5, help="of the URLs, img2dataset gets over HTTPS")
    parser.add_argument("--schemes", nargs="+", default=["https", "http"], choices=["https", "http"])
    parser.add_argument("--command", action="store_true", help="whole commands, from their start to their end")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with web(folder / "web", options.images, options.different, options.hosts) as served:
            print(f"{options.images} images, {options.hosts} host names, {options.stalling:.0%} of the URLs stall")
            for scheme in options.schemes:
                for resized in (True, False):
                    compare(folder, served, scheme, resized, options)


def compare(folder: Path, served: Web, scheme: str, resized: bool, options: argparse.Namespace) -> None:
    """One line."""
    urls = served.urls(scheme, options.stalling)
    # With stalling hosts both get all: the share of those, and the wait at the end, would not be the same.
    some = scheme == "https" and not options.command and not options.stalling
    fewer = urls[:: options.every] if some else urls
    ours = cupel_command if options.command else cupel
    contenders = {"cupel": lambda urls: ours(folder, served, urls, resized)}
    if options.img2dataset:
        contenders = {"img2dataset": lambda urls: img2dataset(folder, served, urls, resized, options), **contenders}
    start_s = {who: cpu_s(lambda run=run: run(urls[:FEW]))[1] for who, run in contenders.items()}
    rates: dict[str, list[float]] = {who: [] for who in contenders}
    costs: dict[str, list[float]] = {who: [] for who in contenders}
    for _ in range(options.repeat):
        for who, run in contenders.items():
            given = fewer if who == "img2dataset" else urls
            rate, took_s = cpu_s(lambda run=run, given=given: run(given))
            rates[who].append(rate)
            costs[who].append(1000 * (took_s - start_s[who]) / (len(given) - FEW))
    target = COMMAND_TARGET if options.command else TARGETS[scheme, resized]
    found = (f"{who} {spread(of)}" for who, of in rates.items())
    print(f"{scheme:6}{'256 px' if resized else 'as is':8}", *found, end="")
    if options.img2dataset:
        print(f"  ratio {spread(ratios(rates['cupel'], rates['img2dataset']), 2)} (target {target})", end="")
    if options.img2dataset and not options.command:  # Ray's workers are no children of ours
        print(f"  CPU ms {spread(costs['img2dataset'], 2)}, {spread(costs['cupel'], 2)}", end="")
        print(f"  ratio {spread(ratios(costs['img2dataset'], costs['cupel']), 2)}", end="")
    print(flush=True)


def ratios(over: list[float], under: list[float]) -> list[float]:
    return [one / other for one, other in zip(over, under, strict=True)]


def cpu_s(run: Callable[[], float]) -> tuple[float, float]:
    """What it returns, and the processor time of the processes that it started; nginx goes on, and is not in it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return result, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def spread(values: list[float], digits: int = 0) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def img2dataset(folder: Path, served: Web, urls: list[str], resized: bool, options: argparse.Namespace) -> float:
    """Images/s of img2dataset's own command."""
    out = folder / "img2dataset"
    (folder / "urls.txt").write_text("\n".join(urls))
    how = ["--resize_mode=keep_ratio"] if resized else ["--resize_mode=no", "--disable_all_reencoding=True"]
    command = [
        *(options.img2dataset.absolute().with_name("img2dataset"), f"--url_list={folder / 'urls.txt'}"),
        *(f"--output_folder={out}", f"--processes_count={PROCESSES}", "--thread_count=16", "--output_format=parquet"),
        *(f"--number_sample_per_shard={-(-len(urls) // 6)}", "--image_size=256", "--extract_exif=False", *how),
    ]
    took = timed(command, served)
    parts = [json.loads(path.read_text()) for path in out.glob("*_stats.json")]
    shutil.rmtree(out)
    check(sum(part["successes"] for part in parts), urls)
    if options.command:
        return len(urls) / took
    return len(urls) / (max(part["end_time"] for part in parts) - min(part["start_time"] for part in parts))


def cupel(folder: Path, served: Web, urls: list[str], resized: bool) -> float:
    """Images/s of the operator alone, in as many processes."""
    step = json.dumps(parameters(served, urls, resized))
    processes = []
    for number in range(PROCESSES):
        (folder / f"urls{number}").write_text("\n".join(urls[number::PROCESSES]))
        command = [
            sys.executable,
            __file__,
            "--alone",
            step,
            str(folder / f"urls{number}"),
            str(folder / f"out{number}"),
        ]
        processes.append(subprocess.Popen(command, env=served.environment, stdout=subprocess.PIPE, text=True))
    parts = [json.loads(process.communicate()[0]) for process in processes]
    check(sum(part["successes"] for part in parts), urls)
    return len(urls) / (max(part["end_time"] for part in parts) - min(part["start_time"] for part in parts))


def cupel_command(folder: Path, served: Web, urls: list[str], resized: bool) -> float:
    """Images/s of `cupel run` with a recipe of that one step."""
    out = folder / "corpus"
    rows = "".join(json.dumps({"image_url": url}) + "\n" for url in urls)
    (folder / "urls.jsonl").write_text(rows)
    step = {"crawl.images": parameters(served, urls, resized)}
    recipe = {"name": "crawl", "steps": [step, {"keep": {"image_status": {"in": ["ok"]}}}]}
    (folder / "crawl.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    command = [sys.executable, "-m", "cupel", "run", folder / "crawl.yaml", folder / "urls.jsonl", "--out", out]
    took = timed(command, served)
    check(sum(len(pq.read_table(path)) for path in out.glob("cuts/crawl-*/kept/*.parquet")), urls)
    shutil.rmtree(out)
    return len(urls) / took


def parameters(served: Web, urls: list[str], resized: bool) -> dict[str, object]:
    """A host takes as many connections as img2dataset opens; of many hosts, each as many as by default."""
    hosts = sorted({url.split("/")[2] for url in urls})
    how = {"resize": "keep_ratio", "size_px": 256, "quality": 95} if resized else {}
    return {"allow_hosts": hosts, "retries": 0, **how, **({"per_domain": 32} if len(served.hosts) == 1 else {})}


def timed(command: list[object], served: Web) -> float:
    began = time.perf_counter()
    done = subprocess.run([str(part) for part in command], env=served.environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.perf_counter() - began


def check(successes: int, urls: list[str]) -> None:
    expected = sum("//stall" not in url for url in urls)
    if successes != expected:
        sys.exit(f"{successes} images came, not {expected}: the rates would say nothing")


def alone(step: str, urls: Path, out: Path) -> None:
    """One process: the operator over its URLs, its columns into Parquet, as img2dataset does."""
    import pyarrow as pa
    from pydantic import TypeAdapter

    from cupel.operators.base import Batch
    from cupel.operators.crawl.images import Images

    operator = TypeAdapter(Images).validate_python(json.loads(step))
    operator.setup()
    batch = Batch(pa.table({"image_url": urls.read_text().splitlines()}))
    start, successes = time.time(), 0
    with pq.ParquetWriter(out, pa.schema(operator.adds), compression="none") as writer:
        for table in as_tables(operator(batch), pa.schema(operator.adds)):
            writer.write_table(table)
            successes += len(table) - table["image"].null_count
    print(json.dumps({"start_time": start, "end_time": time.time(), "successes": successes}))


def as_tables(chunks: Iterator[object], schema: object) -> Iterator[object]:
    import pyarrow as pa

    for _, columns in chunks:
        yield pa.table(dict(columns), schema=schema)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        alone(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
