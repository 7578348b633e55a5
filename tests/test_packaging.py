"""What is installed: the wheel holds the environments alone."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_wheel_holds_safe_envs_alone(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"safe_envs", "safe_envs-0.1.0.dist-info"}
    packed = {name for name in names if name.startswith("safe_envs/")}
    assert packed == {
        str(path.relative_to(ROOT))
        for path in (ROOT / "safe_envs").rglob("*")
        if path.suffix in (".py", ".pyi") or path.name == "py.typed"
    }
