"""The house: what is installed, under which names, with which dependencies, and who may import whom."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from drawing import write_folder
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CODE = ("pipeline", "operators", "schemas", "recipes")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUP = PROJECT["tool"]["setuptools"]
CONSTRAINTS = dict(
    line.split("==") for line in (ROOT / "infra/constraints.txt").read_text().splitlines() if "==" in line
)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def ours(*suffixes: str) -> list[Path]:
    """Files of the code folders, relative to the repository."""
    found = (path for folder in CODE for path in sorted((ROOT / folder).rglob("*")))
    return [path.relative_to(ROOT) for path in found if path.suffix in suffixes and "__pycache__" not in path.parts]


def test_every_package_folder_is_listed():
    """setuptools takes what is listed; a forgotten folder would be missing in the wheel alone."""
    folders = {path.parent for path in ours(".py")}
    assert set(SETUP["packages"]) == {"cupel", *("cupel." + ".".join(folder.parts) for folder in folders)}
    places = {name: Path(place) for name, place in SETUP["package-dir"].items()}
    assert places == {"cupel": Path("infra/python/cupel"), **{"cupel." + ".".join(f.parts): f for f in folders}}
    assert all((ROOT / folder / "__init__.py").is_file() for folder in folders)


def test_links_beside_the_import_root_lead_to_the_code():
    for folder in CODE:
        assert (ROOT / "infra/python/cupel" / folder).resolve() == (ROOT / folder).resolve()


def test_what_was_tested_satisfies_what_is_required():
    tested = {canonical(name): version for name, version in CONSTRAINTS.items()}
    extras = PROJECT["project"]["optional-dependencies"].values()
    for text in [*PROJECT["project"]["dependencies"], *(text for extra in extras for text in extra)]:
        required = Requirement(text)
        assert canonical(required.name) in tested, f"infra/constraints.txt does not pin {required.name}"
        assert tested[canonical(required.name)] in required.specifier, text


def imports(path: Path) -> set[str]:
    """Modules that a file imports, our own relative ones as cupel.…"""
    found = set()
    package = ["cupel", *path.parent.parts]
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {".".join([*base, name]) for name in names}
    return found


@pytest.mark.parametrize("path", ours(".py"), ids=str)
def test_folders_know_only_what_they_may(path):
    """schemas know nobody, operators know schemas, and only the pipeline knows Ray."""
    known = imports(path)
    mine = {name.split(".")[1] for name in known if name.startswith("cupel.")}
    allowed = {"schemas": {"schemas"}, "operators": {"schemas", "operators"}, "recipes": set()}
    assert mine <= allowed.get(path.parts[0], {"schemas", "operators", "pipeline"})
    assert path.parts[0] == "pipeline" or not any(name.split(".")[0] == "ray" for name in known)
    assert not {"pickle", "cloudpickle", "dill", "marshal"} & {name.split(".")[0] for name in known}
    inspects = {name for name in known if name.startswith("cupel.pipeline.inspect")}
    assert not inspects or path.parts[1] == "inspect" or path == Path("pipeline/cli.py"), "it only looks on"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, because setuptools leaves folders behind, and would put old ones into the wheel."""
    copy = tmp_path_factory.mktemp("source")
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*CODE, "infra"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    out = tmp_path_factory.mktemp("wheel")
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *quiet, "--no-deps", "--wheel-dir", out, copy], check=True)
    (built,) = out.iterdir()
    return built


def test_the_wheel_holds_the_code_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        (top,) = (archive.read(name).decode().split() for name in archive.namelist() if name.endswith("top_level.txt"))
    wanted = {f"cupel/{path.as_posix()}" for path in ours(".py", ".yaml", ".txt", ".html", ".css", ".js", ".svg")}
    shipped = [path for name in ("cupel_tiny", "cupel_en") for path in (ROOT / "operators/models" / name).iterdir()]
    wanted |= {f"cupel/{path.relative_to(ROOT).as_posix()}" for path in shipped}
    assert held == wanted | {"cupel/__init__.py", "cupel/__main__.py", "cupel/py.typed"}
    assert top == ["cupel"], "generic names must not land in anybody's site-packages"


def required(names: list[str]) -> dict[str, Distribution]:
    """What these need, and what that needs, and so on, of what is installed here."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        name = canonical(requirement.name)
        extras = {"", *requirement.extras}
        if name in found and extras == {""}:
            continue
        found[name] = distribution(requirement.name)
        for text in found[name].requires or ():
            further = Requirement(text)
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(further)
    return found


def lend(distributions: Iterable[Distribution], packages: Path) -> None:
    """Links to their files, folder by folder: installing them anew would copy gigabytes."""
    for each in distributions:
        tops = {file.parts[0] for file in each.files or () if file.parts[0] not in ("..", "__pycache__", "bin")}
        for top in tops:
            if not (packages / top).exists():
                (packages / top).symlink_to(each.locate_file(top))


def test_the_wheel_works_in_a_clean_environment_from_another_folder(wheel, tmp_path):
    """With what it says it needs, and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    bin = tmp_path / "venv" / "bin"
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    lent = required(PROJECT["project"]["dependencies"])
    assert "pytest" not in lent and "moto" not in lent, "tests' own are not there"
    lend(lent.values(), packages)
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([bin / "pip", "install", *quiet, wheel], check=True)
    assert subprocess.run([bin / "python", "-c", "import pytest"], capture_output=True, check=False).returncode == 1
    write_folder(tmp_path / "photos", 3)
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}

    def call(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    assert "Example: cupel run" in call(bin / "cupel", "--help").stdout
    assert "image.phash" in {entry["name"] for entry in json.loads(call(bin / "cupel", "operators", "--json").stdout)}
    assert "pairs_starter" in call(bin / "python", "-m", "cupel", "recipes").stdout
    for name in CODE:
        assert "ModuleNotFoundError" in call(bin / "python", "-c", f"import {name}").stderr
    ran = call(bin / "cupel", "run", "pairs_starter", "photos", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["kept"] == 3
    verified = call(bin / "cupel", "verify", "corpus")
    assert (verified.returncode, verified.stderr) == (0, "")
    checked = call(bin / "pip", "check", "--disable-pip-version-check")
    assert checked.returncode == 0, checked.stdout


def test_every_public_name_is_there():
    import cupel

    assert set(cupel._PLACES) == set(cupel.__all__) - {"__version__"}
    assert all(getattr(cupel, name) is not None for name in cupel.__all__)


def test_tests_that_share_what_they_make_run_in_one_process():
    """All of `inspect` in the one, and each other file in one: else what they share is made in both."""
    files = [f"tests/pipeline/inspect/test_{name}.py" for name in ("chart", "words")]
    command = (sys.executable, "-m", "pytest", "-vv", "-n", "2", "--dist", "loadfile", *files, "tests/schemas")
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    where: dict[str, set[str]] = {}
    for worker, file in re.findall(r"^\[(gw\d)\] .*? PASSED (tests/.*?)::", ran.stdout, re.MULTILINE):
        where.setdefault(file, set()).add(worker)
    assert len(where) == len(files) + len(list((ROOT / "tests/schemas").glob("test_*.py")))
    assert {len(workers) for workers in where.values()} == {1}
    assert where[files[0]] == where[files[1]]
    assert set().union(*where.values()) == {"gw0", "gw1"}
