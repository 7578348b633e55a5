"""What the two distributions hold and declare."""

import re
import shutil
import sys
import tarfile
import zipfile
from email.parser import Parser

import pytest

from safe_envs import __version__
from tests.packaging.venvs import ROOT, SOURCES, build

PACKAGES = {"safe-envs": ["safe_envs"], "safe-envs-agents": ["agents", "baselines", "leaderboard"]}
ENVIRONMENTS = {"mujoco", "bridge", "multi-agent", "render", "all"}
# What only those install who want to use it with this project: it is imported late, or not at all.
OPTIONAL = {
    "omnisafe",
    "theseus",  # of theseus-ai
    "sbx",
    "rliable",
    "rl-zoo3",
    "safety-gymnasium",
    "sb3-contrib",
    "cvxpy",
    "onnxscript",
}
# What comes with a required distribution, as a part of its interface.
WITH_OTHERS = {"starlette": "fastapi", "h11": "uvicorn", "google": "onnx", "markupsafe": "jinja2"}
OTHER_NAMES = {"yaml": "pyyaml", "PIL": "pillow"}  # of distributions


def names_in(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


def metadata_of(wheel):
    (name,) = [name for name in names_in(wheel) if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(zipfile.ZipFile(wheel).read(name).decode())


def requirements(wheel, extra=""):
    """Names of the distributions that are required, always or by an extra."""
    marked = f"extra == '{extra}'"
    lines = metadata_of(wheel).get_all("Requires-Dist")
    chosen = [line for line in lines if (marked in line if extra else "extra ==" not in line)]
    return {re.split(r"[^\w.-]", line)[0].lower() for line in chosen}


@pytest.mark.parametrize("name", SOURCES)
def test_wheel_holds_the_files_of_its_packages_and_no_others(wheels, name):
    packed = names_in(wheels[name])
    info = f"{name.replace('-', '_')}-{__version__}.dist-info"
    expected = {
        str(path.relative_to(ROOT))
        for package in PACKAGES[name]
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {file for file in packed if not file.startswith(info)} == expected
    license_text = zipfile.ZipFile(wheels[name]).read(f"{info}/licenses/LICENSE")
    assert license_text == (ROOT / "LICENSE").read_bytes()


def test_data_files_are_there(wheels):
    """The kinds of files that are not Python, as the code reads them."""
    kinds = {"toml", "jinja", "js", "css", "svg", "webp", "mako", "pyi", "typed", "txt"}
    kinds |= {"json", "onnx"}  # of shipped policies
    files = names_in(wheels["safe-envs-agents"])
    assert {file.rpartition(".")[2] for file in files if ".dist-info" not in file} - {"py"} == kinds
    assert {"safe_envs/py.typed", "safe_envs/filter_parts.pyi"} <= names_in(wheels["safe-envs"])


def test_environments_need_four_packages(wheels):
    wheel = wheels["safe-envs"]
    assert requirements(wheel) == {"gymnasium", "numpy", "scipy", "daqp", "array-api-compat"}
    assert set(metadata_of(wheel).get_all("Provides-Extra")) == ENVIRONMENTS
    assert not any("entry_points" in name for name in names_in(wheel))


def test_agents_need_the_environments_of_the_same_version(wheels):
    told = metadata_of(wheels["safe-envs-agents"])
    assert f"safe-envs=={__version__}" in told.get_all("Requires-Dist")
    assert {metadata_of(wheel)["Version"] for wheel in wheels.values()} == {__version__}
    extras = {"leaderboard", "postgresql", "mpc", "opt", "opf", "dev", "all"}
    assert set(told.get_all("Provides-Extra")) == extras


def test_everything_that_is_imported_is_required(wheels):
    """By the distribution itself for `agents` and `baselines`, by an extra for `leaderboard`."""
    wheel = wheels["safe-envs-agents"]
    always = requirements(wheel) | requirements(wheels["safe-envs"])
    allowed = {
        "agents": always | OPTIONAL | requirements(wheel, "mpc"),
        "baselines": always | OPTIONAL | {"mujoco"},  # mujoco: for what it is used with
        "leaderboard": always | requirements(wheel, "postgresql"),
    }
    own = {*PACKAGES["safe-envs"], *PACKAGES["safe-envs-agents"]}
    for package, distributions in allowed.items():
        roots = imported_roots(ROOT / package) - own - set(sys.stdlib_module_names)
        roots -= {"_typeshed"}  # of type checkers
        names = {**WITH_OTHERS, **OTHER_NAMES}
        needed = {names.get(root, root).replace("_", "-") for root in roots}
        assert needed <= distributions, package


def imported_roots(folder):
    texts = "\n".join(file.read_text() for file in folder.rglob("*.py"))
    return set(
        re.findall(
            r"^ *(?:import(?= [\w.]+(?: as \w+)?$)|from(?= [\w.]+ import)) (\w+)",
            texts,
            re.MULTILINE,
        )
    )


def test_extras_that_messages_and_pages_name_exist(wheels):
    named = set()
    folders = [ROOT / package for packages in PACKAGES.values() for package in packages]
    files = [file for folder in (*folders, ROOT / "docs") for file in folder.rglob("*.*")]
    for file in [*files, ROOT / "README.md"]:
        if file.suffix in (".py", ".md", ".jinja"):
            named |= set(re.findall(r"(safe-envs(?:-agents)?)\[([\w,-]+)\]", file.read_text()))
    assert named
    for distribution, extras in named:
        assert set(extras.split(",")) <= set(
            metadata_of(wheels[distribution]).get_all("Provides-Extra")
        )


@pytest.mark.parametrize("name", SOURCES)
def test_archive_of_sources_makes_the_same_wheel(wheels, name, tmp_path):
    build(SOURCES[name], tmp_path, "sdist")
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    shutil.rmtree(tmp_path / "dist", ignore_errors=True)
    (source,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    build(source, tmp_path / "dist")
    (again,) = (tmp_path / "dist").glob("*.whl")
    ours = zipfile.ZipFile(wheels[name])
    theirs = zipfile.ZipFile(again)
    assert theirs.namelist() == ours.namelist()
    assert all(theirs.read(file) == ours.read(file) for file in names_in(again))
