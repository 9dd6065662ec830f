"""Results repeat the tree of the videos, without collisions, in the same places in every run."""

from pathlib import Path

import pytest

from utils.batch.listing import Listing
from utils.batch.results_tree import ResultsTree, open_tree
from utils.batch.shards import Shard
from utils.errors import UserError

WHOLE = Shard(1, 1)


def test_folders() -> None:
    tree = ResultsTree(Path("/out"), Path("/in"))
    videos = {
        "/in/a.mp4": "/out/a",
        "/in/x/a.mp4": "/out/x/a",
        "/in/x/b.mp4": "/out/x/b_mp4",
        "/in/x/b.mkv": "/out/x/b_mkv",
        "/in/x.y.mp4": "/out/x.y",
        "/in/x/a/a.mp4": "/out/x/a/a",
    }
    found = tree.folders([Path(video) for video in videos])
    assert {str(video): str(folder) for video, folder in found.items()} == videos
    assert tree.name(Path("/in/x/a.mp4")) == "x/a.mp4"


def test_what_still_collides() -> None:
    tree = ResultsTree(Path("/out"), Path("/in"))
    with pytest.raises(UserError, match="would both go to /out/b_mp4; rename one"):
        tree.folders([Path(f"/in/{name}") for name in ("b.mp4", "b.mkv", "b_mp4.mp4")])


def listing(root: Path, *names: str) -> Listing:
    paths = tuple(root / name for name in names)
    return Listing(paths, paths[0].parent if len(paths) == 1 else root)


def test_a_later_run_of_some_videos_finds_their_results(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = open_tree(listing(tmp_path / "in", "x/a.mp4", "b.mp4"), out, WHOLE)
    later = open_tree(listing(tmp_path / "in", "x/a.mp4"), out, WHOLE)
    assert first == later == ResultsTree(out, tmp_path / "in")
    with pytest.raises(UserError, match="give another --outputFolder"):
        open_tree(listing(tmp_path / "other", "a.mp4", "b.mp4"), out, WHOLE)


def test_beside_the_videos(tmp_path: Path) -> None:
    tree = open_tree(listing(tmp_path / "in", "x/a.mp4", "b.mp4"), None, WHOLE)
    assert tree == ResultsTree(tmp_path / "in", tmp_path / "in")
    tree = open_tree(listing(tmp_path, "in/x/a.mp4"), None, WHOLE)
    assert tree.folders([tmp_path / "in/x/a.mp4"]) == {tmp_path / "in/x/a.mp4": tmp_path / "in/x/a"}


def test_the_number_of_shards_stays(tmp_path: Path) -> None:
    videos, out = listing(tmp_path / "in", "a.mp4", "b.mp4"), tmp_path / "out"
    open_tree(videos, out, Shard(2, 3))
    open_tree(videos, out, Shard(3, 3))
    open_tree(videos, out, WHOLE)  # to repeat those that failed, for example
    with pytest.raises(UserError, match=r"expected 3 shards, .*remove .*layout.json"):
        open_tree(videos, out, Shard(1, 4))
    (out / ".batch" / "layout.json").unlink()
    open_tree(videos, out, Shard(1, 4))
