"""Files that are not those of agents, are broken, or are meant to do harm say so by name."""

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes
from stable_baselines3 import PPO
from stable_baselines3.common.save_util import save_to_zip_file

import agents
from agents.saving.archive import DOCUMENT, TENSORS, Contents, read_archive, write_archive

TREASURE = "Safe/DeepSeaTreasure-v0"
SMALL = {"n_steps": 32, "n_epochs": 1, "batch_size": 32, "policy_kwargs": {"net_arch": [8]}}


class Marks:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.fixture(scope="module")
def agent():
    return agents.PPOLag("MlpPolicy", TREASURE, seed=0, **SMALL).learn(64)


@pytest.fixture(scope="module")
def content(agent):
    file = io.BytesIO()
    agent.save(file)
    return file.getvalue()


@pytest.fixture
def parts(content):
    """The document and the tensors of a file, to be changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return json.loads(archive.read(DOCUMENT)), read_tensors(archive.read(TENSORS))


def zipped(members, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    file.seek(0)
    return file


def file_of(document, tensors):
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    blob = tensors if isinstance(tensors, bytes) else tensor_bytes(tensors)
    return zipped([(DOCUMENT, text), (TENSORS, blob)])


def refused(file, message):
    with pytest.raises(agents.SavedAgentError, match=message) as caught:
        agents.PPOLag.load(file)
    assert isinstance(caught.value, ValueError)


def test_a_file_of_the_helpers_loads(parts):
    assert agents.PPOLag.load(file_of(*parts)).num_timesteps == 64


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not the file of an agent, or only a part"),
        (b"\x80\x04K\x01.", "not the file of an agent, or only a part"),
        (b"PK\x03\x04" + b"\0" * 100, "not the file of an agent, or only a part"),
        (b"PK\x05\x06" + b"\0" * 18, "it holds nothing, and not exactly 'agent.json' and"),
    ],
)
def test_what_is_no_zip(data, message):
    refused(io.BytesIO(data), message)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file(content, share):
    refused(io.BytesIO(content[: int(share * len(content))]), "only a part of one")


def test_flipped_bits_are_found_or_change_nothing(content):
    """Every damage is a SavedAgentError, or lies where nothing is read, such as a date."""
    rng = np.random.default_rng(0)
    whole = agents.PPOLag.load(io.BytesIO(content))
    found = 0
    places = [*rng.integers(0, len(content), 25), *(len(content) - 1 - rng.integers(0, 200, 50))]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        try:
            loaded = agents.PPOLag.load(io.BytesIO(bytes(damaged)))
        except agents.SavedAgentError:
            found += 1
            continue
        for name, tensor in whole.policy.state_dict().items():
            assert torch.equal(loaded.policy.state_dict()[name], tensor)
    assert found > 40


def test_a_missing_file_a_folder_and_no_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere, nor nowhere\.zip"):
        agents.PPOLag.load(tmp_path / "nowhere")
    refused(tmp_path, "is a folder; pass the file of an agent")
    for wrong in (3, None, io.StringIO("text")):
        with pytest.raises(TypeError, match=r"path is .*; pass a path, or a binary file"):
            agents.PPOLag.load(wrong)


@pytest.mark.parametrize(
    "extra",
    [
        ("../../escape.txt", b"x"),
        ("/etc/escape", b"x"),
        ("policy.pkl", pickle.dumps(1)),
        ("more.json", b"{}"),
    ],
)
def test_other_members_are_refused_by_name(parts, extra, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    members = [(DOCUMENT, json.dumps(parts[0])), (TENSORS, tensor_bytes(parts[1])), extra]
    refused(zipped(members), f"is not the file of an agent: it holds .*{extra[0]}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice(parts):
    document = json.dumps(parts[0])
    members = [(DOCUMENT, document), (TENSORS, tensor_bytes(parts[1])), (DOCUMENT, document)]
    refused(zipped(members), "it holds 'agent.json' more than once")


def test_many_members():
    refused(zipped((f"{i}", b"") for i in range(5000)), "it holds 5000 files")


def test_a_document_that_grows_when_it_is_unpacked(parts):
    bomb = [(DOCUMENT, b" " * 50_000_000), (TENSORS, tensor_bytes(parts[1]))]
    refused(
        zipped(bomb, zipfile.ZIP_DEFLATED),
        r"agent.json has 50000000 bytes, at most 4194304 are allowed",
    )


def test_a_document_that_is_larger_than_it_says(parts):
    """The headers say 100 bytes, the data unpack to 50,000,000."""
    file = zipped([(DOCUMENT, b" " * 50_000_000)], zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(TENSORS, tensor_bytes(parts[1]))
    size = struct.pack("<L", 50_000_000)
    assert file.getvalue().count(size) == 2
    refused(io.BytesIO(file.getvalue().replace(size, struct.pack("<L", 100))), "is damaged")


def test_tensors_that_grow_when_they_are_unpacked(parts):
    blob = tensor_bytes({"x": torch.zeros(10_000_000)})
    members = [(DOCUMENT, json.dumps(parts[0])), (TENSORS, blob)]
    refused(zipped(members, zipfile.ZIP_DEFLATED), "its tensors are compressed")


def test_a_member_with_a_password(parts):
    file = bytearray(file_of(*parts).getvalue())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        file[file.index(header) + flags] |= 1
    refused(io.BytesIO(bytes(file)), "damaged: agent.json cannot be read .*(password|encrypted)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"not JSON", "cannot be read: Expecting value"),
        (b"\xff\xfe", "cannot be read: .*codec"),
        (b"[1, 2]", "is a list, not an object"),
        (b'{"format": NaN}', "NaN is not a number"),
        (b'{"format": -Infinity}', "-Infinity is not a number"),
        (b'{"format": 1e999}', "1e999 is too large"),
        (b'{"format": ' + b"9" * 5000 + b"}", "cannot be read: Exceeds the limit"),
        (b'{"format": "a", "format": "b"}', "a name is repeated"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"format": "something else"}', "is not the file of an agent"),
        (b"{}", "is not the file of an agent"),
    ],
)
def test_documents_that_are_none(parts, text, message):
    refused(file_of(text, parts[1]), message)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "tensors of the file cannot be read"),
        (b"\xff" * 64, "tensors of the file cannot be read"),
        (struct.pack("<Q", 10) + b"{}        ", "is missing in the file, or belongs to two"),
        (pickle.dumps({"x": 1}), "tensors of the file cannot be read"),
    ],
)
def test_tensors_that_are_none(parts, blob, message):
    refused(file_of(parts[0], blob), message)


@pytest.mark.parametrize(
    "shape", [[2**40, 2**40], [-1], [2**62], [10**9], "text", [[1]], [1.5], [None]]
)
def test_absurd_shapes_of_tensors(parts, shape):
    header = json.dumps({"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
    blob = struct.pack("<Q", len(header)) + header + b"\0" * 4
    refused(file_of(parts[0], blob), "tensors of the file cannot be read")


@pytest.mark.parametrize("version", [2, 99, "1", None, 1.5, [1]])
def test_newer_formats(parts, version):
    document, tensors = parts
    document["version"] = version
    refused(file_of(document, tensors), "was saved by a newer version, in format .*; update")


def test_a_file_of_stable_baselines3(tmp_path):
    PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8).save(tmp_path / "ppo")
    for kind in (agents.PPOLag, agents.PPO, agents.ConstrainedAgent):
        with pytest.raises(
            agents.SavedAgentError,
            match=r"is a file of Stable-Baselines3 \(its policy is of stable_baselines3\.common\."
            r"policies\), .*load it with the class that saved it, or take over its weights with "
            r"agent\.warm_start",
        ):
            kind.load(tmp_path / "ppo")


def test_a_pickle_in_a_zip_does_not_run(tmp_path):
    """A file as an earlier version wrote it, which Stable-Baselines3's reader would unpickle."""
    marker = tmp_path / "marker"
    data = {"constraints": Marks(str(marker)), "settings": {"x": Marks(str(marker))}}
    save_to_zip_file(tmp_path / "old.zip", data=data, params={"policy": {"x": data["settings"]}})
    for load in (agents.PPOLag.load, agents.load):
        with pytest.raises(agents.SavedAgentError, match="saved by an earlier version, .* train"):
            load(tmp_path / "old")
    assert not marker.exists()
    pickle.loads(pickle.dumps(data["constraints"])).close()
    assert marker.exists()


