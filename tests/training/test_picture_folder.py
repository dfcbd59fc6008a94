"""Every picture of a folder is found, and what is not taken is counted."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from visrec_client.picture import load_picture
from visrec_training.errors import DataError
from visrec_training.picture_folder import describe_skipped, find_pictures, picture_endings


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


def picture(path, file_format="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path, file_format)
    return path


def names(folder):
    return [path.relative_to(folder).as_posix() for path in find_pictures(folder).images]


def test_pictures_are_sorted_by_their_path_in_the_folder(folder):
    for name in ("b/1.png", "a.png", "a/2.png", "a-b/3.png", "B.png"):
        picture(folder / name)
    assert names(folder) == sorted(["b/1.png", "a.png", "a/2.png", "a-b/3.png", "B.png"])
    assert find_pictures(folder).skipped == {}


def test_every_ending_that_the_decoder_reads_is_taken(folder):
    forms = {".png": "PNG", ".jpg": "JPEG", ".JPG": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".jpe": "JPEG"}
    forms |= {".gif": "GIF", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".mpo": "MPO"}
    if features.check("avif"):
        forms[".avif"] = "AVIF"
    for ending, form in forms.items():
        picture(folder / f"picture{ending}", form)
    images = find_pictures(folder).images
    assert {path.suffix for path in images} == set(forms)
    for path in images:
        load_picture(path)
    assert {ending.lower() for ending in forms} <= picture_endings()


def test_links_to_folders_and_files_are_followed(folder, tmp_path):
    picture(folder / "a" / "1.png")
    picture(tmp_path / "real" / "deep" / "2.png")
    (folder / "b").symlink_to(tmp_path / "real")
    (folder / "3.png").symlink_to(tmp_path / "real" / "deep" / "2.png")
    (folder / "c").symlink_to("a")
    assert names(folder) == ["3.png", "a/1.png", "b/deep/2.png", "c/1.png"]


def test_a_folder_that_is_itself_a_link_is_read(folder, tmp_path):
    picture(folder / "1.png")
    (tmp_path / "link").symlink_to(folder)
    assert names(tmp_path / "link") == ["1.png"]


def test_links_that_lead_back_are_counted_and_end(folder, tmp_path):
    picture(folder / "a" / "1.png")
    picture(tmp_path / "not ours.png")
    (folder / "a" / "itself").symlink_to(folder / "a")
    (folder / "a" / "root").symlink_to(folder)
    (folder / "above").symlink_to(tmp_path)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "back").symlink_to(folder)
    (folder / "out").symlink_to(tmp_path / "outside")
    found = find_pictures(folder)
    assert names(folder) == ["a/1.png"]
    assert found.skipped == {"links that lead back into the folder": 4}


def test_hidden_files_and_what_systems_leave_are_passed_over_and_counted(folder):
    picture(folder / "1.png")
    for name in (
        ".hidden.png",
        ".thumbs/1.png",
        "._1.png",
        "__MACOSX/1.png",
        "@eaDir/1.png",
        "Thumbs.db",
        "desktop.ini",
    ):
        picture(folder / name)
    for name in ("a.txt", "b.TXT", "README"):
        (folder / name).write_text("no picture")
    found = find_pictures(folder)
    assert names(folder) == ["1.png"]
    assert found.skipped == {
        "hidden files": 1,
        "hidden folders": 1,
        "files of macOS beside pictures (._*)": 1,
        "folders of the system (__MACOSX)": 1,
        "folders of the system (@eaDir)": 1,
        "not pictures (.db)": 1,
        "not pictures (.ini)": 1,
        "not pictures (.txt)": 2,
        "not pictures (no ending)": 1,
    }
    assert describe_skipped({"hidden files": 1200, "b": 1}) == "1 b, 1,200 hidden files"


def test_a_picture_that_is_lost_is_no_file_to_pass_over(folder):
    """It is found, so that decoding tells of it and counts it as lost."""
    picture(folder / "1.png")
    (folder / "2.png").symlink_to(folder / "absent.png")
    (folder / "3").symlink_to(folder / "absent")
    (folder / "4").symlink_to(folder / "4")
    assert names(folder) == ["1.png", "2.png"]
    assert find_pictures(folder).skipped == {"links that lead nowhere": 2}


def test_a_folder_named_like_a_picture_is_a_folder(folder):
    picture(folder / "set.jpg" / "1.png")
    assert names(folder) == ["set.jpg/1.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_subfolder_that_cannot_be_read_is_counted(folder):
    picture(folder / "1.png")
    (folder / "closed").mkdir(mode=0)
    assert find_pictures(folder).skipped == {"folders that cannot be read": 1}
    folder.chmod(0)
    try:
        with pytest.raises(DataError, match="can't read the folder"):
            find_pictures(folder)
    finally:
        folder.chmod(0o700)


def test_a_folder_that_cannot_be_listed_is_counted(folder, monkeypatch):
    picture(folder / "1.png")
    (folder / "closed").mkdir()
    scan = os.scandir

    def refuse(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert find_pictures(folder).skipped == {"folders that cannot be read": 1}


def test_names_that_are_not_utf8_are_told_and_escaped(folder):
    for number in range(5):
        picture(folder / os.fsdecode(b"caf\xe9") / f"{number}.png")
    picture(folder / "café.png")
    with pytest.raises(DataError) as refusal:
        find_pictures(folder)
    message = str(refusal.value)
    message.encode()
    assert "5 pictures" in message
    assert r"'caf\xe9/0.png', 'caf\xe9/1.png', 'caf\xe9/2.png', …" in message
    assert "convmv" in message


def test_only_names_of_pictures_must_be_utf8(folder):
    picture(folder / "1.png")
    (folder / os.fsdecode(b"caf\xe9.txt")).touch()
    assert names(folder) == ["1.png"]


def test_a_folder_without_pictures_says_what_it_holds(folder):
    (folder / "1.heic").touch()
    with pytest.raises(
        DataError, match=r"holds no pictures \(.*\.png.*passed over: 1 not pictures \(\.heic\)"
    ):
        find_pictures(folder)


def test_a_socket_is_no_picture_and_stops_nobody(folder, monkeypatch):
    picture(folder / "1.png")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("listener")
    assert find_pictures(folder).skipped == {"not pictures (no ending)": 1}


@given(
    st.sets(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
    )
)
def test_names_in_any_script_are_found(tmp_path_factory, given_names):
    folder = tmp_path_factory.mktemp("pictures")
    made = {f"p{name}.png" for name in given_names}
    for name in made:
        (folder / name).touch()
    if made:
        assert set(names(folder)) == made
