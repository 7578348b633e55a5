"""Folders of checkpoints: whole or not there, two of them, and what is left after a failure."""

import errno

import pytest

from baselines.jobs.checkpoints import CheckpointRefusedError, Checkpoints

CONFIG = {"agent": "A", "seed": 0}
VERSIONS = {"python": "3.11", "torch": "2.13"}


def filled(text):
    return lambda folder: (folder / "state").write_text(text)


def no_warning(message):
    raise AssertionError(message)


def newest(checkpoints, warn=no_warning):
    return next(checkpoints.usable(warn), None)


def test_the_newest_two_are_kept_and_the_newest_is_found(tmp_path):
    checkpoints = Checkpoints(tmp_path, CONFIG, VERSIONS)
    for steps in (5, 20, 100, 9):
        checkpoints.write(steps, {"more": steps}, filled(str(steps)))
    found = newest(checkpoints)
    assert found.timesteps == 100
    assert found.manifest["more"] == 100
    assert (found.folder / "state").read_text() == "100"
    assert len(list((tmp_path / "checkpoint").iterdir())) == 2


def test_a_failure_while_writing_leaves_the_one_before(tmp_path):
    def full(folder):
        (folder / "state").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoints = Checkpoints(tmp_path, CONFIG, VERSIONS)
    checkpoints.write(1, {}, filled("whole"))
    with pytest.raises(OSError, match="No space left"):
        checkpoints.write(2, {}, full)
    assert [one.name for one in (tmp_path / "checkpoint").iterdir()] == ["step_000000000001"]
    assert newest(checkpoints).timesteps == 1


def test_what_a_kill_left_half_written_is_not_seen_and_replaced(tmp_path):
    checkpoints = Checkpoints(tmp_path, CONFIG, VERSIONS)
    checkpoints.write(1, {}, filled("whole"))
    half = tmp_path / "checkpoint" / ".writing_step_000000000002"
    half.mkdir()
    (half / "rest").write_text("of another process")
    assert newest(checkpoints).timesteps == 1
    checkpoints.write(2, {}, filled("new"))
    assert not half.exists()
    written = newest(checkpoints).folder
    assert sorted(file.name for file in written.iterdir()) == ["manifest.json", "state"]


def test_only_the_same_job_with_the_same_versions_goes_on(tmp_path):
    Checkpoints(tmp_path, CONFIG, VERSIONS).write(1, {}, filled(""))
    assert newest(Checkpoints(tmp_path, {**CONFIG, "seed": 1}, VERSIONS)) is None
    for other in ({**VERSIONS, "torch": "3.0"}, {"python": "3.11"}):
        with pytest.raises(CheckpointRefusedError, match=r"torch 2\.13 \(now "):
            newest(Checkpoints(tmp_path, CONFIG, other))


def test_a_name_in_the_manifest_that_leads_elsewhere_reads_nothing_there(tmp_path):
    checkpoints = Checkpoints(tmp_path, CONFIG, VERSIONS)
    checkpoints.write(1, {}, filled(""))
    (tmp_path / "secret").write_text("x")
    manifest = tmp_path / "checkpoint" / "step_000000000001" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"state"', '"../../secret"'))
    told = []
    assert newest(checkpoints, told.append) is None
    assert "secret: No such file" in told[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000, "its manifest cannot be read"),
        ('{"format": 2}', "its format is 2, this version reads 1"),
        ('{"format": 1, "timesteps": "x"}', "its manifest"),
    ],
)
def test_manifests_that_are_none(tmp_path, text, told):
    checkpoints = Checkpoints(tmp_path, CONFIG, VERSIONS)
    checkpoints.write(1, {}, filled(""))
    (tmp_path / "checkpoint" / "step_000000000001" / "manifest.json").write_text(text)
    warned = []
    assert newest(checkpoints, warned.append) is None
    assert told in warned[0]


def test_files_that_have_to_be_there(tmp_path):
    Checkpoints(tmp_path, CONFIG, VERSIONS).write(1, {}, filled(""))
    warned = []
    assert newest(Checkpoints(tmp_path, CONFIG, VERSIONS, ("state", "b")), warned.append) is None
    assert "its manifest does not name b" in warned[0]


def test_links_are_no_checkpoints_but_the_folder_of_all_may_be_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "checkpoint").symlink_to(tmp_path / "disk")
    checkpoints = Checkpoints(tmp_path, CONFIG, VERSIONS)
    checkpoints.write(1, {}, filled(""))
    (tmp_path / "disk" / "step_000000000009").symlink_to(tmp_path / "disk" / "step_000000000001")
    assert newest(checkpoints).timesteps == 1
    checkpoints.remove()
    assert not (tmp_path / "checkpoint").is_symlink()