def test_a_file_of_torch_save(tmp_path):
    torch.save({"x": torch.zeros(2)}, tmp_path / "weights.zip")
    refused(tmp_path / "weights.zip", "is a file of torch.save")


def test_written_files_are_complete_or_not_there(tmp_path, agent, monkeypatch):
    path = tmp_path / "agent.zip"
    agent.save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("agents.atomic_files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        agent.save(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["agent.zip"]


def test_paths_and_file_objects(tmp_path, agent):
    agent.save(str(tmp_path / "made" / "without_suffix"))
    assert (tmp_path / "made" / "without_suffix.zip").is_file()
    agent.save(tmp_path / "other.name")
    assert (tmp_path / "other.name").is_file()
    for path in ("made/without_suffix", "made/without_suffix.zip", "other.name"):
        assert agents.PPOLag.load(tmp_path / path).num_timesteps == 64
    file = io.BytesIO()
    agent.save(file)
    assert agents.PPOLag.load(file).num_timesteps == 64
    assert agents.PPOLag.load(file).num_timesteps == 64
    with open(tmp_path / "by_hand.zip", "wb") as opened:
        agent.save(opened)
    with open(tmp_path / "by_hand.zip", "rb") as opened:
        assert agents.PPOLag.load(opened).num_timesteps == 64


def test_the_same_contents_are_the_same_bytes():
    contents = Contents({"a": [1.5, None]}, {"x": torch.arange(3)})
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        write_archive(file, contents)
    assert files[0].getvalue() == files[1].getvalue()
    found = read_archive(files[0])
    assert found.document == contents.document
    assert torch.equal(found.tensors["x"], contents.tensors["x"])
