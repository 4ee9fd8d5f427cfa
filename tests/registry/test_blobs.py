"""The store's own files."""

import fcntl
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktd.registry.blobs import Blobs
from ktd.registry.errors import DigestMismatch, InvalidDigest
from ktd.registry.upload import Upload

HEX = "0123456789abcdef" * 4
HEX_DIGEST = f"sha256:{HEX}"


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path)


@pytest.mark.parametrize("digest", [f"sha256:{HEX}", f"sha256-{HEX}"])
def test_one_path_for_a_digest(blobs, tmp_path, digest):
    assert blobs.path(digest) == tmp_path / "blobs" / f"sha256-{HEX}"


@pytest.mark.parametrize(
    "digest",
    [
        "",
        HEX,
        f"sha256:{HEX}\n",
        f"sha256:{HEX[1:]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"sha256_{HEX}",
        f"md5:{HEX}",
        "sha256:" + "../" * 21 + "a",
        f"sha256-{HEX}/../../etc/passwd",
        f"sha256:{HEX[:-1]}\uff11",
    ],
)
def test_no_other_digest(blobs, digest):
    with pytest.raises(InvalidDigest, match="invalid digest"):
        blobs.path(digest)


@given(st.text(max_size=90))
def test_no_text_leaves_the_root(tmp_path_factory, text):
    blobs = Blobs(tmp_path_factory.getbasetemp())
    for digest in (text, f"sha256:{text}", f"sha256-{text}"):
        try:
            path = blobs.path(digest)
        except InvalidDigest:
            continue
        assert path.resolve().parent == (tmp_path_factory.getbasetemp() / "blobs").resolve()


def test_upload_and_discard(blobs):
    digest = "sha256:" + hashlib.sha256(b"onetwo").hexdigest()
    for spelled in (digest, digest.replace(":", "-")):
        with Upload(blobs, spelled) as upload:
            for part in (b"one", b"", b"two"):
                upload.write(part)
            assert upload.finish() == blobs.path(digest)
    assert blobs.path(digest).read_bytes() == b"onetwo"
    blobs.discard(digest)
    blobs.discard(digest)
    assert not blobs.path(digest).exists()


def test_wrong_bytes_leave_nothing(blobs, tmp_path):
    with (
        pytest.raises(DigestMismatch, match=f'expected "sha256:{HEX}", got "sha256:'),
        Upload(blobs, HEX_DIGEST) as upload,
    ):
        upload.write(b"other")
        upload.finish()
    assert list((tmp_path / "staging").iterdir()) == []
    assert list((tmp_path / "blobs").iterdir()) == []


def test_a_broken_stream_leaves_nothing(blobs, tmp_path):
    with pytest.raises(ConnectionResetError), Upload(blobs, HEX_DIGEST) as upload:
        upload.write(b"some")
        blobs.sweep()
        assert list((tmp_path / "staging").iterdir())  # a live process writes it
        raise ConnectionResetError
    assert list((tmp_path / "staging").iterdir()) == []


def test_sweep_takes_what_nobody_writes(blobs, tmp_path):
    dead, live = tmp_path / "staging" / "dead", tmp_path / "staging" / "live"
    dead.write_bytes(b"x")
    with live.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        blobs.sweep()
        assert [path.name for path in (tmp_path / "staging").iterdir()] == ["live"]
    blobs.sweep()
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_staged_folder_goes_with_its_process(blobs, tmp_path):
    with blobs.staged_folder() as folder:
        (folder / "config.json").write_text("{}")
        blobs.sweep()
        assert (folder / "config.json").exists()
    assert not folder.exists()
    (tmp_path / "staging" / "dead").mkdir()
    (tmp_path / "staging" / "dead" / "config.json").write_text("{}")
    blobs.sweep()
    assert list((tmp_path / "staging").iterdir()) == []
